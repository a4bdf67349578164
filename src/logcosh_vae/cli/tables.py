"""Tables of results as the console shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..base.text import counted, visible
from ..reporting.tables import CONTEXT_METRICS, duration, metric_headings, table_rows, time_text
from .streams import is_quiet, messages, output

if TYPE_CHECKING:
    from ..bench.records import BenchResults
    from ..experiments.results import ExperimentResults


NARROW = 3
"""With more metrics than this, changes are below the values, because 120 columns do not suffice for both."""


def print_table(table: Table) -> None:
    """Print a table to standard output, 120 columns wide where that is not a terminal."""
    file = output()
    Console(file=file, highlight=False, markup=False, emoji=False, width=None if file.isatty() else 120).print(table)


def print_message_table(table: Table) -> None:
    """Print a table to standard error, unless the command is quiet; 120 columns wide where that is not a terminal."""
    if not is_quiet():
        file = messages()
        width = None if file.isatty() else 120
        Console(file=file, highlight=False, markup=False, emoji=False, width=width).print(table)


def restored_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What `restore` has done to each picture: lines of text, network, changed pixels and seconds."""
    table = _table(f"{counted(len(rows), 'picture')} restored")
    table.add_column("picture", overflow="fold")
    table.add_column("network")
    for heading in ("lines of text", "changed pixels", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        lines = row.get("lines")
        table.add_row(
            visible(row["source"]),
            visible(row.get("network") or ""),
            "" if lines is None else str(len(lines)),
            "kept" if row["kept"] else f"{row['changed']:,}",
            "" if row["kept"] else f"{row['seconds']:.1f}",
        )
    return table


def _table(title: str) -> Table:
    return Table(title=Text(visible(title)), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def bench_table(results: BenchResults) -> Table:
    """The times of a benchmark's contenders, and the ratios to the one they are compared with, with quartiles."""
    table = _table(results.experiment)
    table.add_column("")
    table.add_column("")
    for heading in ("median", "ratio", "quartiles"):
        table.add_column(heading, justify="right")
    for row in results.rows:
        for index, (name, seconds) in enumerate(row.seconds.items()):
            ratio = row.ratio.get(name)
            cells = [f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}"] if ratio else ["1", ""]
            table.add_row("" if index else visible(row.what), visible(name), time_text(seconds.median), *cells)
        table.add_section()
    return table


def results_table(results: ExperimentResults) -> Table:
    """The rows of an experiment: metrics with their change against L2, and below each row the paper's values."""
    rows = table_rows(results)
    metrics = metric_headings(rows, CONTEXT_METRICS | {"fid_reconstructed"})
    table = _table(results.title)
    table.add_column("")
    for heading in metrics.values():
        table.add_column(heading.replace(", ", "\n"), justify="right", no_wrap=True)
    table.add_column("training", justify="right", no_wrap=True)
    # whether only a distinguishes some of the rows
    show_a = len({(row.model_text, row.short_loss_text) for row in rows}) < len(rows)
    separator = "\n" if len(metrics) > NARROW else " "
    for row in rows:
        cells = [row.cells[name] for name in metrics]
        changes = [f"{separator}({cell.change_text})" if cell.change_text else "" for cell in cells]
        values = [cell.value_text + change for cell, change in zip(cells, changes, strict=True)]
        has_reported = any(cell.reported_text for cell in cells)
        label = f"{row.model_text} {row.loss_text if show_a else row.short_loss_text}"
        table.add_row(visible(label), *values, duration(row.seconds), end_section=not has_reported)
        if has_reported:
            table.add_row("  the paper", *[cell.reported_text for cell in cells], "", style="dim", end_section=True)
    return table
