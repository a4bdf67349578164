"""Results of restoration in words, computed from the numbers."""

from __future__ import annotations

import statistics
from typing import TypeVar

from ..experiments.results import ExperimentResults, RowResult
from ..metrics.image_quality import SIGMA, WINDOW
from ..restoration.corruptions import CORRUPTIONS
from .narrative import CELLS, Narrative, seeds_text
from .paired import outcome_sentence, paired
from .tables import LOSS_NAMES, duration, format_value

LEAST_GAIN = 0.01
"""In SSIM, of the best network; below it, what differs between networks is how little they do."""

T = TypeVar("T")

WINS = {"l2": "100 of 100", "l1": "99 of 100"}
"""On how many pictures the paper's log-cosh has the larger SSIM (Figure 10), by rival."""


def _required(values: T | None) -> T:
    """What every row of restoration has."""
    assert values is not None
    return values


def by_picture(row: RowResult, measure: str) -> list[float]:
    """A measure of each picture, the mean over seeds."""
    return [statistics.fmean(values) for values in zip(*_required(row.pictures)[measure], strict=True)]


def _training(results: ExperimentResults) -> str:
    config = results.rows[0].config
    steps = {row.config["epochs"] * row.config["steps"] for row in results.rows}
    return (
        f"{' or '.join(f'{count:,}' for count in sorted(steps))} steps of {config['batch_size']} crops of "
        f"{config['crop_size']}x{config['crop_size']} pixels"
    )


def _pictures(results: ExperimentResults) -> str:
    assert results.images is not None
    train, test = results.images["train"], results.images["test"]
    if test.complete is None:
        of = " pictures"
    else:
        of = f" of the {test.complete} of Urban100" if test.used < test.complete else " pictures of Urban100"
    part = f", the central {results.side}x{results.side} pixels only" if results.side else ""
    return (
        f"trained on {train.used:,} tiles of pictures ({train.held_out or 0:,} more held out to choose and watch by), "
        f"measured on {test.used}{of}{part}"
    )


def introduction(results: ExperimentResults) -> str:
    """What runs a table or picture is of."""
    profile = f"Profile “{results.profile}”, " if results.profile != "custom" else ""
    return f"{profile}{seeds_text(results)}: {_training(results)}; {_pictures(results)}."


def _strengths(results: ExperimentResults) -> str:
    parts = []
    for task, measures in (results.corrupted or {}).items():
        corruption = CORRUPTIONS[task]
        strength = f" ({corruption.unit} {corruption.eval_strength:.3g})" if corruption.unit else ""
        ssim, psnr = (statistics.fmean(measures[name]) for name in ("ssim", "psnr"))
        parts.append(f"{corruption.title}{strength} {format_value('ssim', ssim)}, {format_value('psnr', psnr)} dB")
    return "; ".join(parts)


def legend(results: ExperimentResults) -> str:
    """What the measures are."""
    return (
        f"{CELLS}SSIM: structural similarity to the clean picture, 1 for the same; Gaussian window of {WINDOW} "
        f"pixels, sigma {SIGMA}, of whole pictures in [0, 1]. PSNR: over all channels. Larger is better for both. "
        f"The corrupted pictures themselves have: {_strengths(results)}."
    )


def provenance(results: ExperimentResults) -> str:
    """One paragraph: profile, seeds, pictures, machine, time."""
    environment = results.environment
    training = sum(sum(row.training_seconds.values) for row in results.rows)
    threads = results.rows[0].config["threads"]
    return (
        f"Profile `{results.profile}`: {_training(results)}, {seeds_text(results)}; {_pictures(results)}. "
        f"SSIM with a Gaussian window of {WINDOW} pixels, sigma {SIGMA}; changes are against squared L2. Corrupted "
        f"pictures: {_strengths(results)}. "
        f"{environment.machine}, {environment.cores} cores, {threads} thread a run; "
        f"Python {environment.versions['python']}, torch {environment.versions['torch']}; "
        f"{duration(training)} of training in {results.runs.total} runs; commit {environment.commit}.\n"
    )


def _of_task(results: ExperimentResults, task: str) -> dict[str, RowResult]:
    return {row.loss: row for row in results.rows if row.task == task}


def findings(results: ExperimentResults) -> list[str]:
    """For each task: how far pictures were restored, and log-cosh against its rivals, picture by picture."""
    said = []
    for task, measures in (results.corrupted or {}).items():
        rows = _of_task(results, task)
        title = CORRUPTIONS[task].title
        values = ", ".join(
            f"{LOSS_NAMES[loss]} {format_value('ssim', row.metrics['ssim'].mean)}" for loss, row in rows.items()
        )
        before = format_value("ssim", statistics.fmean(measures["ssim"]))
        said.append(f"{title}: mean SSIM from {before} to {values}.")
        gained = max(row.metrics["ssim"].mean for row in rows.values()) - statistics.fmean(measures["ssim"])
        if gained < LEAST_GAIN:
            said.append(f"{title}: no network restores anything to speak of, so nothing can be said of the losses.")
            continue
        for rival in ("l2", "l1"):
            if "log-cosh" in rows and rival in rows:
                outcome = paired(by_picture(rows["log-cosh"], "ssim"), by_picture(rows[rival], "ssim"))
                papers = task == "text" and results.images is not None and results.images["test"].complete is not None
                paper = f" The paper: larger on {WINS[rival]}." if papers else ""
                said.append(f"{title}: {outcome_sentence('log-cosh', LOSS_NAMES[rival], 'SSIM', outcome)}{paper}")
    return said


def held(row: RowResult) -> float:
    """SSIM at the end of training on pictures kept from it, the mean over seeds."""
    return statistics.fmean(run[-1] for run in _required(row.validation)["ssim"])


def choice_findings(results: ExperimentResults) -> list[str]:
    """Which `a` is best on pictures kept from training, and what the rivals reach there."""
    rows = [row for row in results.rows if row.loss == "log-cosh"]
    best = max(rows, key=held)
    values = ", ".join(f"{held(row):.4f} at a = {row.a:g}" for row in rows)
    said = [
        f"On pictures kept from training log-cosh has its largest SSIM at a = {best.a:g}: {values}. No picture "
        "that is measured on had a part in that."
    ]
    rivals = [row for row in results.rows if row.loss != "log-cosh"]
    if rivals:
        said.append("There " + ", ".join(f"{LOSS_NAMES[row.loss]} has {held(row):.4f}" for row in rivals) + ".")
    measured = sorted(results.rows, key=lambda row: -float(row.metrics["ssim"].mean))
    named = (
        f"{LOSS_NAMES[row.loss]}{'' if row.a is None else ' with a = ' + format(row.a, 'g')} "
        f"{row.metrics['ssim'].mean:.4f}"
        for row in measured
    )
    said.append(f"On the pictures that are measured on, looked at afterwards: {', '.join(named)}.")
    return said


NARRATIVE = Narrative(introduction, legend, provenance, findings)
