"""Plots of reports: training curves, and the KL divergence of each latent variable, as SVG on any background."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.extras import require
from ..training.run_folder import RunFolder

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of plots: the palette of Okabe and Ito, which is safe for colour blindness, on white and on black."""


@dataclass(frozen=True)
class Figure:
    """A picture in a report.

    Attributes:
        url: the picture as a data URL.
        caption: caption, also the alternative text.
    """

    url: str
    caption: str


def data_url(content: bytes, kind: str) -> str:
    """Encode `content` of MIME type `kind` as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _apply_style(axes: Any) -> None:
    """Make lines and text of a plot grey, so that they are legible on a light and on a dark page."""
    for spine in axes.spines.values():
        spine.set_color("#888888")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#888888", labelsize=9)
    axes.grid(visible=True, color="#888888", alpha=0.25, linewidth=0.6)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color("#888888")


def training_curves(runs: Sequence[tuple[str, RunFolder]], title: str) -> Figure:
    """Plot the squared L2 error and the latent divergence on the test split against the epoch, one line per run.

    Args:
        runs: label and folder of each run; all of the same model.
        title: caption of the figure.
    """
    require("plotting", "matplotlib")
    import matplotlib.figure

    records = [(label, folder.metrics()) for label, folder in runs]
    divergence = "kl" if "kl" in records[0][1][0]["validation"] else "mmd"
    figure = matplotlib.figure.Figure(figsize=(8.6, 3.3), layout="constrained")
    figure.patch.set_alpha(0.0)
    panels: Any = figure.subplots(1, 2)
    for axes, term, name in zip(
        panels,
        ("squared_l2", divergence),
        ("squared L2 test error", f"{divergence.upper()} on the test split"),
        strict=True,
    ):
        axes.patch.set_alpha(0.0)
        for index, (label, epochs) in enumerate(records):
            values = [record["validation"][term] for record in epochs]
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(range(1, len(values) + 1), values, label=label, color=colour, linewidth=1.8)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(name, fontsize=10)
        _apply_style(axes)
    # below the plots: names of learned likelihoods are long, and would cover the lines
    legend = {"loc": "outside lower center", "ncols": 3, "frameon": False, "labelcolor": "#888888", "fontsize": 9}
    figure.legend(*panels[0].get_legend_handles_labels(), **legend)
    return Figure(_svg(figure), title)


def kl_bars(kl: Sequence[float], caption: str, top: float) -> Figure:
    """Plot the KL divergence of each latent variable as bars, the largest first.

    Args:
        kl: one value per latent variable, in nats.
        caption: caption of the figure.
        top: upper end of the axis, so that several runs have the same.
    """
    require("plotting", "matplotlib")
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(4.2, 2.0), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes: Any = figure.subplots()
    axes.patch.set_alpha(0.0)
    axes.bar(range(1, len(kl) + 1), sorted(kl, reverse=True), color=COLOURS[0], width=0.8)
    axes.set_ylim(0.0, 1.05 * top if top > 0 else 1.0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_axisbelow(True)
    axes.set_xlabel("latent variable, by its KL")
    axes.set_ylabel("KL, nats")
    _apply_style(axes)
    return Figure(_svg(figure), caption)


def _svg(figure: Any) -> str:
    """Return a matplotlib figure as a data URL; its bytes depend on its content only."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return data_url(content.getvalue(), "image/svg+xml")
