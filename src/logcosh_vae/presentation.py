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
        return text if self.std is None else f"{text} ± {format_value(self.metric, self.std, self.mean)}"

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
    """Sharpness with three places (faces with four), FID with three digits; a spread with the places of its mean."""
    size = abs(value if like is None else like)
    if metric.startswith("sharpness"):
        return f"{value:.3f}" if size >= 0.02 else f"{value:.4f}"
    return f"{value:.1f}" if size < 100 else f"{value:.0f}"


def epochs_text(results: Mapping[str, Any]) -> str:
    """`40 epochs`, or `5 to 24 epochs` where rows differ."""
    epochs = sorted({row["config"]["epochs"] for row in results["rows"]})
    return f"{epochs[0]} epochs" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"


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
    """The table in Markdown: a line a row; in each cell obtained and change, over reported."""
    rows = table_rows(results)
    metrics = [name for name in METRIC_NAMES if name in rows[0].cells]
    head = ["model", "loss", *[METRIC_NAMES[name] for name in metrics]]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * len(metrics)]
    for row in rows:
        cells = [row.model_text, row.loss_text]
        for cell in (row.cells[name] for name in metrics):
            change = f" ({cell.change_text})" if cell.change_text else ""
            paper = f"<br>paper {cell.reported_text}" if cell.reported_text else ""
            cells.append(f"**{cell.value_text}**{change}{paper}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def images_text(results: Mapping[str, Any]) -> str:
    """`trained on 60,000 images and measured on 10,000`; and of how many, where the set was not complete."""
    counts = results.get("images")
    if counts is None:
        return ""
    parts = []
    for name, verb in (("train", "trained on"), ("test", "measured on")):
        used, complete = counts[name]["used"], counts[name].get("complete")
        of = f" of the {complete:,} of the complete set" if complete is not None and complete > used else ""
        parts.append(f"{verb} {used:,}{of or (' images' if name == 'train' else '')}")
    return " and ".join(parts)


def seeds_text(results: Mapping[str, Any]) -> str:
    """`1 seed`; or `3 seeds, mean ± standard deviation`."""
    count = len(results["rows"][0]["seeds"])
    return "1 seed" if count == 1 else f"{count} seeds, mean ± standard deviation"


def provenance(results: Mapping[str, Any]) -> str:
    """One paragraph: profile, seeds, images, features, machine, time."""
    environment, features = results["environment"], results["features"]
    training = sum(sum(row["training_seconds"]["values"]) for row in results["rows"])
    images = images_text(results)
    text = f"Profile `{results['profile']}`: {epochs_text(results)}, {seeds_text(results)}. "
    text += f"{images[0].upper()}{images[1:]}. " if images else ""
    text += "Changes are against squared L2 of the same model. "
    if features is not None:
        accuracy = features["test_accuracy"]
        measured = f", test accuracy {100 * accuracy:.2f}%" if accuracy is not None else ""
        text += (
            f"FID in the features of `{features['name']}` ({features['fingerprint']}{measured}), "
            f"{results['evaluation']['fid_images']:,} samples against the {results['real']['count']:,} test images; "
            f"floor (training images in place of samples) {format_value('fid', results['floor']['fid'])}. "
        )
    text += f"Real images have a sharpness of {format_value('sharpness', results['floor']['sharpness'])}. "
    return text + (
        f"{environment['machine']}, {environment['cores']} cores, one thread a run; "
        f"Python {environment['versions']['python']}, torch {environment['versions']['torch']}; "
        f"{duration(training)} of training in {results['runs']['total']} runs; commit {environment['commit']}.\n"
    )


def _comparison(row: TableRow) -> str:
    changes = []
    agreement = []
    better = 0
    compared = [cell for cell in row.cells.values() if cell.change is not None]
    for cell in compared:
        change = cell.change or 0.0
        better += (change > 0) == LARGER_IS_BETTER[cell.metric]
        text = f"{METRIC_NAMES[cell.metric]} {format_change(change)}"
        if cell.reported_change is not None:
            text += f" (paper {format_change(cell.reported_change)})"
            agreement.append((cell.reported_change > 0) == (change > 0))
        changes.append(text)
    if not compared:
        return f"{row.model_text}, {row.loss_text}: no squared L2 beside it to compare with."
    verdict = f"better than squared L2 in {better} of {len(compared)}"
    if agreement:
        verdict += f"; the sign agrees with the paper in {sum(agreement)} of {len(agreement)}"
    return f"{row.model_text}, {row.loss_text}: {', '.join(changes)}. {verdict[0].upper()}{verdict[1:]}."


LEVEL = 0.02
"""Two FID that differ by less than this share, or than both spreads together, are called level."""


def _level(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    difference = abs(one["mean"] - other["mean"])
    spread = (one["std"] or 0.0) + (other["std"] or 0.0)
    return bool(difference < max(spread, LEVEL * min(one["mean"], other["mean"])))


def advice_findings(results: Mapping[str, Any]) -> list[str]:
    """Whether the paper's advice for these pixels holds: L1 or log-cosh, by the FID of each model."""
    advice = results.get("advice")
    fid = {(row["model"], row["loss"]): row["metrics"]["fid"] for row in results["rows"] if "fid" in row["metrics"]}
    models = [m for m in dict.fromkeys(model for model, _ in fid) if {(m, "l1"), (m, "log-cosh")} <= fid.keys()]
    if advice is None or not models:
        return []
    other = "log-cosh" if advice["loss"] == "l1" else "l1"
    outcomes = []
    for model in models:
        advised, rival = fid[model, advice["loss"]], fid[model, other]
        verdict = "holds" if advised["mean"] <= rival["mean"] else "does not hold"
        outcomes.append(
            f"{'makes no difference' if _level(advised, rival) else verdict} for {model_text(model)} (FID "
            f"{format_value('fid', advised['mean'])} against {format_value('fid', rival['mean'])})"
        )
    near = f"{100 * advice['near_0_or_1']:.0f}% of the pixels are near 0 or 1"
    return [f"The paper's advice, {LOSS_NAMES[advice['loss']]} here ({near}), {'; '.join(outcomes)}."]


def findings(results: Mapping[str, Any]) -> list[str]:
    """A sentence a row on what agrees with the paper and what does not, computed from the numbers."""
    rows = [row for row in table_rows(results) if any(cell.change is not None for cell in row.cells.values())]
    return [*map(_comparison, rows), *advice_findings(results)]
