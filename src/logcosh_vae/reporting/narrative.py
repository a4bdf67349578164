"""What is said of results, in words computed from the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..evaluation.records import FidFloor
from ..experiments.results import ExperimentResults, Summary
from .tables import LOSS_NAMES, METRIC_NAMES, TableRow, duration, format_change, format_value, model_text, table_rows


def epochs_text(results: ExperimentResults) -> str:
    """`40 epochs`, or `5 to 24 epochs` where rows differ."""
    epochs = sorted({row.config["epochs"] for row in results.rows})
    if epochs == [1]:
        return "1 epoch"
    return f"{epochs[0]} epochs" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"


def images_text(results: ExperimentResults) -> str:
    """`trained on 60,000 images and measured on 10,000`; and of how many, where the set was not complete."""
    counts = results.images
    if counts is None:
        return ""
    parts = []
    for name, verb in (("train", "trained on"), ("test", "measured on")):
        used, complete = counts[name].used, counts[name].complete
        of = f" of the {complete:,} of the complete set" if complete is not None and complete > used else ""
        parts.append(f"{verb} {used:,}{of or (' images' if name == 'train' else '')}")
    return " and ".join(parts)


def seeds_text(results: ExperimentResults) -> str:
    """`1 seed`; or `3 seeds, mean ± standard deviation`."""
    count = len(results.rows[0].seeds)
    return "1 seed" if count == 1 else f"{count} seeds, mean ± standard deviation"


def _floor_text(floor: FidFloor) -> str:
    if floor.fid is None:
        return ""
    return f"; floor (training images in place of samples) {format_value('fid', floor.fid)}"


def _floor_sentence(floor: FidFloor) -> str:
    if floor.fid is None:
        return ""
    return f"Its floor is {floor.fid:.2f}: {floor.count} real training images in place of generated ones. "


def provenance(results: ExperimentResults) -> str:
    """One paragraph: profile, seeds, images, features, machine, time."""
    environment, features = results.environment, results.features
    evaluation, real, floor = results.measurement
    training = sum(sum(row.training_seconds.values) for row in results.rows)
    images = images_text(results)
    text = f"Profile `{results.profile}`: {epochs_text(results)}, {seeds_text(results)}. "
    text += f"{images[0].upper()}{images[1:]}. " if images else ""
    text += "Changes are against squared L2 of the same model. "
    if features is not None:
        accuracy = features.test_accuracy
        measured = f", test accuracy {100 * accuracy:.2f}%" if accuracy is not None else ""
        text += (
            f"FID in the features of `{features.name}` ({features.fingerprint}{measured}), "
            f"{evaluation.fid_images:,} samples against the {real.count:,} test images"
            f"{_floor_text(floor)}. "
        )
    text += f"Real images have a sharpness of {format_value('sharpness', floor.sharpness)}. "
    on_gpu = results.rows[0].config["device"].startswith("cuda")
    where = f"{environment.accelerator}, up to {results.workers} runs at once" if on_gpu else "one thread a run"
    return text + (
        f"{environment.machine}, {environment.cores} cores, {where}; "
        f"Python {environment.versions['python']}, torch {environment.versions['torch']}; "
        f"{duration(training)} of training in {results.runs.total} runs; commit {environment.commit}.\n"
    )


def introduction(results: ExperimentResults) -> str:
    """What a table's cells hold, and of what runs."""
    profile = f"Profile “{results.profile}”, " if results.profile != "custom" else ""
    seeds = len(results.rows[0].seeds)
    images = images_text(results)
    return (
        f"{profile}{seeds} seed{'s' if seeds > 1 else ''}, {epochs_text(results)}, data {results.rows[0].data}"
        f"{': ' + images if images else ''}."
    )


CELLS = (
    "Each value stands beside its change against squared L2, and over the paper's where there is one; ± is the "
    "standard deviation over seeds. "
)


def legend(results: ExperimentResults) -> str:
    """What the measures are, for somebody who has not met them."""
    features = results.features
    evaluation, real, floor = results.measurement
    text = CELLS + (
        f"Sharpness: larger is sharper; {evaluation.sharpness_images} images a value; real test images have "
        f"{format_value('sharpness', floor.sharpness)}. "
    )
    if features is None:
        return text + (
            "There is no FID: it needs a general image network, which pip install 'logcosh-vae[features]' gives."
        )
    accuracy = features.test_accuracy
    return text + (
        f"FID: smaller is better; {evaluation.fid_images} generated images against the {real.count} "
        f"of the test split, in the features of “{features.name}” ({features.fingerprint}"
        f"{f', test accuracy {100 * accuracy:.2f}%' if accuracy is not None else ''}). "
        f"{_floor_sentence(floor)}FID values from "
        "different features cannot be compared; the paper's come from another classifier, so compare the changes."
    )


def _comparison(row: TableRow) -> str:
    changes = []
    agreement = []
    better = 0
    compared = [cell for cell in row.cells.values() if cell.change is not None]
    for cell in compared:
        change = cell.change or 0.0
        better += cell.better
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


def _level(one: Summary, other: Summary) -> bool:
    difference = abs(one.mean - other.mean)
    spread = (one.std or 0.0) + (other.std or 0.0)
    return bool(difference < max(spread, LEVEL * min(one.mean, other.mean)))


def advice_findings(results: ExperimentResults) -> list[str]:
    """Whether the paper's advice for these pixels holds: L1 or log-cosh, by the FID of each model."""
    advice = results.advice
    fid = {(row.model, row.loss): row.metrics["fid"] for row in results.rows if "fid" in row.metrics}
    models = [m for m in dict.fromkeys(model for model, _ in fid) if {(m, "l1"), (m, "log-cosh")} <= fid.keys()]
    if advice is None or not models:
        return []
    other = "log-cosh" if advice.loss == "l1" else "l1"
    outcomes = []
    for model in models:
        advised, rival = fid[model, advice.loss], fid[model, other]
        verdict = "holds" if advised.mean <= rival.mean else "does not hold"
        outcomes.append(
            f"{'makes no difference' if _level(advised, rival) else verdict} for {model_text(model)} (FID "
            f"{format_value('fid', advised.mean)} against {format_value('fid', rival.mean)})"
        )
    near = f"{100 * advice.near_0_or_1:.0f}% of the pixels are near 0 or 1"
    return [f"The paper's advice, {LOSS_NAMES[advice.loss]} here ({near}), {'; '.join(outcomes)}."]


def findings(results: ExperimentResults) -> list[str]:
    """A sentence a row on what agrees with the paper and what does not, computed from the numbers."""
    rows = [row for row in table_rows(results) if any(cell.change is not None for cell in row.cells.values())]
    return [*map(_comparison, rows), *advice_findings(results)]


@dataclass(frozen=True)
class Narrative:
    """What is said of results, each computed from them.

    Attributes:
        introduction: of what runs a table is.
        legend: what its measures are.
        provenance: one paragraph for a page without either.
        findings: what the numbers say, a sentence each.
    """

    introduction: Callable[[ExperimentResults], str] = introduction
    legend: Callable[[ExperimentResults], str] = legend
    provenance: Callable[[ExperimentResults], str] = provenance
    findings: Callable[[ExperimentResults], list[str]] = findings


NARRATIVE = Narrative()
"""For auto-encoders."""
