"""Sentences for reports on restoration, generated from the results; see `narrative`."""

from __future__ import annotations

import statistics
from typing import TypeVar

from ..experiments.results import ExperimentResults, RowResult
from ..metrics.image_quality import SIGMA, WINDOW
from ..restoration.corruptions import CORRUPTIONS
from .labels import loss_text
from .narrative import Narrative, origin_text, seeds_text, table_legend
from .paired import outcome_sentence, paired
from .tables import LOSS_NAMES, format_value

MIN_GAIN = 0.01
"""Gain in SSIM that the best network must reach; below it, the networks do too little for a comparison of losses."""

T = TypeVar("T")

WINS = {"l2": "100 of 100", "l1": "99 of 100"}
"""Number of images on which log-cosh has the larger SSIM in the paper (Figure 10), by the other loss."""


def _required(values: T | None) -> T:
    """Return a value that all rows of restoration have; other rows lack it."""
    assert values is not None
    return values


def per_image_means(row: RowResult, metric: str) -> list[float]:
    """Return the value of a metric on each test image, the mean over seeds."""
    return [statistics.fmean(values) for values in zip(*_required(row.pictures)[metric], strict=True)]


def _training_text(results: ExperimentResults) -> str:
    """Return the numbers of steps and the sizes of a batch and its crops."""
    config = results.rows[0].config
    steps = {row.config["epochs"] * row.config["steps"] for row in results.rows}
    return (
        f"{' or '.join(f'{count:,}' for count in sorted(steps))} steps of {config['batch_size']} crops of "
        f"{config['crop_size']}x{config['crop_size']} pixels"
    )


def _images_text(results: ExperimentResults) -> str:
    """Return the numbers of tiles for training and of test images."""
    assert results.images is not None
    train, test = results.images["train"], results.images["test"]
    if test.complete is None:
        of = " images"
    else:
        of = f" of the {test.complete} images of Urban100" if test.used < test.complete else " images of Urban100"
    crop = f", only on their central {results.side}x{results.side} pixels" if results.side else ""
    return (
        f"trained on {train.used:,} tiles ({train.held_out or 0:,} more held out for validation), "
        f"evaluated on {test.used}{of}{crop}"
    )


def introduction(results: ExperimentResults) -> str:
    """Return a sentence on the runs of a table or figure: profile, seeds, training and images."""
    profile = f"Profile “{results.profile}”, " if results.profile != "custom" else ""
    return f"{profile}{seeds_text(results)}: {_training_text(results)}; {_images_text(results)}."


def _corrupted_text(results: ExperimentResults) -> str:
    """Return the strength of each corruption, and mean SSIM and PSNR of the corrupted images."""
    parts = []
    for task, measures in (results.corrupted or {}).items():
        corruption = CORRUPTIONS[task]
        strength = f" ({corruption.unit} {corruption.eval_strength:.3g})" if corruption.unit else ""
        ssim, psnr = (statistics.fmean(measures[name]) for name in ("ssim", "psnr"))
        parts.append(f"{corruption.title}{strength} {format_value('ssim', ssim)}, {format_value('psnr', psnr)} dB")
    return "; ".join(parts)


def legend(results: ExperimentResults) -> str:
    """Return an explanation of the table and its metrics."""
    return (
        f"{table_legend(results)}SSIM: structural similarity to the clean image, 1 for identical images; Gaussian "
        f"window of {WINDOW} pixels, sigma {SIGMA}, on whole images in [0, 1]. PSNR: over all channels. Larger is "
        f"better for both. Values of the corrupted images: {_corrupted_text(results)}."
    )


def provenance(results: ExperimentResults) -> str:
    """Return a paragraph on how the results were obtained: profile, seeds, images, machine and time."""
    threads = results.rows[0].config["threads"]
    return (
        f"Profile `{results.profile}`: {_training_text(results)}, {seeds_text(results)}; {_images_text(results)}. "
        f"SSIM with a Gaussian window of {WINDOW} pixels, sigma {SIGMA}; changes are relative to squared L2. Corrupted "
        f"images: {_corrupted_text(results)}. "
        f"{origin_text(results, threads)}"
    )


def _rows_of_task(results: ExperimentResults, task: str) -> dict[str, RowResult]:
    """Return the rows of a task by loss."""
    return {row.loss: row for row in results.rows if row.task == task}


def findings(results: ExperimentResults) -> list[str]:
    """Return sentences for each task: SSIM before and after restoration, and log-cosh against the other losses."""
    lines = []
    for task, metrics in (results.corrupted or {}).items():
        rows = _rows_of_task(results, task)
        title = CORRUPTIONS[task].title
        before = statistics.fmean(metrics["ssim"])
        values = ", ".join(
            f"{format_value('ssim', row.metrics['ssim'].mean)} with {LOSS_NAMES[loss]}" for loss, row in rows.items()
        )
        lines.append(f"{title}: mean SSIM {format_value('ssim', before)} before restoration, {values}.")
        if max(row.metrics["ssim"].mean for row in rows.values()) - before < MIN_GAIN:
            lines.append(
                f"{title}: no network raises the SSIM by {MIN_GAIN} or more, so the losses cannot be compared."
            )
            continue
        is_paper_test = task == "text" and results.images is not None and results.images["test"].complete is not None
        for other in ("l2", "l1"):
            if "log-cosh" in rows and other in rows:
                outcome = paired(per_image_means(rows["log-cosh"], "ssim"), per_image_means(rows[other], "ssim"))
                paper = f" In the paper, larger on {WINS[other]}." if is_paper_test else ""
                lines.append(f"{title}: {outcome_sentence('log-cosh', LOSS_NAMES[other], 'SSIM', outcome)}{paper}")
    return lines


def row_text(row: RowResult) -> str:
    """Return the loss of a row with its parameter, or with what is learned."""
    return loss_text(row.loss, row.a, row.likelihood)


def steps_findings(results: ExperimentResults) -> list[str]:
    """Return sentences that compare every setting of log-cosh with the other losses, image by image."""
    rivals = {row.loss: row for row in results.rows if row.loss != "log-cosh"}
    lines = []
    for row in results.rows:
        for loss in ("l2", "l1"):
            if row.loss == "log-cosh" and loss in rivals:
                outcome = paired(per_image_means(row, "ssim"), per_image_means(rivals[loss], "ssim"))
                lines.append(outcome_sentence(row_text(row), LOSS_NAMES[loss], "SSIM", outcome))
    return lines


def final_validation_ssim(row: RowResult) -> float:
    """Return the SSIM on held-out tiles after the last epoch, the mean over seeds."""
    return statistics.fmean(run[-1] for run in _required(row.validation)["ssim"])


def a_choice_findings(results: ExperimentResults) -> list[str]:
    """Return sentences on which `a` has the largest SSIM on held-out tiles, and on the SSIM of the other losses."""
    rows = [row for row in results.rows if row.loss == "log-cosh"]
    best = max(rows, key=final_validation_ssim)
    values = ", ".join(f"{final_validation_ssim(row):.4f} at a = {row.a:g}" for row in rows)
    lines = [
        f"On the held-out tiles, the SSIM of log-cosh is largest at a = {best.a:g}: {values}. The test images were not "
        "used for this choice."
    ]
    others = [row for row in results.rows if row.loss != "log-cosh"]
    if others:
        values = " and ".join(f"{final_validation_ssim(row):.4f} for {LOSS_NAMES[row.loss]}" for row in others)
        lines.append(f"The SSIM on the held-out tiles is {values}.")
    ranking = sorted(results.rows, key=lambda row: -float(row.metrics["ssim"].mean))
    values = ", ".join(
        f"{LOSS_NAMES[row.loss]}{'' if row.a is None else f' (a = {row.a:g})'} {row.metrics['ssim'].mean:.4f}"
        for row in ranking
    )
    lines.append(f"SSIM on the test images, computed after the choice: {values}.")
    return lines


NARRATIVE = Narrative(introduction, legend, provenance, findings)
"""The narrative of experiments with restoration."""
