"""Writing the page: its data, the choice of the rounding that fits, and the one HTML file."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from torch import Tensor

from ..base.errors import ConfigError
from ..base.files import write_bytes
from ..base.own_outputs import mark
from ..base.text import counted, visible
from ..data.batches import to_unit
from ..reporting.html import COLOURS
from .layers import ExportError, Layer
from .packing import pack, smallest_step, to_text
from .precision import Rounding, RoundingCheck, StepChooser, as_saved, round_networks, row_steps
from .runs import ExplorerRun, ShownImages, data_name

FORMAT = 2
"""Version of the data in the page; `web/codec.js` reads it."""

LIMIT_MB = 5.0
"""Default limit of the size of a page, in millions of bytes."""

TOLERANCES = (2.5e-4, 4e-4, 6e-4, 8e-4)
"""Differences of a pixel of the check images to the model that are tried until the page fits, in [0, 1]. The promise,
0.001, is larger because other images and codes may differ a little more."""

BYTES_PER_WEIGHT = 1.8
"""About how many bytes of the page a weight takes."""

WEB = Path(__file__).parent / "web"
SCRIPTS = (
    *("codec.js", "engines.js", "simd.js", "network.js", "codes.js", "pixels.js"),  # without a browser's interface
    *("schedule.js", "state.js", "canvas.js", "map.js", "sliders.js", "samples.js", "interpolation.js"),
    *("drawing.js", "strip.js", "main.js"),
)
"""JavaScript files in the order in which the page holds them."""

KIND = "explorer-page"
"""Kind of the file's mark, see `base.own_outputs`."""


@dataclass(frozen=True)
class WrittenPage:
    """A page that was written.

    Attributes:
        path: the file.
        size: number of bytes.
        difference: largest difference of a pixel of the check images to the models, in [0, 1].
    """

    path: Path
    size: int
    difference: float


def _layer_json(layer: Layer, step: float | Tensor) -> dict[str, Any]:
    steps = {"rowStep": smallest_step(step)} if isinstance(step, Tensor) else {"weightStep": step}
    return {
        "kind": layer.kind,
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "activation": layer.activation,
        "biasStep": smallest_step(layer.bias),
        **steps,
    }


def _run_json(run: ExplorerRun, rounding: Rounding) -> dict[str, Any]:
    """Return a run as the page holds it."""
    layers = rounding.networks.layers
    arrays: list[tuple[Tensor, float | Tensor]] = []
    for layer, step in zip(layers, rounding.steps, strict=True):
        if isinstance(step, Tensor):
            arrays.append((step, smallest_step(step)))
        arrays += [(layer.weight, step), (layer.bias, smallest_step(layer.bias))]
    density: dict[str, Any] | None = None
    if run.density is not None:
        parts = {name: getattr(run.density, name) for name in ("weights", "means", "factors")}
        steps = {name: smallest_step(part) for name, part in parts.items()}
        arrays += [(part, steps[name]) for name, part in parts.items()]
        density = {"name": run.prior, "components": run.density.components, "steps": steps}
    described = [_layer_json(layer, step) for layer, step in zip(layers, rounding.steps, strict=True)]
    count = len(run.networks.encoder)
    return {
        "label": visible(run.label),
        "detail": visible(run.detail),
        "latent": run.latent_size,
        "deviations": [round(value, 4) for value in run.deviations],
        "encoder": described[:count],
        "decoder": described[count:],
        "density": density,
        "difference": rounding.difference,
        "numbers": pack(arrays),
    }


def _notice(shown: ShownImages) -> str:
    count = len(shown.images)
    if not count:
        return "This page contains no images of a data set."
    text = f"This page contains {counted(count, 'test image')} of {data_name(shown.data)}."
    if shown.data == "celeba":
        text += (
            " The terms of CelebA do not allow publishing its images: keep this page to yourself, or make one without"
            " them by adding --images 0."
        )
    return text


def _render(title: str, data: dict[str, Any]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = environment.get_template("page.html.jinja").render(
        title=title,
        mark=mark(KIND).decode("ascii"),
        style=(WEB / "style.css").read_text(encoding="utf-8"),
        script="".join((WEB / name).read_text(encoding="utf-8") for name in SCRIPTS),
        data=text,
    )
    return page.encode("utf-8")


def check_shapes(runs: Sequence[ExplorerRun]) -> None:
    """Check that a page can show the runs side by side.

    Raises:
        ExportError: there are too many of them, or their images have different shapes.
    """
    if not 1 <= len(runs) <= len(COLOURS):
        raise ExportError(f"a page shows 1 to {len(COLOURS)} runs; got {len(runs)}")
    for run in runs:
        if run.image_shape != runs[0].image_shape:
            raise ExportError(
                f"the runs have images of different shapes, {runs[0].image_shape} and {run.image_shape}: make one page "
                "for each shape"
            )


def _page_data(runs: Sequence[ExplorerRun], shown: ShownImages) -> dict[str, Any]:
    """Return what the page holds besides its runs."""
    return {
        "format": FORMAT,
        "image": runs[0].image_shape,
        "radius": max(run.radius for run in runs),
        "centre": runs[0].data == "mnist" and runs[0].image_shape[0] == 1,
        "notice": _notice(shown),
        "images": {
            "count": len(shown.images),
            "labels": shown.labels,
            "pixels": to_text(zlib.compress(shown.images.contiguous().numpy().tobytes(), 9)),
        },
        "colours": COLOURS[: len(runs)],
    }


def build(
    runs: Sequence[ExplorerRun],
    shown: ShownImages,
    target: Path,
    *,
    checked: Tensor | None = None,
    title: str | None = None,
    limit_mb: float = LIMIT_MB,
) -> WrittenPage:
    """Write the page, with the finest rounding of the weights with which it fits the limit.

    Args:
        runs: at least one; see `check_shapes`.
        shown: test images to put on the page, possibly none.
        target: file to write.
        checked: `(N, C, H, W)`, uint8, images whose reconstructions must survive the rounding; by default `shown`.
        title: heading; by default it names the data set of the first run.
        limit_mb: limit of the size, in millions of bytes.

    Raises:
        ExportError: the runs cannot be shown side by side.
        ConfigError: the page would be larger than the limit even with the coarsest rounding.
    """
    check_shapes(runs)
    title = title or f"Latent space of {data_name(runs[0].data)}"
    data = _page_data(runs, shown)
    _check_least_size(runs, len(data["images"]["pixels"]) / 1e6, limit_mb)
    images = to_unit(shown.images if checked is None else checked)
    checks = [RoundingCheck(run.networks, images, data["radius"]) for run in runs]
    rounders = [_rounder(run, check) for run, check in zip(runs, checks, strict=True)]
    content = b""
    for tolerance in TOLERANCES:
        roundings = [rounder(tolerance) for rounder in rounders]
        written = [_run_json(run, rounding) for run, rounding in zip(runs, roundings, strict=True)]
        content = _render(title, data | {"runs": written})
        if len(content) <= limit_mb * 1e6:
            write_bytes(target, content)
            return WrittenPage(target, len(content), max(rounding.difference for rounding in roundings))
    raise ConfigError(_too_large(len(runs), "", len(content) / 1e6, limit_mb))


def _rounder(run: ExplorerRun, check: RoundingCheck) -> Callable[[float], Rounding]:
    """Return a function that rounds the networks of a run so that no pixel changes by more than a tolerance."""
    saved = as_saved(run.networks, check, TOLERANCES[0])
    if saved is not None:
        return lambda _: saved
    chooser = StepChooser(run.networks, check)
    return lambda tolerance: round_networks(run.networks, check, chooser.steps_within(tolerance))


def _check_least_size(runs: Sequence[ExplorerRun], images_mb: float, limit_mb: float) -> None:
    """Check, before anything is computed, that the page is not certainly too large.

    Raises:
        ConfigError: it is.
    """
    if images_mb > 0.5 * limit_mb:
        raise ConfigError(
            f"the test images take {images_mb:.1f} MB of a page, which must not be larger than {limit_mb:g} MB; put "
            "fewer on it with --images, or raise the limit with --max-mb"
        )
    floats = (layer for run in runs for layer in run.networks.layers if row_steps(layer.weight) is None)
    count = sum(layer.weight.numel() for layer in floats)
    if count > limit_mb * 1e6:  # a weight takes more than one byte, unless it was saved with 8 bits
        raise ConfigError(_too_large(len(runs), "about ", BYTES_PER_WEIGHT * count / 1e6, limit_mb))


def _too_large(count: int, about: str, size_mb: float, limit_mb: float) -> str:
    fewer = "explore fewer runs, " if count > 1 else ""
    return (
        f"a page with {counted(count, 'run')} would take {about}{math.ceil(10 * size_mb) / 10:g} MB, more than the "
        f"limit of {limit_mb:g} MB; {fewer}train smaller networks (--set model.hidden=[200,200], or model.width=0.125 "
        f"for conv), or raise the limit with --max-mb {math.ceil(1.1 * size_mb)}"
    )
