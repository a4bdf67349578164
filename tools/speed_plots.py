"""Plots for docs/speed.md: the time of a step relative to its limit, and of each loss over the tensor size.

`tools/update_docs.py` calls these functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from logcosh_vae.bench.records import BenchResults
from logcosh_vae.paper.drawing import figure_image, plot
from logcosh_vae.reporting.html import COLOURS

GREY = "#bbbbbb"
OURS = "logcosh-vae"


def steps(results: Sequence[BenchResults]) -> Image.Image:
    """Draw the time of a training step relative to the products alone, as bars with quartiles.

    There is one panel per network and number of threads.

    Args:
        results: results of `bench step` with different numbers of threads.
    """
    panels = [(each, row) for each in results for row in each.rows]
    figure, axes = plot(10.0, 2.9, [1] * len(panels))
    for each, (result, row) in zip(axes, panels, strict=True):
        names = [name for name in row.seconds if name in row.ratio]
        ratios = [row.ratio[name] for name in names]
        places = range(len(names))
        each.bar(
            places,
            [ratio.median for ratio in ratios],
            width=0.62,
            color=[COLOURS[0] if name.startswith(OURS) else GREY for name in names],
            yerr=[
                [ratio.median - ratio.low for ratio in ratios],
                [ratio.high - ratio.median for ratio in ratios],
            ],
            ecolor="#555555",
        )
        for place, ratio in zip(places, ratios, strict=True):
            each.text(place, 0.08, f"{ratio.median:.2f}", ha="center", color="white", fontsize=9)
        each.axhline(1.0, color="#555555", linewidth=1.0, linestyle="--")
        shown = [name.replace("plain PyTorch loop", "plain loop").replace(f"{OURS}, ", "ours, ") for name in names]
        each.set_xticks(places, [name.replace(" ", "\n", 1) for name in shown], fontsize=7.5)
        each.set_ylim(0, 1.1 * max(ratio.high for _, row in panels for ratio in row.ratio.values()))
        model = row.what.split(",")[0].removesuffix(")") + ")"
        threads = f"{result.threads} thread{'s' * (result.threads > 1)}"
        each.set_title(f"{model}, {threads}", fontsize=9)
        each.grid(visible=False, axis="x")
    axes[0].set_ylabel("times the products alone", fontsize=9)
    return figure_image(figure)


def losses(results: BenchResults) -> Image.Image:
    """Draw the time of each loss, forward and backward, relative to `mse_loss`, over the tensor size."""
    figure, (axes,) = plot(8.0, 3.6, (1,))
    names = list(results.rows[0].ratio)
    ours = [name for name in names if name.split(",")[0] in ("log_cosh", "LogCoshLoss")]
    sizes = [row.more["elements"] for row in results.rows]
    others = [name for name in names if name not in ours]
    colours = dict(zip([*ours, *others], [*[COLOURS[0]] * len(ours), *COLOURS[1:]], strict=False))
    styles = {"log_cosh": "-", "LogCoshLoss": ":"}
    for name in names:
        ratios = [row.ratio[name] for row in results.rows]
        style = "--" if name.endswith("gradient only") else styles.get(name, "-")
        width, colour = (2.4 if name in ours else 1.3), colours[name]
        axes.plot(sizes, [ratio.median for ratio in ratios], style, color=colour, linewidth=width, label=name)
        low, high = ([getattr(ratio, end) for ratio in ratios] for end in ("low", "high"))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(1.0, color="#555555", linewidth=1.0, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = (0.1, 0.25, 0.5, 1, 2, 4, 8)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("elements")
    axes.set_ylabel("times mse_loss, forward and backward")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure_image(figure)
