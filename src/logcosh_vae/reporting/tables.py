"""Results as tables of obtained beside reported."""

from __future__ import annotations

from dataclasses import dataclass

from ..experiments.results import ExperimentResults

METRIC_NAMES = {
    "sharpness_reconstructed": "Sharpness, reconstructed",
    "sharpness_generated": "Sharpness, generated",
    "fid": "FID",
    "ssim": "SSIM",
    "psnr": "PSNR in dB",
}
SMALLER_IS_BETTER = {"fid"}
DIFFERENCES = {"ssim", "psnr"}
"""Metrics whose change is a difference; that of others is in percent."""


class _LossNames(dict[str, str]):
    """Names of losses for readers; a loss without an entry is shown under its name in the registry."""

    def __missing__(self, loss: str) -> str:
        return loss


LOSS_NAMES = _LossNames({"l2": "squared L2", "l1": "L1", "log-cosh": "log-cosh"})
BASELINE = "l2"


@dataclass(frozen=True)
class Cell:
    """One metric of one row; changes are against the baseline loss of the same model and data."""

    metric: str
    mean: float
    std: float | None
    change: float | None
    reported: float | None
    reported_change: float | None

    @property
    def value_text(self) -> str:
        """Mean, with the spread where there are several seeds."""
        text = format_value(self.metric, self.mean)
        return text if self.std is None else f"{text} ± {format_value(self.metric, self.std, self.mean)}"

    @property
    def change_text(self) -> str:
        return "" if self.change is None else format_metric_change(self.metric, self.change)

    @property
    def better(self) -> bool:
        """Whether it is better than the baseline's."""
        return self.change is not None and (self.change > 0) != (self.metric in SMALLER_IS_BETTER)

    @property
    def reported_text(self) -> str:
        if self.reported is None:
            return ""
        change = "" if self.reported_change is None else f" ({format_change(self.reported_change)})"
        return format_value(self.metric, self.reported) + change


@dataclass(frozen=True)
class TableRow:
    """A model (or a task) and a loss with its cells by metric, and the mean training time in seconds."""

    model_text: str
    loss: str
    a: float | None
    cells: dict[str, Cell]
    seconds: float

    @property
    def loss_text(self) -> str:
        name = LOSS_NAMES.get(self.loss, self.loss)
        return name if self.a is None else f"{name}, a = {self.a:g}"

    @property
    def short_loss_text(self) -> str:
        return "L2" if self.loss == "l2" else LOSS_NAMES.get(self.loss, self.loss)


def time_text(seconds: float) -> str:
    """A short time with three digits: 12.3 ms."""
    unit, scale = next(
        (unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if scale * seconds >= 1 or unit == "µs"
    )
    return f"{scale * seconds:.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds in words: `8 s`, `3 min 20 s`, `2 h 05 min`.

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


def model_text(model: str) -> str:
    """`vae-mlp` as the paper writes it: `VAE (MLP)`."""
    family, _, network = model.partition("-")
    return f"{family.upper()} ({'MLP' if network == 'mlp' else network.capitalize()})"


def format_value(metric: str, value: float, like: float | None = None) -> str:
    """Sharpness with three places (faces with four), FID with three digits; a spread with the places of its mean.

    SSIM has four places, PSNR two.
    """
    size = abs(value if like is None else like)
    if metric in DIFFERENCES:
        return f"{value:.4f}" if metric == "ssim" else f"{value:.2f}"
    if metric.startswith("sharpness"):
        return f"{value:.3f}" if size >= 0.02 else f"{value:.4f}"
    return f"{value:.1f}" if size < 100 else f"{value:.0f}"


def format_change(percent: float) -> str:
    """A signed whole percent."""
    return f"{percent:+.0f}%".replace("-", "\N{MINUS SIGN}")


def format_metric_change(metric: str, change: float) -> str:
    """A change of a metric, signed: in percent, or as a difference with the metric's places."""
    if metric not in DIFFERENCES:
        return format_change(change)
    return ("+" if change >= 0 else "") + format_value(metric, change).replace("-", "\N{MINUS SIGN}")


def _change(metric: str, value: float | None, base: float | None) -> float | None:
    if value is None or not base:
        return None
    return value - base if metric in DIFFERENCES else 100.0 * (value / base - 1.0)


def table_rows(results: ExperimentResults) -> list[TableRow]:
    """The rows of `results` with their change against the baseline loss."""
    rows = results.rows
    bases = {(row.data, row.model, row.task): row for row in rows if row.loss == BASELINE}
    table = []
    for row in rows:
        base = bases.get((row.data, row.model, row.task)) if row.loss != BASELINE else None
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
        table.append(TableRow(title, row.loss, row.a, cells, row.training_seconds.mean))
    return table


def markdown_table(results: ExperimentResults) -> str:
    """The table in Markdown: a line a row; in each cell obtained and change, over reported."""
    rows = table_rows(results)
    metrics = [name for name in METRIC_NAMES if name in rows[0].cells]
    head = ["task" if results.rows[0].task else "model", "loss", *[METRIC_NAMES[name] for name in metrics]]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * len(metrics)]
    for row in rows:
        cells = [row.model_text, row.loss_text]
        for cell in (row.cells[name] for name in metrics):
            change = f" ({cell.change_text})" if cell.change_text else ""
            paper = f"<br>paper {cell.reported_text}" if cell.reported_text else ""
            cells.append(f"**{cell.value_text}**{change}{paper}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
