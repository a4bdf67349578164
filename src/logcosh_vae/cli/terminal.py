"""What the command line shows while it works: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ..reporting.tables import duration, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bench.records import BenchResults
    from ..experiments.results import ExperimentResults
    from ..experiments.scheduler import JobState
    from ..training.loop import Position

TRAINING_SHARE = 0.95
"""Of a run's time; the rest goes into measuring it."""

PLAIN_SECONDS = 15.0
"""Where there is no terminal, at most one line in this time."""


def console() -> Console:
    """Standard output; wide enough for any table where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class Clock:
    """Time left, from the share of the work done since the clock was started."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first: float | None = None

    def left(self, share: float) -> str:
        """Narrative for the time left at `share` of all work, empty while it cannot be told."""
        if self.first is None:
            self.first = share
            self.started = time.monotonic()
        done = share - self.first
        if done <= 0:
            return ""
        return f"{duration((time.monotonic() - self.started) * (1.0 - share) / done)} left"


class Line:
    """One line that is rewritten on a terminal, and printed now and then elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.shown = time.monotonic() if not self.live else 0.0
        self.width = 0

    def update(self, text: str, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self.shown < (0.2 if self.live else PLAIN_SECONDS):
            return
        self.shown = now
        if self.live:
            sys.stderr.write("\r" + text.ljust(self.width))
            self.width = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self.live and self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
            self.width = 0


class TrainingDisplay:
    """Progress of one run: a line that moves with the steps, and one that stays for each epoch."""

    def __init__(self) -> None:
        self.line, self.clock = Line(), Clock()
        self.left = ""

    def step(self, position: Position) -> None:
        self.left = self.clock.left(position.fraction)
        text = f"epoch {position.epoch}/{position.epochs}, step {position.step}/{position.steps}"
        self.line.update(f"{text}, {100 * position.fraction:.0f}%{', ' + self.left if self.left else ''}")

    def epoch(self, record: Mapping[str, Any]) -> None:
        self.line.close()
        terms = ", ".join(f"{name} {value:.4g}" for name, value in record["validation"].items())
        left = f"; {self.left}" if self.left else ""
        print(f"epoch {record['epoch']}: validation {terms}; {record['seconds']:.1f} s{left}", flush=True)

    def note(self, text: str) -> None:
        self.line.close()
        print(f"note: {text}", file=sys.stderr, flush=True)


class ExperimentDisplay:
    """Progress of many runs in one line: runs done, those under way, time left for all."""

    def __init__(self) -> None:
        self.line, self.clock = Line(), Clock()

    def __call__(self, states: Sequence[JobState]) -> None:
        trained = [1.0 if s.finished else s.position.fraction if s.position else 0.0 for s in states]
        shares = [1.0 if s.finished else TRAINING_SHARE * part for s, part in zip(states, trained, strict=True)]
        share = sum(state.cost * part for state, part in zip(states, shares, strict=True)) / sum(s.cost for s in states)
        working = [
            f"{s.job.label}: " + (f"epoch {s.position.epoch}/{s.position.epochs}" if part < 1.0 else "measuring")
            for s, part in zip(states, trained, strict=True)
            if not s.finished and s.position is not None
        ]
        done = sum(s.finished for s in states)
        parts = [f"{done}/{len(states)} runs done", *working, f"{100 * share:.0f}%"]
        if any(part < 1.0 for part in trained):  # how long measuring takes does not follow from training
            parts.append(self.clock.left(share))
        self.line.update(", ".join(part for part in parts if part))

    def close(self) -> None:
        self.line.close()


class FetchDisplay:
    """Progress of a download, or of preparing pictures."""

    def __init__(self) -> None:
        self.line, self.clock = Line(), Clock()

    def __call__(self, name: str, done: int, total: int | None, unit: str) -> None:
        if unit == "images":
            left = self.clock.left(done / total) if total else ""
            text = f"preparing {name}: {done:,} of {total or 0:,} pictures{', ' + left if left else ''}"
        else:
            size = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f} MB" if total else " MB")
            text = f"fetching {name}: {size}"
        self.line.update(text, force=total == done)

    def close(self) -> None:
        self.line.close()


class PicturesDisplay:
    """Progress of restoring pictures: which one, how far, and the time left for it."""

    def __init__(self, count: int) -> None:
        self.line, self.count, self.done = Line(), count, 0

    def of(self, name: str) -> Callable[[int, int], None]:
        """What to call with the tiles done and all tiles of the next picture."""
        self.done += 1
        clock = Clock()
        clock.left(0.0)

        def show(done: int, total: int) -> None:
            left = clock.left(done / total)
            self.line.update(f"{self.done}/{self.count} {name}: {100 * done / total:.0f}%{', ' + left if left else ''}")

        return show

    def close(self) -> None:
        self.line.close()


class BenchmarkDisplay:
    """Progress of a benchmark: which comparison, and how many rounds of it are done."""

    def __init__(self) -> None:
        self.line = Line()

    def __call__(self, what: str, done: int, total: int) -> None:
        self.line.update(f"{what}: round {done} of {total}")


def bench_table(results: BenchResults) -> Table:
    """Times of each contender, and how many times as long as another's they are, with quartiles."""
    from rich import box

    table = Table(title=results.experiment, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for heading, side in (("", "left"), ("", "left"), ("median", "right"), ("ratio", "right"), ("quartiles", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for row in results.rows:
        for index, (name, seconds) in enumerate(row.seconds.items()):
            ratio = row.ratio.get(name)
            cells = [f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}"] if ratio else ["1", ""]
            table.add_row("" if index else row.what, name, time_text(seconds.median), *cells)
        table.add_section()
    return table


def results_table(results: ExperimentResults) -> Table:
    """The rows of an experiment: obtained, change against L2, and the paper's below it."""
    from rich import box

    from ..reporting.tables import METRIC_NAMES, table_rows

    rows = table_rows(results)
    metrics = [name for name in METRIC_NAMES if name in rows[0].cells]
    table = Table(title=results.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for name in metrics:
        table.add_column(METRIC_NAMES[name].replace(", ", "\n"), justify="right", no_wrap=True)
    table.add_column("training", justify="right", no_wrap=True)
    several = len({(row.model_text, row.loss) for row in rows}) < len(rows)  # then a tells them apart
    for row in rows:
        cells = [row.cells[name] for name in metrics]
        changes = [f" ({cell.change_text})" if cell.change_text else "" for cell in cells]
        values = [cell.value_text + change for cell, change in zip(cells, changes, strict=True)]
        paper = any(cell.reported_text for cell in cells)
        loss = row.loss_text if several else row.short_loss_text
        table.add_row(f"{row.model_text} {loss}", *values, duration(row.seconds), end_section=not paper)
        if paper:
            table.add_row("  the paper", *[cell.reported_text for cell in cells], "", style="dim", end_section=True)
    return table
