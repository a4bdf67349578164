"""The pictures of the paper's figures, drawn from finished runs."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..base import image_grid as pictures
from ..base.extras import require
from ..data.batches import to_unit
from ..evaluation.evaluate import generate, interpolations, random_test_images, reconstruct
from ..experiments.results import ExperimentResults, RowResult
from ..losses import LOSSES, make_loss
from ..reporting.html import COLOURS
from ..reporting.tables import LOSS_NAMES, model_text
from ..training.autoencoder import config_of, load, split
from ..training.run_folder import RunFolder

INK, SOFT = (28, 28, 30), (98, 98, 106)
GAP = 16
TITLE = 24
SIDE = 8
"""Images in a row and in a column of a panel."""

SEED = 0
"""Of the codes and of the real images: the same for every model of a figure."""

Panel = tuple[str, Image.Image]


def compose(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Panels in rows, each with its title above it; in columns, too, where all rows have as many."""
    font = ImageFont.load_default(15)
    places = [[max(panel.width, math.ceil(font.getlength(title))) + GAP for title, panel in row] for row in rows]
    if len({len(row) for row in rows}) == 1:
        places = [[max(column) for column in zip(*places, strict=True)]] * len(rows)
    widths = [sum(row) - GAP for row in places]
    heights = [max(panel.height for _, panel in row) + TITLE + GAP for row in rows]
    canvas = Image.new("RGB", (max(widths), sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    top = 0
    for row, across, height in zip(rows, places, heights, strict=True):
        left = 0
        for (title, panel), width in zip(row, across, strict=True):
            draw.text((left, top + 2), title, fill=INK, font=font)
            canvas.paste(panel, (left, top + TITLE))
            left += width
        top += height
    return canvas


def _scale(images: Tensor) -> int:
    return 2 if images.shape[-1] < 48 else 1


def _grid(images: Tensor, columns: int) -> Image.Image:
    return pictures.grid(images, columns, scale=_scale(images), gap=1, background=255).convert("RGB")


def _panel(kind: str, folder: Path, root: Path | None) -> Image.Image:
    model = load(folder)
    if kind == "samples":
        return _grid(generate(model, SIDE * SIDE, SEED), SIDE)
    if kind == "reconstructions":
        return _grid(reconstruct(model, random_test_images(folder, SIDE * SIDE, SEED, root)), SIDE)
    return _grid(interpolations(model, random_test_images(folder, 2 * SIDE, SEED, root), 10), 10)


def sheet(results: ExperimentResults, store: Path, root: Path | None, kinds: Sequence[str]) -> Image.Image:
    """A row of panels for each model, one panel a loss (and kind); real images first where they are reconstructed.

    Args:
        results: of the experiment; the first seed's runs are drawn.
        store: where its runs are.
        root: data root.
        kinds: `samples`, `reconstructions`, `interpolation`.
    """
    rows: list[list[Panel]] = []
    for model in dict.fromkeys(row.model for row in results.rows):
        panels: list[Panel] = []
        members = [row for row in results.rows if row.model == model]
        for kind in kinds:
            if kind == "reconstructions":
                real = random_test_images(store / members[0].runs[0], SIDE * SIDE, SEED, root)
                panels.append(("real test images", _grid(real, SIDE)))
            for row in members:
                title = f"{model_text(model)}, {LOSS_NAMES[row.loss]}"
                name = title if len(kinds) == 1 else f"{title}: {kind}"
                panels.append((name, _panel(kind, store / row.runs[0], root)))
        rows.append(panels)
    return compose(rows)


def plot(width: float, height: float, columns: Sequence[float]) -> tuple[Any, Any]:
    """A plot's figure in inches, and its axes beside each other with those widths."""
    require("plotting", "matplotlib")
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(columns), width_ratios=columns, squeeze=False)[0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(visible=True, alpha=0.25, linewidth=0.6)
    return figure, axes


def figure_image(figure: Any) -> Image.Image:
    """A plot as a picture."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content).convert("RGB")


def loss_curves(results: ExperimentResults, store: Path, root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """The losses of the paper on [-1, 1], and their gradients."""
    figure, (values, slopes) = plot(9.0, 3.6, (1, 1))
    shown = [("l2", None), ("l1", None), *(("log-cosh", a) for a in (1.0, 3.0, 10.0, 100.0))]
    t = torch.linspace(-1.0, 1.0, 801, dtype=torch.float64)
    for (name, a), colour in zip(shown, COLOURS, strict=True):
        loss = make_loss(name, a)
        residual = t.clone().requires_grad_()
        value = loss.value(residual, torch.zeros_like(t))
        (slope,) = torch.autograd.grad(value.sum(), residual)
        label = LOSS_NAMES[name] if a is None else f"log-cosh, a = {a:g}"
        style = "--" if a is None else "-"
        values.plot(t, value.detach(), style, color=colour, label=label, linewidth=1.6)
        slopes.plot(t, slope, style, color=colour, linewidth=1.6)
    values.set_title("loss", fontsize=10)
    slopes.set_title("gradient", fontsize=10)
    for axes in (values, slopes):
        axes.set_xlabel("residual t")
        axes.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    values.legend(frameon=False, fontsize=9)
    return figure_image(figure)


def curvature(row: RowResult) -> float:
    """Second derivative at 0 of a row's weighted loss."""
    bound = LOSSES[row.loss].curvature(1.0 if row.a is None else row.a)
    return float(bound * row.weight)


def curvature_rows(results: ExperimentResults) -> dict[str, list[RowResult]]:
    """Figure 6's rows by loss, each loss's by rising curvature, in whatever order the runs finished."""
    return {
        loss: sorted((row for row in results.rows if row.loss == loss), key=curvature) for loss in ("l2", "log-cosh")
    }


def pair_of(results: ExperimentResults) -> dict[str, RowResult]:
    """Of Figure 6's rows the paper's own pair: squared L2 with `lambda = 1`, log-cosh with `a = 100`."""
    wanted = (("l2", "weight", 1.0), ("log-cosh", "a", 100.0))
    return {
        loss: next(row for row in results.rows if row.loss == loss and getattr(row, key) == value)
        for loss, key, value in wanted
    }


def _along_training(axes: Any, folders: Mapping[str, RunFolder], term: str, title: str) -> None:
    for (label, folder), colour in zip(folders.items(), COLOURS, strict=False):
        records = folder.metrics()
        few = [point for record in records for point in record["tracked"]]
        axes.plot([point["step"] for point in few], [point[term] for point in few], color=colour, linewidth=0.9)
        steps = [record["tracked"][-1]["step"] for record in records]
        axes.plot(
            steps, [record["validation"][term] for record in records], "o", color=colour, label=label, markersize=3
        )
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("steps (line: first test images; dots: all of them)")
    axes.legend(frameon=False, fontsize=9)


def _threes(folder: Path, root: Path | None) -> Tensor:
    """The threes of a run's test split, as the paper shows: `(N, 1, 28, 28)` in [0, 1]."""
    test = split(config_of(RunFolder(folder))[0], "test", root)
    assert test.labels is not None
    return to_unit(test.images[test.labels == 3])


def _misleading(folders: Mapping[str, Path], root: Path | None) -> list[Panel]:
    """A three and its reconstructions where log-cosh has the larger squared error: the median such digit."""
    first, second = folders.values()
    real = _threes(first, root)
    rebuilt = [reconstruct(load(folder), real) for folder in (first, second)]
    errors = [(images - real).square().flatten(1).sum(dim=1) for images in rebuilt]
    difference = errors[1] - errors[0]
    worse = difference.argsort()[int((difference <= 0).sum()) :]
    chosen = int(worse[len(worse) // 2]) if len(worse) else int(difference.argmax())
    labels = [f"{name}: error {float(error[chosen]):.1f}" for name, error in zip(folders, errors, strict=True)]
    images = [real[chosen], rebuilt[0][chosen], rebuilt[1][chosen]]
    grids = [pictures.grid(image[None], 1, scale=6, gap=1, background=255).convert("RGB") for image in images]
    return list(zip(["real", *labels], grids, strict=True))


def curvature_figure(results: ExperimentResults, store: Path, root: Path | None) -> Image.Image:
    """Figure 6: squared L2 error and KL along training, and FID against curvature with a digit at each point."""
    by_loss = curvature_rows(results)
    folders = {LOSS_NAMES[loss]: store / row.runs[0] for loss, row in pair_of(results).items()}
    figure, axes = plot(13.0, 3.8, (1, 1, 1.3))
    runs = {name: RunFolder(path) for name, path in folders.items()}
    _along_training(axes[0], runs, "squared_l2", "(a) squared L2 test error")
    _along_training(axes[1], runs, "kl", "(b) KL divergence on the test split")
    for (loss, members), colour in zip(by_loss.items(), COLOURS, strict=False):
        fid = [row.metrics["fid"] for row in members]
        spread = [value.std or 0.0 for value in fid]
        x = [curvature(row) for row in members]
        name = "log-cosh, $a$ = curvature" if loss == "log-cosh" else r"squared L2, $2\lambda$ = curvature"
        axes[2].errorbar(x, [value.mean for value in fid], spread, color=colour, marker="o", label=name, capsize=3)
    axes[2].set_title("(c) FID of samples against the curvature at 0", fontsize=10)
    axes[2].set_xlabel("curvature")
    axes[2].legend(frameon=False, fontsize=9)
    digit = _threes(folders["squared L2"], root)[:1]
    strips: list[list[Panel]] = []
    for loss, members in by_loss.items():
        made = torch.cat([digit, *[reconstruct(load(store / row.runs[0]), digit) for row in members]])
        points = ", ".join(f"{curvature(row):g}" for row in members)
        strips.append([(f"{LOSS_NAMES[loss]}: real, then reconstructed at curvature {points}", _strip(made))])
    return compose([[("", figure_image(figure))], _misleading(folders, root), *strips])


def _strip(images: Tensor) -> Image.Image:
    return pictures.grid(images, len(images), scale=4, gap=2, background=255).convert("RGB")
