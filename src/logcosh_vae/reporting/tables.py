"""Tables of results: obtained values, their changes against squared L2, and the paper's values.

`table_rows` computes the cells that the HTML report, the terminal and `markdown_table` show. The `format_*` functions
fix the number of digits of each metric.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from ..base.text import markdown
from ..experiments.results import ExperimentResults, RowResult
from ..metrics.names import METRIC_NAMES as METRIC_NAMES
from .labels import LOSS_NAMES as LOSS_NAMES
from .labels import loss_text
from .labels import model_text as model_text

SMALLER_IS_BETTER = {name for name in METRIC_NAMES if "fid" in name}
DIFFERENCES = {"ssim", "psnr"}
"""Metrics whose changes are shown as differences. Changes of other metrics are in percent."""
CONTEXT_METRICS = {"fid_codes", "nearest_generated", "nearest_test"}
"""Metrics that help to read the others, and do not count in verdicts."""
DISTANCES = {"nearest_generated", "nearest_test"}
"""Metrics that a sentence states, instead of a column."""
BASELINE = "l2"
"""Loss that the others are compared with."""


@dataclass(frozen=True)
class Cell:
    """The value of one metric in one row of a table.

    Changes are relative to the row with the baseline loss and the same data, model and task: in percent, or as a
    difference for the metrics of `DIFFERENCES`. They are None for the baseline itself and where it is missing.

    Attributes:
        metric: name of the metric, a key of `METRIC_NAMES`.
        mean: mean over seeds.
        std: sample standard deviation over seeds; None for a single seed.
        change: change of the mean.
        reported: the paper's value; None if it has none.
        reported_change: change of the paper's value against the paper's baseline.
    """

    metric: str
    mean: float
    std: float | None
    change: float | None
    reported: float | None
    reported_change: float | None

    @property
    def value_text(self) -> str:
        """The mean, with the standard deviation if there are several seeds: `33.7 ± 2.0`."""
        text = format_value(self.metric, self.mean)
        return text if self.std is None else f"{text} ± {format_value(self.metric, self.std, self.mean)}"

    @property
    def change_text(self) -> str:
        """The change with its sign, `−66%` or `+0.0942`; empty if there is none."""
        return "" if self.change is None else format_metric_change(self.metric, self.change)

    @property
    def better(self) -> bool:
        """Whether the mean is better than that of the baseline; False if there is no change."""
        return self.change is not None and (self.change > 0) != (self.metric in SMALLER_IS_BETTER)

    @property
    def reported_text(self) -> str:
        """The paper's value and its change, `65.0 (−68%)`; empty if there is none."""
        if self.reported is None:
            return ""
        change = "" if self.reported_change is None else f" ({format_change(self.reported_change)})"
        return format_value(self.metric, self.reported) + change


@dataclass(frozen=True)
class TableRow:
    """One row of a table: a model, or a task of restoration, trained with one loss.

    Attributes:
        model_text: name of the model or of the task, for readers.
        loss: name of the loss in the registry.
        a: parameter of log-cosh; None for other losses, and if it is learned.
        cells: cell of each metric, by the metric's name.
        seconds: training time in seconds, mean over seeds.
        likelihood: what was learned of the likelihood; None for a fixed loss.
    """

    model_text: str
    loss: str
    a: float | None
    cells: dict[str, Cell]
    seconds: float
    likelihood: str | None = None

    @property
    def loss_text(self) -> str:
        """The loss for readers: `log-cosh, a = 100`, or `log-cosh, learned scale and shape`."""
        return loss_text(self.loss, self.a, self.likelihood)

    @property
    def short_loss_text(self) -> str:
        """The loss without its parameter, for narrow tables."""
        text = loss_text(self.loss, likelihood=self.likelihood)
        return text.removeprefix("squared ") if self.loss == "l2" else text


def time_text(seconds: float) -> str:
    """Format a short time with three significant digits.

    Example:
        >>> time_text(0.0123)
        '12.3 ms'
    """
    unit, scale = next(
        (unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if scale * seconds >= 1 or unit == "µs"
    )
    return f"{scale * seconds:.3g} {unit}"


def duration(seconds: float) -> str:
    """Format a time in seconds as `8 s`, `3 min 20 s` or `2 h 05 min`.

    Example:
        >>> duration(200)
        '3 min 20 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_value(metric: str, value: float, like: float | None = None) -> str:
    """Format the value of a metric.

    Sharpness has three decimals, four below 0.02, and two digits below 0.0005. FID has one decimal, and none from 100
    on. SSIM has four decimals and PSNR two.

    Args:
        metric: name of the metric.
        value: the value.
        like: a value that decides the number of decimals instead; the mean, when `value` is its standard deviation.
    """
    size = abs(value if like is None else like)
    if metric in DIFFERENCES:
        return f"{value:.4f}" if metric == "ssim" else f"{value:.2f}"
    if metric.startswith("nearest"):
        return f"{value:.4f}"
    if metric.startswith("sharpness"):
        if size < 0.0005:  # images far smoother than those of the paper
            return f"{value:.2g}"
        return f"{value:.3f}" if size >= 0.02 else f"{value:.4f}"
    return f"{value:.1f}" if size < 100 else f"{value:.0f}"


def format_change(percent: float) -> str:
    """Format a change in percent, rounded, with its sign.

    Example:
        >>> format_change(-66.3)
        '−66%'
    """
    return f"{percent:+.0f}%".replace("-", "\N{MINUS SIGN}")


def format_metric_change(metric: str, change: float) -> str:
    """Format the change of a metric with its sign: in percent, or as a difference for the metrics of `DIFFERENCES`."""
    if metric not in DIFFERENCES:
        return format_change(change)
    return ("+" if change >= 0 else "") + format_value(metric, change).replace("-", "\N{MINUS SIGN}")


def _change(metric: str, value: float | None, base: float | None) -> float | None:
    """Return the change from `base` to `value`; None if either is missing or `base` is 0."""
    if value is None or not base:
        return None
    return value - base if metric in DIFFERENCES else 100.0 * (value / base - 1.0)


def table_rows(results: ExperimentResults) -> list[TableRow]:
    """Return the rows of the table of an experiment."""
    bases = _bases(results)
    table = []
    for row in results.rows:
        base = bases.get((row.data, row.model, row.task))
        if row is base or (row.loss == BASELINE and row.likelihood is None):
            base = None
        cells = {}
        for metric, values in row.metrics.items():
            reported = row.reported.get(metric)
            base_mean = base.metrics[metric].mean if base else None
            base_reported = base.reported.get(metric) if base else None
            cells[metric] = Cell(
                metric,
                values.mean,
                values.std,
                _change(metric, values.mean, base_mean),
                reported,
                _change(metric, reported, base_reported),
            )
        title = row.task_title or model_text(row.model)
        table.append(TableRow(title, row.loss, row.a, cells, row.training_seconds.mean, row.likelihood))
    return table


def _bases(results: ExperimentResults) -> dict[tuple[str, str, str | None], RowResult]:
    """Return the row that others are compared with, by data, model and task: with a fixed loss if there is one."""
    rows = [row for row in results.rows if row.loss == BASELINE]
    return {(row.data, row.model, row.task): row for row in sorted(rows, key=lambda row: row.likelihood is None)}


def baseline_text(results: ExperimentResults) -> str:
    """Return what the rows are compared with: `squared L2`, or `squared L2, learned scale` if that one is not fixed."""
    bases = list(_bases(results).values())
    return loss_text(BASELINE, likelihood=bases[0].likelihood if bases else None)


def metric_headings(rows: Sequence[TableRow], left_out: Set[str] = DISTANCES) -> dict[str, str]:
    """Return the metrics that a table shows, with their column headings.

    Args:
        rows: rows of the table, which have the same metrics.
        left_out: metrics without a column.
    """
    names = [name for name in METRIC_NAMES if name in rows[0].cells and name not in left_out]
    several = any(name.startswith("fid_") for name in names)
    return {name: "FID, prior" if name == "fid" and several else METRIC_NAMES[name] for name in names}


def markdown_table(results: ExperimentResults) -> str:
    """Return the table of an experiment in Markdown.

    Each cell has the obtained value with its change, and below it the paper's value.
    """
    rows = table_rows(results)
    metrics = metric_headings(rows)
    head = ["task" if results.rows[0].task else "model", "loss", *metrics.values()]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * len(metrics)]
    for row in rows:
        cells = [markdown(row.model_text), markdown(row.loss_text)]
        for cell in (row.cells[name] for name in metrics):
            change = f" ({cell.change_text})" if cell.change_text else ""
            paper = f"<br>paper {cell.reported_text}" if cell.reported_text else ""
            cells.append(f"**{cell.value_text}**{change}{paper}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
