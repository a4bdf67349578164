"""Random text that covers an exact fraction of an image (paper, Appendix D).

Drawing text is slow compared to a training step, so `draw_text_canvas` draws it once, on large canvases. Each string is
drawn *under* the strings before it. Therefore the first strings that cover a given fraction of a crop look as if no
others had been drawn, and one canvas serves every fraction. In a training step `render_text` keeps the strings that are
needed and chooses their colours.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..base.extras import require

CHARACTERS = string.ascii_letters + string.digits + "    .,:!?&-"

MAX_COVERAGE = 0.65
"""Fraction of a canvas that is covered: enough that nearly every crop has the coverage that is asked for."""

SMOOTHING = 3
"""Factor by which invented signs are drawn larger, and then reduced."""

_ORDER_SHIFT, _BEHIND_SHIFT, _STRING_SHIFT = 32, 31, 8
"""A canvas pixel is an int64 with four fields: drawing order from bit 32, whether the pixel belongs to an outline or a
shadow in bit 31, number of the string from bit 8, opacity in bits 0 to 7."""

TextCanvas = NDArray[np.int64]
"""`(H, W)` or `(N, H, W)`; `draw_text_canvas` describes the values."""


@dataclass(frozen=True)
class TextStyle:
    """How strings are drawn. All fractions are probabilities per string.

    Attributes:
        font_sizes: smallest and largest font size in pixels; sizes are drawn log-uniformly.
        outlined: fraction with an outline in another colour, as subtitles have.
        shadowed: fraction with a shadow in another colour.
        transparent: fraction with partial transparency, as watermarks have.
        common_colours: fraction of the strings, outlines and shadows with a colour of `COMMON_COLOURS`; the others have
            a random colour.
        several_fonts: draw a font of `FONTS` for each string instead of Pillow's default font.
        invented: fraction that consists of random strokes instead of letters, in place of all the scripts that no font
            here has.
    """

    font_sizes: tuple[int, int] = (10, 40)
    outlined: float = 0.0
    shadowed: float = 0.0
    transparent: float = 0.0
    common_colours: float = 0.0
    several_fonts: bool = False
    invented: float = 0.0


PLAIN = TextStyle()
"""The text of the paper, used for evaluation."""

TRAINING = TextStyle(outlined=0.15)
"""The text of the paper with some outlines, used for training."""

CAPTIONS = TextStyle((8, 48), outlined=0.35, shadowed=0.15, transparent=0.2, common_colours=0.5, several_fonts=True)
"""Text as it is found on photographs."""

ANY_SCRIPT = replace(CAPTIONS, font_sizes=(8, 72), invented=0.35)
"""Text as it is found on photographs, in any script."""

COMMON_COLOURS = (
    (0xFFFFFF, 0xFFFFFF, 0xFFFFFF, 0xFFFFFF, 0x00FFFF, 0x00FFFF, 0x0000FF, 0x000000),
    (0x000000, 0x000000, 0x000000, 0x000000, 0x000000, 0x000000, 0x000000, 0xFFFFFF),
)
"""Common colours of strings, and of outlines and shadows, as 0xBBGGRR. Most strings are bright with a dark outline:
with many black strings, a network learned to treat everything black as text."""

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "STIXGeneralBol", "cmss10")
"""Fonts that matplotlib contains."""


@cache
def _font(size: int, name: str | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font of `FONTS`, or Pillow's default; cached because Pillow decodes its default font at every call."""
    if name is None:
        return ImageFont.load_default(size)
    require("rendering text", "matplotlib")
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


_Painter = Callable[[tuple[int, int], tuple[float, float], int], Image.Image]
"""Returns the opacity of a string on a layer of some width and height, with its origin at some x and y, and each of its
strokes widened by some pixels on both sides."""

_Bounds = tuple[float, float, float, float]
"""Left, top, right and bottom of a string in pixels from its origin."""


def _string(rng: np.random.Generator, size: int, style: TextStyle) -> tuple[_Bounds, _Painter]:
    """Draw a random string in a random font of the style."""
    font = _font(size, [*FONTS, None][int(rng.integers(len(FONTS) + 1))] if style.several_fonts else None)
    text = "".join(rng.choice(list(CHARACTERS), int(rng.integers(3, 16))))

    def paint(extent: tuple[int, int], origin: tuple[float, float], widened: int) -> Image.Image:
        layer = Image.new("L", extent)
        ImageDraw.Draw(layer).text(origin, text, 255, font=font, stroke_width=widened)
        return layer

    return font.getbbox(text), paint


def _invented_string(rng: np.random.Generator, size: int) -> tuple[_Bounds, _Painter]:
    """Draw signs that no script has: a few strokes each, most of them straight, some curved or a dot."""
    width = max(1, round(size * rng.uniform(0.04, 0.16)))
    straight, crowded = rng.random(), int(rng.integers(2, 10))
    strokes: list[list[tuple[float, float]]] = []
    count = int(rng.integers(2, 9))
    for sign in range(count):
        for _ in range(int(rng.integers(1, crowded + 1))):
            if rng.random() < straight:  # across, down or oblique
                length, place = rng.uniform(0.15, 0.9), rng.uniform(0.05, 0.95, 2)
                angle = rng.choice([0.0, 0.0, 0.5, 0.5, 0.33, 0.67]) * math.pi + rng.normal(0.0, 0.05)
                step = 0.5 * length * np.array([math.cos(angle), math.sin(angle)])
                points = [place - step, place + step]
            else:
                centre, radius = rng.uniform(0.15, 0.85, 2), rng.uniform(0.05, 0.45, 2)
                angles = rng.uniform(0.0, 2.0 * math.pi) + np.linspace(0.0, rng.uniform(0.5, 6.0), 9)
                points = list(centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))
            strokes.append([(size * (sign + x), size * y) for x, y in np.clip(points, -0.05, 1.05)])

    def paint(extent: tuple[int, int], origin: tuple[float, float], widened: int) -> Image.Image:
        fine = Image.new("L", (SMOOTHING * extent[0], SMOOTHING * extent[1]))  # Pillow's lines have hard edges
        draw, across = ImageDraw.Draw(fine), SMOOTHING * (width + 2 * widened)
        for stroke in strokes:
            points = [(SMOOTHING * (origin[0] + x), SMOOTHING * (origin[1] + y)) for x, y in stroke]
            draw.line(points, 255, across, joint="curve")
            for x, y in (points[0], points[-1]):  # round ends
                draw.ellipse((x - across / 2, y - across / 2, x + across / 2, y + across / 2), 255)
        return fine.reduce(SMOOTHING)

    margin = 0.05 * size + width
    return (-margin, -margin, count * size + margin, size + margin), paint


def _draw_layers(rng: np.random.Generator, style: TextStyle) -> list[Image.Image]:
    """Draw one random string: its opacity, then that of its outline and of its shadow if it has them; equal sizes."""
    smallest, largest = style.font_sizes
    size = round(math.exp(rng.uniform(math.log(smallest), math.log(largest))))
    if style.invented and rng.random() < style.invented:
        (left, top, right, bottom), paint = _invented_string(rng, size)
    else:
        (left, top, right, bottom), paint = _string(rng, size, style)
    strokes = [int(rng.integers(0, max(1, size // 14) + 1))]
    if rng.random() < style.outlined:
        strokes.append(strokes[0] + int(rng.integers(1, max(1, size // 12) + 1)))
    shift = 0
    if style.shadowed and rng.random() < style.shadowed:
        shift = int(rng.integers(1, max(1, size // 8) + 1))
    margin = strokes[-1]
    left, top, right, bottom = left - margin, top - margin, right + margin, bottom + margin

    def draw(stroke: int, offset: int) -> Image.Image:
        extent = (int(right - left) + 2 + shift, int(bottom - top) + 2 + shift)
        return paint(extent, (1 - left + offset, 1 - top + offset), stroke)

    layers = [draw(stroke, 0) for stroke in strokes]
    if shift:
        layers.append(draw(strokes[-1], shift).filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 1.5))))
    return layers


def _draw_string(rng: np.random.Generator, style: TextStyle) -> list[NDArray[np.uint8]]:
    """Draw one random string with a random slant and angle: the opacity `(h, w)` of each of its layers."""
    layers = _draw_layers(rng, style)
    slant = rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else 0.0
    angle = rng.uniform(-30.0, 30.0) if rng.random() < 0.5 else 0.0
    opacities = []
    for upright in layers:
        layer = upright
        if slant:
            layer = layer.transform(
                (layer.width + math.ceil(abs(slant) * layer.height), layer.height),
                Image.Transform.AFFINE,
                (1.0, slant, -max(0.0, slant) * layer.height, 0.0, 1.0, 0.0),
                Image.Resampling.BILINEAR,
            )
        if angle:
            layer = layer.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        opacities.append(np.asarray(layer))
    if len(opacities) > 1:  # a soft edge would show the image between the string and its outline
        opacities[0] = np.where(opacities[0] >= 128, np.uint8(255), np.uint8(0))
    return opacities


def draw_text_canvas(height: int, width: int, rng: np.random.Generator, style: TextStyle = PLAIN) -> TextCanvas:
    """Draw random strings at random positions, each under those before it, until `MAX_COVERAGE` is reached.

    A pixel counts as covered if the opacity of the text, without its partial transparency, is at least one half.

    Returns:
        `(height, width)`, int64: the packed values that `render_text` takes, or crops of it.
    """
    opacity = np.zeros((height, width), np.uint8)
    shown = np.zeros((height, width), np.uint8)  # the opacity times that of partially transparent strings
    strings = np.zeros((height, width), np.int64)
    behind = np.zeros((height, width), np.int64)
    drawn, covered, empty = 0, 0, opacity.size
    while covered < MAX_COVERAGE * opacity.size:
        # on a small canvas soft edges may fill the remaining pixels; then solid text replaces them, or drawing would
        # never end
        threshold = 1 if empty > 0.05 * opacity.size else 128
        layers = _draw_string(rng, style)
        alpha = rng.uniform(0.3, 0.9) if style.transparent and rng.random() < style.transparent else 1.0
        extent = layers[0].shape
        # strings may begin outside the canvas, so that its margins are covered as densely as its middle
        top, left = (int(rng.integers(1 - part, whole)) for part, whole in zip(extent, opacity.shape, strict=True))
        rows = slice(max(0, top), min(height, top + extent[0]))
        columns = slice(max(0, left), min(width, left + extent[1]))
        for index, layer in enumerate(layers):
            visible = layer[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            free = (opacity[rows, columns] < threshold) & (visible >= threshold)
            covered += int((visible[free] >= 128).sum())
            empty -= int((opacity[rows, columns][free] == 0).sum())
            opacity[rows, columns][free] = visible[free]
            shown[rows, columns][free] = visible[free] * alpha
            strings[rows, columns][free] = drawn
            behind[rows, columns][free] = index > 0
            drawn += 1
    # pixels are ordered by string and from left to right within one, so that the coverage can end within a string
    x = np.broadcast_to(np.arange(width), strings.shape)
    order = np.empty(height * width, np.int64)
    order[np.lexsort((x.ravel(), strings.ravel()))] = np.arange(height * width)
    packed = (order.reshape(height, width) << _ORDER_SHIFT) | (behind << _BEHIND_SHIFT) | (strings << _STRING_SHIFT)
    return packed | shown


def render_text(
    crops: TextCanvas, coverage: NDArray[np.floating], rng: np.random.Generator, common_colours: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keep the strings drawn first, until each crop has its coverage, and give them random colours.

    Args:
        crops: `(N, H, W)`, crops of text canvases.
        coverage: `(N,)` in [0, 1], fraction of the pixels with an opacity of at least one half; met to within a pixel
            if the crop has enough text.
        rng: draws the colours.
        common_colours: fraction of the strings with a colour of `COMMON_COLOURS`, see `TextStyle`.

    Returns:
        The opacity `(N, 1, H, W)` and the colour `(N, 3, H, W)`, in [0, 1].
    """
    count, height, width = crops.shape
    opacity = (crops & 0xFF).astype(np.uint8)
    order = (crops >> _ORDER_SHIFT).astype(np.int32)
    covered_order = np.where(opacity >= 128, order, np.iinfo(np.int32).max).reshape(count, -1)
    # the limit is the order of the first covered pixel that is left out; of none if the crop has too little text
    ranks = np.rint(coverage * height * width).astype(np.int64).clip(0, height * width - 1)
    limits = np.array([np.partition(row, rank)[rank] for row, rank in zip(covered_order, ranks, strict=True)], np.int32)
    shown = np.where(order < limits.reshape(count, 1, 1), opacity, 0).astype(np.float32)[:, None] / 255.0
    numbers = ((crops >> _STRING_SHIFT) & 0x7FFFFF).astype(np.int32)
    strings = int(numbers.max()) + 1
    numbers += strings * np.arange(count, dtype=np.int32).reshape(count, 1, 1)
    palette = rng.integers(0, 2**24, count * strings, dtype=np.uint32)
    if common_colours:
        common = rng.random(palette.size) < common_colours
        palettes = [
            np.where(common, rng.choice(np.array(colours, np.uint32), common.size), palette)
            for colours in COMMON_COLOURS
        ]
        palette = np.concatenate(palettes)
        numbers += common.size * ((crops >> _BEHIND_SHIFT) & 1).astype(np.int32)
    packed = palette.take(numbers)
    colour = packed.view(np.uint8).reshape(count, height, width, 4)[..., :3].transpose(0, 3, 1, 2)
    return shown, np.divide(colour, 255.0, dtype=np.float32)
