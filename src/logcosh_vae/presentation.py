"""Results as tables of obtained beside reported, and as sentences computed from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

METRIC_NAMES = {
    "sharpness_reconstructed": "Sharpness, reconstructed",
    "sharpness_generated": "Sharpness, generated",
    "fid": "FID",
}
LARGER_IS_BETTER = {"sharpness_reconstructed": True, "sharpness_generated": True, "fid": False}
LOSS_NAMES = {"l2": "squared L2", "l1": "L1", "log-cosh": "log-cosh"}
BASELINE = "l2"


@dataclass(frozen=True)
class Cell:
    """One metric of one row; `change` is in percent of the baseline loss of the same model and data."""

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
        return text if self.std is None else f"{text} ± {format_value(self.metric, self.std)}"

    @property
    def change_text(self) -> str:
        return "" if self.change is None else format_change(self.change)

    @property
    def reported_text(self) -> str:
        if self.reported is None:
            return ""
        change = "" if self.reported_change is None else f" ({format_change(self.reported_change)})"
        return format_value(self.metric, self.reported) + change


@dataclass(frozen=True)
class TableRow:
    """A model and a loss with its cells by metric, and the mean training time in seconds."""

    data: str
    model: str
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

    @property
    def model_text(self) -> str:
        return model_text(self.model)


def model_text(model: str) -> str:
    """`vae-mlp` as the paper writes it: `VAE (MLP)`."""
    family, _, network = model.partition("-")
    return f"{family.upper()} ({'MLP' if network == 'mlp' else network.capitalize()})"


def format_value(metric: str, value: float) -> str:
    """As the paper prints it: sharpness with three places (1e-3 units when small), FID with three digits."""
    if metric.startswith("sharpness"):
        return f"{value:.3f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def format_change(percent: float) -> str:
    """A signed whole percent."""
    return f"{percent:+.0f}%".replace("-", "\N{MINUS SIGN}")


def _change(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else 100.0 * (value / base - 1.0)


def table_rows(results: Mapping[str, Any]) -> list[TableRow]:
    """The rows of `results` with their change against the baseline loss."""
    rows: Sequence[Mapping[str, Any]] = results["rows"]
    bases = {(row["data"], row["model"]): row for row in rows if row["loss"] == BASELINE}
    table = []
    for row in rows:
        base = bases.get((row["data"], row["model"])) if row["loss"] != BASELINE else None
        cells = {}
        for metric, values in row["metrics"].items():
            reported = row["reported"].get(metric)
            base_mean = base["metrics"][metric]["mean"] if base else None
            base_reported = base["reported"].get(metric) if base else None
            cells[metric] = Cell(
                metric,
                values["mean"],
                values["std"],
                _change(values["mean"], base_mean),
                reported,
                _change(reported, base_reported),
            )
        seconds = row["training_seconds"]["mean"]
        table.append(TableRow(row["data"], row["model"], row["loss"], row["a"], cells, seconds))
    return table


def markdown_table(results: Mapping[str, Any]) -> str:
    """The table in Markdown: a line a row, obtained, change and reported for each metric."""
    rows = table_rows(results)
    metrics = [name for name in METRIC_NAMES if name in rows[0].cells]
    head = ["model", "loss"]
    for name in metrics:
        head += [METRIC_NAMES[name], "change", "paper"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.model_text, row.loss_text]
        for name in metrics:
            cell = row.cells[name]
            cells += [cell.value_text, cell.change_text, cell.reported_text]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def findings(results: Mapping[str, Any]) -> list[str]:
    """Sentences on what agrees with the paper and what does not, each computed from the numbers."""
    sentences = []
    for row in table_rows(results):
        if row.loss == BASELINE:
            continue
        for metric, cell in row.cells.items():
            if cell.change is None:
                continue
            better = (cell.change > 0) == LARGER_IS_BETTER[metric]
            text = (
                f"{row.model_text}, {row.loss_text}: {METRIC_NAMES[metric]} {format_change(cell.change)} "
                f"against squared L2, {'better' if better else 'worse'}"
            )
            if cell.reported_change is not None:
                same = (cell.reported_change > 0) == (cell.change > 0)
                verdict = "same sign" if same else "the other sign"
                text += f"; the paper reports {format_change(cell.reported_change)}: {verdict}"
            sentences.append(text + ".")
    return sentences
