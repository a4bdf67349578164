"""The figure of a study of learned likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..experiments.results import ExperimentResults, RowResult
from ..reporting.html import COLOURS
from ..reporting.tables import LOSS_NAMES
from .drawing import figure_image, plot, use_log_scale
from .likelihood_rows import has_options, is_learned, learned_part, number, setting_text

LINE_COLOURS = dict(zip(("l2", "l1", "log-cosh"), COLOURS, strict=False))


def draw(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Draw FID and the bound on the negative log-likelihood against the KL divergence, and FID against the weight.

    The last panel is the half that figure 6c of the paper leaves out, log-cosh over its weight.
    """
    figure, axes = plot(14.0, 4.8, (1, 1, 1))
    _draw_against_kl(axes[0], results, "fid_mixture")
    _draw_against_kl(axes[1], results, "elbo_per_dimension")
    _draw_against_weight(axes[2], results)
    titles = ("FID, mixture fitted to the codes", "negative ELBO per pixel, nats", "FID, samples from the prior")
    for each, title in zip(axes, titles, strict=True):
        each.set_title(title, fontsize=10)
    use_log_scale(axes[0], "y")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure_image(figure)


def _lines(results: ExperimentResults) -> list[tuple[list[RowResult], dict[str, Any]]]:
    """Return the rows of each grid in the order of their weights, with the style of their line."""
    lines: dict[tuple[str, float | None], list[RowResult]] = {}
    for row in results.rows:
        if not is_learned(row):
            lines.setdefault((row.loss, row.a), []).append(row)
    styled = []
    for (loss, a), rows in lines.items():
        name = LOSS_NAMES[loss] + ("" if a is None else f", a = {a:g}")
        label = f"{name}, weights {rows[0].weight:g} to {rows[-1].weight:g}"
        style = {"color": LINE_COLOURS[loss], "linestyle": "-" if a in (None, 100.0) else "--", "label": label}
        styled.append((sorted(rows, key=lambda row: row.weight), {**style, "marker": "o", "markersize": 4}))
    return styled


def _draw_against_kl(axes: Any, results: ExperimentResults, name: str) -> None:
    """Draw one number against the KL divergence: a line over the weights of each grid, symbols for what is learned."""
    for rows, style in _lines(results):
        axes.plot(*_points(rows, name), linewidth=1.4, **style)
    markers = iter("XDvs")
    for row in filter(is_learned, results.rows):
        marker = next(markers) if has_options(row) else "*" if learned_part(row) == "scale" else "P"
        label = f"{LOSS_NAMES[row.loss]}, {setting_text(row)}"
        style = {"color": LINE_COLOURS[row.loss], "markersize": 9, "markeredgecolor": "black", "label": label}
        axes.plot(*_points([row], name), marker=marker, linestyle="none", **style)
    axes.set_xlabel("KL divergence on test images, nats")


def _draw_against_weight(axes: Any, results: ExperimentResults) -> None:
    """Draw the FID of samples from the prior against the weight."""
    for rows, style in _lines(results):
        axes.plot([row.weight for row in rows], [row.metrics["fid"].mean for row in rows], linewidth=1.4, **style)
    use_log_scale(axes, "x")
    axes.set_xlabel("weight of the reconstruction loss")


def _points(rows: Sequence[RowResult], name: str) -> tuple[list[float], list[float]]:
    pairs = [(number(row, "kl"), number(row, name)) for row in rows]
    known = [(kl.mean, value.mean) for kl, value in pairs if kl is not None and value is not None]
    return [kl for kl, _ in known], [value for _, value in known]
