"""Sentences for reports on autoencoders, generated from the results.

A `Narrative` has the functions for the texts of a report; `NARRATIVE` is the one for autoencoders, and
`restoration_narrative` has the one for restoration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..base.text import code_span
from ..evaluation.records import FeaturesInfo, FidFloor, fid_caveat
from ..experiments.results import ExperimentResults, Summary
from .labels import LOSS_NAMES, model_text
from .latents import learned_findings, memorisation_findings
from .tables import (
    CONTEXT_METRICS,
    TableRow,
    baseline_text,
    duration,
    format_change,
    format_value,
    metric_headings,
    table_rows,
)


def epochs_text(results: ExperimentResults) -> str:
    """Return the number of epochs: `40 epochs`, or `5 to 24 epochs` if rows differ."""
    epochs = sorted({row.config["epochs"] for row in results.rows})
    if epochs == [1]:
        return "1 epoch"
    return f"{epochs[0]} epochs" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"


def images_text(results: ExperimentResults) -> str:
    """Return the numbers of images: `trained on 60,000 images and evaluated on 10,000 images`.

    The size of the complete split is added if only a part of it was used. The text is empty if the results do not have
    the numbers of images.
    """
    counts = results.images
    if counts is None:
        return ""
    parts = []
    for verb, count, kind in (("trained on", counts["train"], "training"), ("evaluated on", counts["test"], "test")):
        is_part = count.complete is not None and count.complete > count.used
        parts.append(f"{verb} {count.used:,}{f' of the {count.complete:,} {kind}' if is_part else ''} images")
    return " and ".join(parts)


def seeds_text(results: ExperimentResults) -> str:
    """Return the number of seeds: `1 seed`, or `3 seeds, mean ± standard deviation`."""
    count = len(results.rows[0].seeds)
    return "1 seed" if count == 1 else f"{count} seeds, mean ± standard deviation"


def _floor_text(floor: FidFloor) -> str:
    if floor.fid is None:
        return ""
    return f"; real training images in place of generated ones have an FID of {format_value('fid', floor.fid)}"


def _floor_sentence(floor: FidFloor) -> str:
    if floor.fid is None:
        return ""
    return f"The FID of {floor.count} real training images in place of generated ones is {floor.fid:.2f}. "


def _features_text(features: FeaturesInfo) -> str:
    """Return fingerprint and test accuracy of the features."""
    accuracy = features.test_accuracy
    return (
        f"fingerprint {features.fingerprint}{f', test accuracy {100 * accuracy:.2f}%' if accuracy is not None else ''}"
    )


def origin_text(results: ExperimentResults, threads: int | None) -> str:
    """Return where results were made: machine, software, training time and commit, of every session.

    Args:
        results: the results.
        threads: of a run; None for runs on a GPU.
    """
    sessions = [(each.environment, each.workers) for each in results.sessions or ()]
    machines, commits = {}, {}
    for environment, workers in sessions or [(results.environment, results.workers)]:
        runs = f"{environment.accelerator}, up to {workers} runs at the same time"
        if threads is not None:
            runs = f"{threads} thread{'s' if threads > 1 else ''} per run"
        software = f"Python {environment.versions['python']}, torch {environment.versions['torch']}"
        machines[f"{environment.machine}, {environment.cores} cores, {runs}; {software}"] = True
        commits[environment.commit] = True
    training = sum(sum(row.training_seconds.values) for row in results.rows)
    return (
        f"{'; '.join(machines)}; total training time {duration(training)} in {results.runs.total} runs; "
        f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}.\n"
    )


def provenance(results: ExperimentResults) -> str:
    """Return a paragraph on how the results were obtained: profile, seeds, images, features, machine and time."""
    features = results.features
    evaluation, real, floor = results.measurement
    images = images_text(results)
    text = f"Profile `{results.profile}`: {epochs_text(results)}, {seeds_text(results)}. "
    text += f"{images[0].upper()}{images[1:]}. " if images else ""
    text += f"Changes are relative to {baseline_text(results)} with the same model. "
    if features is not None:
        text += (
            f"FID with the features of {code_span(features.name)} ({_features_text(features)}), "
            f"{evaluation.fid_images:,} generated images against the {real.count:,} test images{_floor_text(floor)}. "
        )
        text += _sentence(_caveat(results))
    text += f"Real test images have a sharpness of {format_value('sharpness', floor.sharpness)}. "
    on_gpu = results.rows[0].config["device"].startswith("cuda")
    return text + origin_text(results, None if on_gpu else 1)


def introduction(results: ExperimentResults) -> str:
    """Return a sentence on the runs of a table: profile, seeds, epochs and images."""
    profile = f"Profile “{results.profile}”, " if results.profile != "custom" else ""
    seeds = len(results.rows[0].seeds)
    images = images_text(results)
    return (
        f"{profile}{seeds} seed{'s' if seeds > 1 else ''}, {epochs_text(results)}, data {results.rows[0].data}"
        f"{': ' + images if images else ''}."
    )


def table_legend(results: ExperimentResults) -> str:
    """Return an explanation of the cells of the table."""
    return (
        f"Each cell has the value obtained and its change relative to {baseline_text(results)}, and below them the "
        "paper's value if there is one; ± is the standard deviation over seeds. "
    )


FITTED_LEGEND = (
    "The codes of the generated images come from the prior, or from a density that is fitted to the codes of the "
    "training images. “Codes of images” decodes codes of training images themselves, which no density can be expected "
    "to surpass; “reconstructions” are those of the test images. "
)
"""Explanation of FIDs of fitted densities."""


def legend(results: ExperimentResults) -> str:
    """Return an explanation of the table and its metrics for readers who do not know them."""
    features = results.features
    evaluation, real, floor = results.measurement
    text = table_legend(results) + (
        f"Sharpness: larger is sharper; mean over up to {evaluation.sharpness_images} images; real test images have "
        f"{format_value('sharpness', floor.sharpness)}. "
    )
    if features is None:
        return text + (
            "There is no FID, because it needs a general image network: pip install 'logcosh-vae[features]'."
        )
    return text + (
        f"FID: smaller is better; {evaluation.fid_images} generated images against the {real.count} images of the "
        f"test split, with the features of “{features.name}” ({_features_text(features)}). {_floor_sentence(floor)}"
        f"{FITTED_LEGEND if evaluation.priors else ''}{_sentence(_caveat(results))}"
        "FIDs with different features cannot be compared. The paper's come from another classifier, so compare the "
        "changes."
    )


def _caveat(results: ExperimentResults) -> str:
    return fid_caveat(results.features, results.evaluation, results.real)


def _sentence(text: str) -> str:
    return f"{text} " if text else ""


def _comparison(row: TableRow, baseline: str, judges_fid: bool) -> str:
    """Return a sentence that compares a row with the baseline, and the signs of its changes with the paper's.

    Args:
        row: the row.
        baseline: what it is compared with.
        judges_fid: whether FIDs count in the verdict.
    """
    changes = []
    agreement = []
    better = judged = 0
    headings = metric_headings([row], CONTEXT_METRICS)
    compared = [cell for name, cell in row.cells.items() if cell.change is not None and name in headings]
    for cell in compared:
        change = cell.change or 0.0
        text = f"{headings[cell.metric]} {format_change(change)}"
        if cell.reported_change is not None:
            text += f" (paper {format_change(cell.reported_change)})"
        changes.append(text)
        if "fid" in cell.metric and not judges_fid:
            continue
        judged += 1
        better += cell.better
        if cell.reported_change is not None:
            agreement.append((cell.reported_change > 0) == (change > 0))
    if not compared:
        return f"{row.model_text}, {row.loss_text}: there is no {baseline} row to compare with."
    verdict = f"better than {baseline} in {better} of {judged} metrics{'' if judges_fid else ' without the FID'}"
    if agreement:
        verdict += f"; {sum(agreement)} of {len(agreement)} changes have the same sign as in the paper"
    return f"{row.model_text}, {row.loss_text}: {', '.join(changes)}. {verdict[0].upper()}{verdict[1:]}."


FID_TOLERANCE = 0.02
"""Relative difference below which two FIDs count as equal. So do FIDs that differ by less than the sum of their
standard deviations."""


def _is_equal(one: Summary, other: Summary) -> bool:
    """Return whether two FIDs count as equal, see `FID_TOLERANCE`."""
    difference = abs(one.mean - other.mean)
    spread = (one.std or 0.0) + (other.std or 0.0)
    return bool(difference < max(spread, FID_TOLERANCE * min(one.mean, other.mean)))


def advice_findings(results: ExperimentResults) -> list[str]:
    """Return a sentence on whether the paper's advice, L1 or log-cosh, holds by the FID of each model.

    The list is empty if the results have no advice, no model with both losses, or an FID that cannot be judged.
    """
    advice = None if _caveat(results) else results.advice
    rows = [row for row in results.rows if "fid" in row.metrics and row.likelihood is None]
    fid = {(row.model, row.loss): row.metrics["fid"] for row in rows}
    models = [m for m in dict.fromkeys(model for model, _ in fid) if {(m, "l1"), (m, "log-cosh")} <= fid.keys()]
    if advice is None or not models:
        return []
    other = "log-cosh" if advice.loss == "l1" else "l1"
    outcomes = []
    for model in models:
        advised, rival = fid[model, advice.loss], fid[model, other]
        verdict = "holds" if advised.mean <= rival.mean else "does not hold"
        outcomes.append(
            f"{'makes no difference' if _is_equal(advised, rival) else verdict} for {model_text(model)} (FID "
            f"{format_value('fid', advised.mean)} with {LOSS_NAMES[advice.loss]}, "
            f"{format_value('fid', rival.mean)} with {LOSS_NAMES[other]})"
        )
    near = f"{100 * advice.near_0_or_1:.0f}% of the pixel values are near 0 or 1"
    return [f"The paper's advice for these images is {LOSS_NAMES[advice.loss]} ({near}). It {'; it '.join(outcomes)}."]


def findings(results: ExperimentResults) -> list[str]:
    """Return sentences on each row.

    They compare it with squared L2 and the paper, and say what was learned, what the paper advises, and how near
    samples are to training images.
    """
    rows = [row for row in table_rows(results) if any(cell.change is not None for cell in row.cells.values())]
    caveat = _caveat(results) if any("fid" in row.metrics for row in results.rows) else ""
    comparisons = [_comparison(row, baseline_text(results), judges_fid=not caveat) for row in rows]
    sentences = [
        *comparisons,
        *learned_findings(results, judges_fid=not caveat),
        *advice_findings(results),
        *memorisation_findings(results),
    ]
    return [*sentences, *([caveat] if caveat and sentences else [])]


@dataclass(frozen=True)
class Narrative:
    """Functions that generate the texts of a report from results.

    Attributes:
        introduction: a sentence on the runs of a table.
        legend: an explanation of the table and its metrics.
        provenance: a paragraph on how the results were obtained, for pages without introduction and legend.
        findings: a list of sentences that compare the rows.
    """

    introduction: Callable[[ExperimentResults], str] = introduction
    legend: Callable[[ExperimentResults], str] = legend
    provenance: Callable[[ExperimentResults], str] = provenance
    findings: Callable[[ExperimentResults], list[str]] = findings


NARRATIVE = Narrative()
"""The narrative of experiments with autoencoders."""
