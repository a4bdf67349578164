"""Progress of long commands: a live line on a terminal, plain lines elsewhere.

`ProgressLine` draws the line. The displays are the callbacks that the library calls while it trains, runs many jobs,
fetches or prepares images, restores pictures and times benchmarks; each turns what it is told into a line.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from ..base.text import visible
from ..reporting.tables import duration
from .streams import complain, inform, is_quiet, messages, stopped, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..experiments.scheduler import JobState
    from ..training.loop import Position
    from ..training.session import Callbacks

TRAINING_SHARE = 0.95
"""Fraction of a run's time that training takes, for the progress of many runs; evaluation takes the rest."""

LIVE_SECONDS = 0.2
PLAIN_SECONDS = 30.0
"""Least time between two updates on a terminal, and between two lines elsewhere."""


class _Console(Console):
    """Standard error for a line that nothing is left of, also when the process is interrupted or killed."""

    def __init__(self) -> None:
        super().__init__(file=messages())

    @property  # type: ignore[misc]  # rich also lets it be set
    def size(self) -> ConsoleDimensions:
        """Less than the terminal's width, so that the `^C` it echoes fits behind the line and does not wrap."""
        width, height = super().size
        if "COLUMNS" not in os.environ:
            with suppress(OSError):  # rich asks descriptors 0 to 2, and none of them may be this terminal
                width = os.get_terminal_size(self.file.fileno()).columns or width
        return ConsoleDimensions(max(1, width - 3), height)

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - rich's signature
        """Leave the cursor visible: rich would hide it, and a killed process cannot show it again."""
        return False


class _TimeLeft(ProgressColumn):
    max_refresh = None

    def render(self, task: Task) -> Text:
        return Text(_time_left(task))


def _time_left(task: Task) -> str:
    remaining = task.time_remaining if task.fields["estimate"] and not task.finished else None
    return "" if remaining is None else f"{duration(remaining)} left"


class ProgressLine:
    """One line with a bar, a percentage and the time left: live on a terminal, printed now and then elsewhere.

    The time left follows from the fraction done since the first update, so a resumed run is estimated correctly. The
    line is drawn only in `update`, without a thread, and lets other output pass after `close`; the next `update`
    opens it again. rich prints nothing on a pipe until the end, so the plain lines are printed here.
    """

    def __init__(self) -> None:
        console = _Console()
        self.live = console.file.isatty() and console.is_interactive  # rich alone believes FORCE_COLOR on a pipe
        self._shown = -math.inf if self.live else time.monotonic()
        self._printed = ""
        self._progress = Progress(
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            _TimeLeft(),
            TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            expand=True,  # with the ratio above: a terminal that is too narrow cuts the text, not the numbers
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            speed_estimate_period=math.inf,
        )
        self.restart()

    def restart(self) -> None:
        """Begin another piece of work: forget the speed so far."""
        for task in self._progress.tasks:
            self._progress.remove_task(task.id)
        self._task = self._progress.add_task("", total=None, estimate=True)

    def time_left(self) -> str:
        """The estimated time left, such as `3 min 20 s left`; empty while it is unknown."""
        return _time_left(self._progress.tasks[0])

    def update(self, text: str, fraction: float | None = None, *, estimate: bool = True, force: bool = False) -> None:
        """Show `text` and the progress, unless the line was updated a moment ago or, on a pipe, would be repeated.

        Args:
            text: what is being done; what a terminal would obey is made visible.
            fraction: fraction of the work that is done, in [0, 1]; None if unknown.
            estimate: whether to show the time left.
            force: show it even if the line was updated a moment ago.
        """
        if is_quiet():
            return
        total = None if fraction is None else 1.0
        text = visible(text)
        self._progress.update(self._task, description=text, completed=fraction or 0.0, total=total, estimate=estimate)
        now = time.monotonic()
        if not force and now - self._shown < (LIVE_SECONDS if self.live else PLAIN_SECONDS):
            return
        self._shown = now
        if self.live:
            self._progress.start()
            self._progress.refresh()
        else:
            line = text if fraction is None else f"{text}, {100 * fraction:.0f}%"
            if line != self._printed:
                self._printed, left = line, self.time_left()
                tell(f"{line}, {left}" if left else line)

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self.live:
            self._progress.stop()


class Display:
    """Base of the displays: a context manager that clears its line at the end."""

    def __init__(self) -> None:
        self.line = ProgressLine()
        self._work = ""

    def begin(self, name: str) -> None:
        """Estimate the time left anew if `name` is not the piece of work of the last call."""
        if name != self._work:
            self._work = name
            self.line.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Clear the line."""
        self.line.close()


class TrainingDisplay(Display):
    """Progress of one training run: a live line for its steps, and a line that stays for each epoch.

    Args:
        run: run folder. As a context manager, the display then tells the user how to continue after Ctrl-C.
    """

    def __init__(self, run: Path | None = None) -> None:
        super().__init__()
        self._run = run

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if self._run is not None and kind is KeyboardInterrupt:
            stopped(f"to continue, add --resume to the same command (run: {self._run})")

    def callbacks(self) -> Callbacks:
        """The callbacks of a training run that report to this display."""
        from ..training.session import Callbacks

        return Callbacks(self.step, self.epoch, self.note, self.failure)

    def step(self, position: Position) -> None:
        """Show where training is."""
        text = f"epoch {position.epoch}/{position.epochs}, step {position.step}/{position.steps}"
        self.line.update(text, position.fraction)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Print the validation losses of an epoch."""
        self.line.close()
        losses = ", ".join(f"{name} {value:.4g}" for name, value in record["validation"].items())
        left = self.line.time_left()
        ending = f"; {left}" if left else ""
        inform(f"epoch {record['epoch']}: validation {losses}; {record['seconds']:.1f} s{ending}")

    def note(self, text: str) -> None:
        """Print a message to the user."""
        self.line.close()
        tell(f"note: {text}")

    def failure(self, text: str) -> None:
        """Print why this process ends; called from any thread, so a live line stays as it is."""
        complain(f"error: {text}")


class ExperimentDisplay(Display):
    """Progress of many runs: how many are done, which are in progress, and the time left for all of them."""

    def __call__(self, states: Sequence[JobState]) -> None:
        """Show the progress of the jobs, weighted by their cost."""
        trained = [1.0 if s.finished else s.position.fraction if s.position else 0.0 for s in states]
        done = sum(
            state.cost * (1.0 if state.finished else TRAINING_SHARE * part)
            for state, part in zip(states, trained, strict=True)
        )
        in_progress = [
            f"{s.job.label}: " + (f"epoch {s.position.epoch}/{s.position.epochs}" if part < 1.0 else "evaluating")
            for s, part in zip(states, trained, strict=True)
            if not s.finished and s.position is not None
        ]
        finished = sum(state.finished for state in states)
        self.line.update(
            ", ".join([f"{finished}/{len(states)} runs done", *in_progress]),
            done / sum(state.cost for state in states),
            # the speed of training says nothing about the time that evaluation takes
            estimate=any(part < 1.0 for part in trained),
        )


class FetchDisplay(Display):
    """Progress of downloading files or preparing images."""

    def __call__(self, name: str, done: int, total: int | None, unit: str) -> None:
        """Show that `done` of `total` units, "bytes" or "images", of the file or image set `name` are done."""
        self.begin(name)
        if unit == "images":
            text = f"preparing {name}: {done:,} of {total or 0:,} images"
        else:
            text = f"fetching {name}: {done / 1e6:.1f}" + (f" of {total / 1e6:.1f} MB" if total else " MB")
        self.line.update(text, done / total if total else None, force=total == done)
        if total == done:
            self.close()


class PicturesDisplay(Display):
    """Progress of restoring `count` pictures: the current one, its steps, and the time left for all."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count, self._number = count, 0

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if self._count > 1 and kind is KeyboardInterrupt:
            stopped("to continue, add --overwrite to the same command, which keeps the results that are done")

    def of(self, name: str) -> Callable[[int, int], None]:
        """The callback for the next picture, which takes the number of its steps that are done and of all its steps."""
        self._number += 1
        number = self._number

        def show(done: int, total: int) -> None:
            fraction = (number - 1 + done / total) / self._count
            self.line.update(f"{number}/{self._count} {name}: step {done}/{total}", fraction)

        return show


class BenchmarkDisplay(Display):
    """Progress of a benchmark: the current comparison and its rounds."""

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` rounds of the comparison `name` are done."""
        self.begin(name)
        self.line.update(f"{name}: round {done} of {total}", done / total)
