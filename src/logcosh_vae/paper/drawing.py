"""Draw figures 1 to 9 of the paper from finished runs: contact sheets of images, loss curves and training curves.

`compose`, `plot` and `figure_image` are also used by `restoration_figures`, `tools/` and `studies/`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..base import image_grid
from ..base.extras import require
from ..data.batches import to_unit
from ..evaluation.evaluate import generate, interpolations, random_test_images, reconstruct
from ..experiments.results import ExperimentResults, RowResult
from ..losses import LOSSES, make_loss
from ..reporting.html import COLOURS
from ..reporting.tables import LOSS_NAMES, model_text
from ..training.autoencoder import config_of, load, split
from ..training.run_folder import RunFolder

INK = (28, 28, 30)
"""Colour of titles, RGB."""

GAP = 16
"""Pixels between panels."""

TITLE = 24
"""Height of a panel's title, in pixels."""

SIDE = 8
"""Images per row and per column of a panel."""

SEED = 0
"""Seed of the latent codes and of the choice of test images: every model of a figure gets the same ones."""

Panel = tuple[str, Image.Image]
"""A title and the picture below it."""


def compose(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Arrange panels in rows, each with its title above it.

    If all rows have the same number of panels, the panels are aligned in columns too.
    """
    font = ImageFont.load_default(15)
    widths = [[max(panel.width, math.ceil(font.getlength(title))) + GAP for title, panel in row] for row in rows]
    if len({len(row) for row in rows}) == 1:
        widths = [[max(column) for column in zip(*widths, strict=True)]] * len(rows)
    heights = [max(panel.height for _, panel in row) + TITLE + GAP for row in rows]
    canvas = Image.new("RGB", (max(sum(row) - GAP for row in widths), sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    top = 0
    for row, row_widths, height in zip(rows, widths, heights, strict=True):
        left = 0
        for (title, panel), width in zip(row, row_widths, strict=True):
            draw.text((left, top + 2), title, fill=INK, font=font)
            canvas.paste(panel, (left, top + TITLE))
            left += width
        top += height
    return canvas


def _scale(images: Tensor) -> int:
    """Enlarge MNIST's 28x28 images twice; leave CelebA's 64x64 as they are."""
    return 2 if images.shape[-1] < 48 else 1


def _grid(images: Tensor, columns: int, *, scale: int | None = None, gap: int = 1) -> Image.Image:
    scale = _scale(images) if scale is None else scale
    return image_grid.grid(images, columns, scale=scale, gap=gap, background=255).convert("RGB")


def _panel(kind: str, folder: Path, data_root: Path | None) -> Image.Image:
    """One panel of `sheet` for the run in `folder`."""
    model = load(folder)
    if kind == "samples":
        return _grid(generate(model, SIDE * SIDE, SEED), SIDE)
    if kind == "reconstructions":
        return _grid(reconstruct(model, random_test_images(folder, SIDE * SIDE, SEED, data_root)), SIDE)
    return _grid(interpolations(model, random_test_images(folder, 2 * SIDE, SEED, data_root), 10), 10)


def sheet(results: ExperimentResults, run_root: Path, data_root: Path | None, kinds: Sequence[str]) -> Image.Image:
    """Draw a contact sheet: one row per model, with one panel per loss and kind.

    A row with reconstructions begins with the real test images.

    Args:
        results: results of the experiment; the runs of the first seed are drawn.
        run_root: folder that contains the run folders.
        data_root: folder with the image sets; None for the default.
        kinds: any of `samples`, `reconstructions` and `interpolation`.
    """
    rows: list[list[Panel]] = []
    for model in dict.fromkeys(row.model for row in results.rows):
        panels: list[Panel] = []
        members = [row for row in results.rows if row.model == model]
        for kind in kinds:
            if kind == "reconstructions":
                real = random_test_images(members[0].run_in(run_root), SIDE * SIDE, SEED, data_root)
                panels.append(("real test images", _grid(real, SIDE)))
            for row in members:
                title = f"{model_text(model)}, {LOSS_NAMES[row.loss]}"
                name = title if len(kinds) == 1 else f"{title}: {kind}"
                panels.append((name, _panel(kind, row.run_in(run_root), data_root)))
        rows.append(panels)
    return compose(rows)


def plot(width: float, height: float, columns: Sequence[float]) -> tuple[Any, Any]:
    """Create a matplotlib figure with axes side by side.

    Args:
        width: width of the figure in inches.
        height: its height in inches.
        columns: relative widths of the axes.

    Returns:
        The figure and an array of its axes.
    """
    require("plotting", "matplotlib")
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(columns), width_ratios=columns, squeeze=False)[0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(visible=True, alpha=0.25, linewidth=0.6)
    return figure, axes


def use_log_scale(axes: Any, name: str) -> None:
    """Give the axis `x` or `y` of matplotlib axes a logarithmic scale whose ticks are plain numbers."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def figure_image(figure: Any) -> Image.Image:
    """Render a matplotlib figure as an RGB picture."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content).convert("RGB")


def loss_curves(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Draw figure 1: the losses of the paper for residuals in [-1, 1], and their gradients."""
    figure, (values, grads) = plot(9.0, 3.6, (1, 1))
    shown = [("l2", None), ("l1", None), *(("log-cosh", a) for a in (1.0, 3.0, 10.0, 100.0))]
    t = torch.linspace(-1.0, 1.0, 801, dtype=torch.float64)
    for (name, a), colour in zip(shown, COLOURS, strict=True):
        loss = make_loss(name, a)
        residual = t.clone().requires_grad_()
        value = loss.value(residual, torch.zeros_like(t))
        (grad,) = torch.autograd.grad(value.sum(), residual)
        label = LOSS_NAMES[name] if a is None else f"log-cosh, a = {a:g}"
        style = "--" if a is None else "-"
        values.plot(t, value.detach(), style, color=colour, label=label, linewidth=1.6)
        grads.plot(t, grad, style, color=colour, linewidth=1.6)
    values.set_title("loss", fontsize=10)
    grads.set_title("gradient", fontsize=10)
    for axes in (values, grads):
        axes.set_xlabel("residual t")
        axes.set_xticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    values.legend(frameon=False, fontsize=9)
    return figure_image(figure)


def curvature(row: RowResult) -> float:
    """Return the second derivative at 0 of a row's loss, weighted by `lambda`."""
    bound = LOSSES[row.loss].curvature(1.0 if row.a is None else row.a)
    return float(bound * row.weight)


def curvature_rows(results: ExperimentResults) -> dict[str, list[RowResult]]:
    """Return the rows of figure 6 by loss, ordered by curvature whatever the order in which the runs finished."""
    return {
        loss: sorted((row for row in results.rows if row.loss == loss), key=curvature) for loss in ("l2", "log-cosh")
    }


def paper_pair(results: ExperimentResults) -> dict[str, RowResult]:
    """Return the two rows of figure 6 with the paper's settings, by loss.

    They are squared L2 with `lambda = 1` and log-cosh with `a = 100`.
    """
    wanted = (("l2", "weight", 1.0), ("log-cosh", "a", 100.0))
    return {
        loss: next(row for row in results.rows if row.loss == loss and getattr(row, key) == value)
        for loss, key, value in wanted
    }


def _plot_training(axes: Any, folders: Mapping[str, RunFolder], term: str, title: str) -> None:
    """Plot a term of the objective along training: a line for the tracked test images, a dot per epoch for all."""
    for (label, folder), colour in zip(folders.items(), COLOURS, strict=False):
        records = folder.metrics()
        tracked = [point for record in records for point in record["tracked"]]
        axes.plot([point["step"] for point in tracked], [point[term] for point in tracked], color=colour, linewidth=0.9)
        steps = [record["tracked"][-1]["step"] for record in records]
        values = [record["validation"][term] for record in records]
        axes.plot(steps, values, "o", color=colour, label=label, markersize=3)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("steps (line: first test images; dots: all of them)")
    axes.legend(frameon=False, fontsize=9)


def _plot_fid(axes: Any, by_loss: Mapping[str, Sequence[RowResult]]) -> None:
    """Plot FID against curvature for each loss, with the standard deviation over seeds."""
    for (loss, members), colour in zip(by_loss.items(), COLOURS, strict=False):
        fid = [row.metrics["fid"] for row in members]
        deviation = [value.std or 0.0 for value in fid]
        x = [curvature(row) for row in members]
        name = "log-cosh, $a$ = curvature" if loss == "log-cosh" else r"squared L2, $2\lambda$ = curvature"
        axes.errorbar(x, [value.mean for value in fid], deviation, color=colour, marker="o", label=name, capsize=3)
    axes.set_title("(c) FID of samples against the curvature at 0", fontsize=10)
    axes.set_xlabel("curvature")
    axes.legend(frameon=False, fontsize=9)


def _test_threes(folder: Path, data_root: Path | None) -> Tensor:
    """Return the threes of a run's test split, the digit that the paper shows: `(N, 1, 28, 28)` in [0, 1]."""
    test = split(config_of(RunFolder(folder))[0], "test", data_root)
    assert test.labels is not None
    return to_unit(test.images[test.labels == 3])


def _larger_error_panels(folders: Mapping[str, Path], data_root: Path | None) -> list[Panel]:
    """Show a three, and both reconstructions, where the second run has the larger squared error.

    Of all such digits, the one with the median difference is shown.
    """
    first, second = folders.values()
    real = _test_threes(first, data_root)
    reconstructed = [reconstruct(load(folder), real) for folder in (first, second)]
    errors = [(images - real).square().flatten(1).sum(dim=1) for images in reconstructed]
    difference = errors[1] - errors[0]
    worse = difference.argsort()[int((difference <= 0).sum()) :]
    chosen = int(worse[len(worse) // 2]) if len(worse) else int(difference.argmax())
    labels = [f"{name}: error {float(error[chosen]):.1f}" for name, error in zip(folders, errors, strict=True)]
    images = [real[chosen], reconstructed[0][chosen], reconstructed[1][chosen]]
    grids = [_grid(image[None], 1, scale=6) for image in images]
    return list(zip(["real", *labels], grids, strict=True))


def curvature_figure(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:
    """Draw figure 6: squared L2 error and KL along training, and FID against curvature.

    Below the plots are a digit on which log-cosh has the larger squared error, and for each loss the reconstructions
    of one digit at every curvature.
    """
    by_loss = curvature_rows(results)
    folders = {LOSS_NAMES[loss]: row.run_in(run_root) for loss, row in paper_pair(results).items()}
    figure, axes = plot(13.0, 3.8, (1, 1, 1.3))
    run_folders = {name: RunFolder(path) for name, path in folders.items()}
    _plot_training(axes[0], run_folders, "squared_l2", "(a) squared L2 test error")
    _plot_training(axes[1], run_folders, "kl", "(b) KL divergence on the test split")
    _plot_fid(axes[2], by_loss)
    digit = _test_threes(folders["squared L2"], data_root)[:1]
    strips: list[list[Panel]] = []
    for loss, members in by_loss.items():
        images = torch.cat([digit, *[reconstruct(load(row.run_in(run_root)), digit) for row in members]])
        points = ", ".join(f"{curvature(row):g}" for row in members)
        title = f"{LOSS_NAMES[loss]}: real, then reconstructed at curvature {points}"
        strips.append([(title, _grid(images, len(images), scale=4, gap=2))])
    return compose([[("", figure_image(figure))], _larger_error_panels(folders, data_root), *strips])
