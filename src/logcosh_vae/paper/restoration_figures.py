"""Draw figures 10 and 11 of the paper, and the figures of the further restoration experiments, from finished runs.

Every figure function takes the results, the folder that contains the run folders (`run_root`), and the data root.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..base import image_grid
from ..data import text_removal
from ..experiments.results import ExperimentResults, RowResult
from ..metrics.image_quality import ssim
from ..reporting.html import COLOURS
from ..reporting.labels import loss_text
from ..reporting.paired import paired
from ..reporting.restoration_narrative import final_validation_ssim, per_image_means, row_text
from ..reporting.tables import LOSS_NAMES, format_metric_change
from ..restoration.corruptions import CORRUPTIONS
from ..restoration.evaluation import clean_and_corrupted, restore_image
from ..restoration.training import load_restoration
from .drawing import Panel, compose, figure_image, plot, use_log_scale

EXAMPLES = 3
"""Number of pictures in figure 11."""

OVERVIEW_WIDTH = 300
"""Width in pixels to which a whole picture is reduced."""

DETAIL = (300, 200)
"""Width and height of the central crop that is shown at full resolution."""


def _rows(results: ExperimentResults, task: str = "text") -> dict[str, RowResult]:
    """Return the rows of a task by loss."""
    return {row.loss: row for row in results.rows if row.task == task}


def scatter_figure(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Draw figure 10: the SSIM of each picture with log-cosh against that with L2 and with L1, and the diagonal."""
    rows = _rows(results)
    ours = per_image_means(rows["log-cosh"], "ssim")
    figure, both = plot(10.0, 5.0, (1, 1))
    for axes, rival in zip(both, ("l2", "l1"), strict=True):
        theirs = per_image_means(rows[rival], "ssim")
        ends = (min(*ours, *theirs) - 0.01, max(*ours, *theirs) + 0.01)
        axes.plot(ends, ends, color=COLOURS[2], linewidth=1.4)
        axes.scatter(theirs, ours, s=22, color=COLOURS[0], edgecolor="white", linewidth=0.6, zorder=3)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        axes.set_xlabel(f"SSIM, {LOSS_NAMES[rival]}")
        axes.set_ylabel(f"SSIM, log-cosh (a = {rows['log-cosh'].a:g})")
        outcome = paired(ours, theirs)
        difference = format_metric_change("ssim", outcome.difference)
        title = f"log-cosh larger on {outcome.wins} of {outcome.count}, mean difference {difference}"
        axes.set_title(title, fontsize=10)
    return figure_image(figure)


def median_examples(rows: Mapping[str, RowResult], count: int = EXAMPLES) -> list[int]:
    """Choose typical pictures: those whose SSIM difference between two losses is closest to the median.

    The losses are squared L2 and log-cosh, or the first and the last of `rows` if one of these is missing. With one
    loss only, the pictures closest to its median SSIM are chosen.

    Args:
        rows: results by loss.
        count: number of pictures to choose.

    Returns:
        Sorted indices into the test pictures.
    """
    values = {loss: per_image_means(row, "ssim") for loss, row in rows.items()}
    if {"l2", "log-cosh"} <= values.keys():
        before, after = values["l2"], values["log-cosh"]
    else:
        before, after = next(iter(values.values())), list(values.values())[-1]
    differences = after if len(values) == 1 else [y - x for x, y in zip(before, after, strict=True)]
    middle = statistics.median(differences)
    return sorted(sorted(range(len(differences)), key=lambda index: abs(differences[index] - middle))[:count])


def _panels(versions: Sequence[tuple[str, Tensor]], clean: Tensor) -> list[list[Panel]]:
    """Return two rows of panels: each version reduced, titled with 1 - SSIM, and a crop at full resolution."""
    height, width = clean.shape[1:]
    crop_width, crop_height = min(DETAIL[0], width), min(DETAIL[1], height)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    overviews, details = [], []
    for name, image in versions:
        shown = image_grid.grid(image[None], 1, scale=1, gap=0).convert("RGB")
        # 1 - SSIM rather than the change in SSIM, since the font of the titles has no minus sign
        distance = "" if image is clean else f": 1 - SSIM {1.0 - ssim(image, clean):.3f}"
        size = (OVERVIEW_WIDTH, round(height * OVERVIEW_WIDTH / width))
        overviews.append((f"{name}{distance}", shown.resize(size, Image.Resampling.LANCZOS)))
        details.append(("", shown.crop((left, top, left + crop_width, top + crop_height))))
    return [overviews, details]


def _restored(results: ExperimentResults, task: str, run_root: Path, corrupted: Tensor) -> list[tuple[str, Tensor]]:
    """Restore a corrupted image with the first seed's network of each loss of a task."""
    return [
        (LOSS_NAMES[loss], restore_image(load_restoration(row.run_in(run_root))[0], corrupted))
        for loss, row in _rows(results, task).items()
    ]


def examples(results: ExperimentResults, task: str, run_root: Path, folder: Path) -> Image.Image:
    """Draw clean, corrupted and restored versions of typical pictures, with 1 - SSIM of each.

    Args:
        results: results of a restoration experiment; the networks of the first seed are used.
        task: the corruption, a key of `CORRUPTIONS`.
        run_root: folder that contains the run folders.
        folder: folder with the clean test pictures.
    """
    wanted = set(median_examples(_rows(results, task)))
    rows: list[list[Panel]] = []
    for name, clean, corrupted in clean_and_corrupted(folder, CORRUPTIONS[task], results.side, wanted):
        versions = [(f"{Path(name).stem}, clean", clean), ("corrupted", corrupted)]
        rows += _panels([*versions, *_restored(results, task, run_root, corrupted)], clean)
    return compose(rows)


def examples_figure(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:
    """Draw figure 11: examples of text removal."""
    return examples(results, "text", run_root, text_removal("test", data_root))


def tasks_figure(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:
    """Draw one picture for each task: a crop of the clean, corrupted and restored versions.

    The titles give 1 - SSIM of the whole picture.
    """
    rows: list[list[Panel]] = []
    for task in results.corrupted or {}:
        corruption = CORRUPTIONS[task]
        for _, clean, corrupted in clean_and_corrupted(text_removal("test", data_root), corruption, results.side, {0}):
            versions = [(f"{corruption.title}: clean", clean), ("corrupted", corrupted)]
            overviews, details = _panels([*versions, *_restored(results, task, run_root, corrupted)], clean)
            rows.append([(title, detail) for (title, _), (_, detail) in zip(overviews, details, strict=True)])
    return compose(rows)


def choice_figure(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Draw the SSIM on held-out pictures: at the end of training against `a`, and along training for every run."""
    figure, (final, along) = plot(11.0, 4.0, (1, 1.2))
    _plot_final(final, results)
    _plot_along_training(along, results)
    return figure_image(figure)


def steps_figure(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Draw SSIM along training, and how much every other loss differs from L1 on the test pictures."""
    figure, (along, differences) = plot(13.0, 4.2, (1, 1))
    _plot_along_training(along, results)
    base = next(row for row in results.rows if row.loss == "l1")
    others = [row for row in results.rows if row is not base]
    for height, row in enumerate(reversed(others)):
        outcome = paired(per_image_means(row, "ssim"), per_image_means(base, "ssim"))
        differences.plot((outcome.low, outcome.high), (height, height), color=COLOURS[0], linewidth=2.0)
        differences.plot(outcome.difference, height, "o", color=COLOURS[0])
    differences.axvline(0.0, color=COLOURS[2], linewidth=1.0)
    differences.set_yticks(range(len(others)), [row_text(row) for row in reversed(others)])
    differences.set_title("SSIM on test pictures minus that of L1, 95% interval of the mean", fontsize=10)
    return figure_image(figure)


def _plot_final(axes: Any, results: ExperimentResults) -> None:
    """Plot the final SSIM of log-cosh against `a`, with the other losses as horizontal lines."""
    ours = [row for row in results.rows if row.loss == "log-cosh"]
    axes.plot(
        [row.a for row in ours], [final_validation_ssim(row) for row in ours], "o-", color=COLOURS[1], label="log-cosh"
    )
    use_log_scale(axes, "x")
    for row, colour in zip((r for r in results.rows if r.loss != "log-cosh"), COLOURS[2:], strict=False):
        axes.axhline(final_validation_ssim(row), color=colour, linestyle="--", label=LOSS_NAMES[row.loss])
    axes.set_xlabel("a")
    axes.set_title("SSIM on held-out pictures", fontsize=10)
    axes.legend(frameon=False, fontsize=9)


def _plot_along_training(axes: Any, results: ExperimentResults) -> None:
    """Plot SSIM after every epoch, the mean over seeds; log-cosh from blue (small `a`) to red (large `a`)."""
    ours = [row for row in results.rows if row.loss == "log-cosh"]
    reds = torch.linspace(0.15, 0.95, len(ours)).tolist()
    for row in results.rows:
        values = [statistics.fmean(epoch) for epoch in zip(*(row.validation or {})["ssim"], strict=True)]
        steps = [row.config["steps"] * (epoch + 1) for epoch in range(len(values))]
        if row.loss == "log-cosh":
            red = reds[ours.index(row)]
            axes.plot(
                steps,
                values,
                color=(red, 0.35, 1.0 - red),
                linewidth=1.2,
                label=loss_text("", row.a, row.likelihood).removeprefix(", "),
            )
        else:
            shade = "black" if row.loss == "l2" else "grey"
            axes.plot(steps, values, "--", color=shade, label=LOSS_NAMES[row.loss])
    axes.set_xlabel("steps")
    axes.set_title("SSIM along training", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=2)
