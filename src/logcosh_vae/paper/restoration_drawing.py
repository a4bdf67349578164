"""The pictures of restoration's experiments, drawn from finished runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..base import image_grid as pictures
from ..data import text_removal
from ..experiments.results import ExperimentResults, RowResult
from ..metrics.image_quality import ssim
from ..reporting.html import COLOURS
from ..reporting.paired import paired
from ..reporting.restoration_narrative import final_validation_ssim, per_image_means
from ..reporting.tables import LOSS_NAMES, format_metric_change
from ..restoration.corruptions import CORRUPTIONS
from ..restoration.evaluation import clean_and_corrupted, restored
from ..restoration.training import load_restoration
from .drawing import Panel, compose, figure_image, plot

EXAMPLES = 3
WHOLE = 300
"""Width of a whole picture in a figure."""
DETAIL = (300, 200)
"""Width and height of the part that is shown pixel by pixel."""


def _rows(results: ExperimentResults, task: str = "text") -> dict[str, RowResult]:
    return {row.loss: row for row in results.rows if row.task == task}


def scatter_figure(results: ExperimentResults, store: Path, root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Figure 10: each picture's SSIM with log-cosh against that with L2 and with L1, and the diagonal."""
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


def chosen(rows: Mapping[str, RowResult], count: int = EXAMPLES) -> list[int]:
    """The pictures whose SSIM differs by the median between log-cosh and squared L2 (or the losses there are).

    Of one loss alone it is those with its median SSIM.
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
    """A picture's versions whole, with 1 - SSIM, and a part of each pixel by pixel."""
    height, width = clean.shape[1:]
    across, down = min(DETAIL[0], width), min(DETAIL[1], height)
    top, left = (height - down) // 2, (width - across) // 2
    whole, parts = [], []
    for name, image in versions:
        shown = pictures.grid(image[None], 1, scale=1, gap=0).convert("RGB")
        distance = "" if image is clean else f": 1 - SSIM {1.0 - ssim(image, clean):.3f}"  # its font has no minus sign
        small = shown.resize((WHOLE, round(height * WHOLE / width)), Image.Resampling.LANCZOS)
        whole.append((f"{name}{distance}", small))
        parts.append(("", shown.crop((left, top, left + across, top + down))))
    return [whole, parts]


def _versions(results: ExperimentResults, task: str, store: Path, corrupted: Tensor) -> list[tuple[str, Tensor]]:
    return [
        (LOSS_NAMES[loss], restored(load_restoration(store / row.runs[0])[0], corrupted))
        for loss, row in _rows(results, task).items()
    ]


def examples(results: ExperimentResults, task: str, store: Path, folder: Path) -> Image.Image:
    """Clean, corrupted and restored pictures of `folder` with 1 - SSIM; those of median difference, first seed."""
    wanted = set(chosen(_rows(results, task)))
    rows: list[list[Panel]] = []
    for name, clean, corrupted in clean_and_corrupted(folder, CORRUPTIONS[task], results.side, wanted):
        versions = [(f"{Path(name).stem}, clean", clean), ("corrupted", corrupted)]
        rows += _panels([*versions, *_versions(results, task, store, corrupted)], clean)
    return compose(rows)


def examples_figure(results: ExperimentResults, store: Path, root: Path | None) -> Image.Image:
    """Figure 11."""
    return examples(results, "text", store, text_removal("test", root))


def tasks_figure(results: ExperimentResults, store: Path, root: Path | None) -> Image.Image:
    """A part of one picture for each task: clean, corrupted and restored, with the whole picture's 1 - SSIM."""
    rows: list[list[Panel]] = []
    for task in results.corrupted or {}:
        corruption = CORRUPTIONS[task]
        for _, clean, corrupted in clean_and_corrupted(text_removal("test", root), corruption, results.side, {0}):
            versions = [(f"{corruption.title}: clean", clean), ("corrupted", corrupted)]
            whole, parts = _panels([*versions, *_versions(results, task, store, corrupted)], clean)
            rows.append([(title, part) for (title, _), (_, part) in zip(whole, parts, strict=True)])
    return compose(rows)


def choice_figure(results: ExperimentResults, store: Path, root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """SSIM on pictures kept from training: against `a`, and along training."""
    figure, (against, along) = plot(11.0, 4.0, (1, 1.2))
    ours = [row for row in results.rows if row.loss == "log-cosh"]
    against.plot(
        [row.a for row in ours], [final_validation_ssim(row) for row in ours], "o-", color=COLOURS[1], label="log-cosh"
    )
    against.set_xscale("log")
    for row, colour in zip((r for r in results.rows if r.loss != "log-cosh"), COLOURS[2:], strict=False):
        against.axhline(final_validation_ssim(row), color=colour, linestyle="--", label=LOSS_NAMES[row.loss])
    against.set_xlabel("a")
    against.set_title("SSIM on pictures kept from training", fontsize=10)
    against.legend(frameon=False, fontsize=9)
    reds = torch.linspace(0.15, 0.95, len(ours)).tolist()
    for row in results.rows:
        values = [statistics.fmean(epoch) for epoch in zip(*(row.validation or {})["ssim"], strict=True)]
        steps = [row.config["steps"] * (epoch + 1) for epoch in range(len(values))]
        if row.loss == "log-cosh":
            red = reds[ours.index(row)]
            along.plot(steps, values, color=(red, 0.35, 1.0 - red), linewidth=1.2, label=f"a = {row.a:g}")
        else:
            shade = "black" if row.loss == "l2" else "grey"
            along.plot(steps, values, "--", color=shade, label=LOSS_NAMES[row.loss])
    along.set_xlabel("steps")
    along.set_title("along training", fontsize=10)
    along.legend(frameon=False, fontsize=8, ncols=2)
    return figure_image(figure)
