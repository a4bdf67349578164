"""Text drawn over images until it covers an exact share of them (paper, Appendix D).

Drawing is slow beside a training step, so text is drawn once, on sheets, and in a way that lets every sheet serve any
share: each string goes *under* those before it, so the first strings that cover a share of a window look as if only
they had been drawn. What is left for a step is to cut windows and to choose colours.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..base.extras import require

CHARACTERS = string.ascii_letters + string.digits + "    .,:!?&-"

DENSITY = 0.65
"""Sheets are covered to this share, so that nearly any window of them has the share that is asked for."""

_ORDER, _BEHIND, _STRING = 32, 31, 8
"""A sheet's pixel is one integer: its place in the order of drawing, whether it is of an outline or a shadow, the
number of its string, its opacity."""

Sheet = NDArray[np.int64]
"""`(H, W)`; see `draw_sheet`."""


@dataclass(frozen=True)
class Style:
    """How strings are drawn.

    Attributes:
        sizes: of fonts in pixels, smallest and largest; every ratio between is as likely as another.
        outlined: share of the strings with an outline in another colour, as subtitles have.
        shadowed: share with a shadow in another colour.
        transparent: share that lets the image shine through, as watermarks do.
        common: share of the strings, outlines and shadows in colours of `COMMON` instead of any.
        fonts: several fonts instead of one.
    """

    sizes: tuple[int, int] = (10, 40)
    outlined: float = 0.0
    shadowed: float = 0.0
    transparent: float = 0.0
    common: float = 0.0
    fonts: bool = False


PLAIN = Style()
"""The paper's text; what is measured on."""

TRAINING = Style(outlined=0.15)
"""The same, and some subtitles."""

CAPTIONS = Style((8, 48), outlined=0.35, shadowed=0.15, transparent=0.2, common=0.5, fonts=True)
"""Text as it is found on people's pictures."""

COMMON = (
    (0xFFFFFF, 0xFFFFFF, 0xFFFFFF, 0xFFFFFF, 0x00FFFF, 0x00FFFF, 0x0000FF, 0x000000),
    (0x000000, 0x000000, 0x000000, 0x000000, 0x000000, 0x000000, 0x000000, 0xFFFFFF),
)
"""Colours of strings, and of outlines and shadows, red in the lowest byte. Most strings are bright on dark outlines:
where many were black, a network took all that is black for text."""

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "STIXGeneralBol", "cmss10")
"""Those that come with matplotlib."""


@cache
def _font(size: int, name: str | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One of `FONTS`, else Pillow's own, which is unpacked anew each time it is asked for."""
    if name is None:
        return ImageFont.load_default(size)
    require("rendering text", "matplotlib")
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


def _layers(rng: np.random.Generator, style: Style) -> list[Image.Image]:
    """The opacity of one random string, then of its outline and its shadow if it has them, upright and of one size."""
    smallest, largest = style.sizes
    size = round(math.exp(rng.uniform(math.log(smallest), math.log(largest))))
    font = _font(size, [*FONTS, None][int(rng.integers(len(FONTS) + 1))] if style.fonts else None)
    text = "".join(rng.choice(list(CHARACTERS), int(rng.integers(3, 16))))
    strokes = [int(rng.integers(0, max(1, size // 14) + 1))]
    if rng.random() < style.outlined:
        strokes.append(strokes[0] + int(rng.integers(1, max(1, size // 12) + 1)))
    shift = 0
    if style.shadowed and rng.random() < style.shadowed:
        shift = int(rng.integers(1, max(1, size // 8) + 1))
    left, top, right, bottom = font.getbbox(text, stroke_width=strokes[-1])

    def drawn(stroke: int, offset: int) -> Image.Image:
        picture = Image.new("L", (int(right - left) + 2 + shift, int(bottom - top) + 2 + shift))
        place = (1 - left + offset, 1 - top + offset)
        ImageDraw.Draw(picture).text(place, text, 255, font=font, stroke_width=stroke)
        return picture

    layers = [drawn(stroke, 0) for stroke in strokes]
    if shift:
        layers.append(drawn(strokes[-1], shift).filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 1.5))))
    return layers


def _stamp(rng: np.random.Generator, style: Style) -> list[NDArray[np.uint8]]:
    """The opacity `(h, w)` of one random string and of what lies behind it: size, stroke, slant and angle vary."""
    layers = _layers(rng, style)
    slant = rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else 0.0
    angle = rng.uniform(-30.0, 30.0) if rng.random() < 0.5 else 0.0
    stamps = []
    for layer in layers:
        picture = layer
        if slant:
            picture = picture.transform(
                (picture.width + math.ceil(abs(slant) * picture.height), picture.height),
                Image.Transform.AFFINE,
                (1.0, slant, -max(0.0, slant) * picture.height, 0.0, 1.0, 0.0),
                Image.Resampling.BILINEAR,
            )
        if angle:
            picture = picture.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        stamps.append(np.asarray(picture))
    if len(stamps) > 1:  # where a string meets what lies behind it, nothing of the image shines through
        stamps[0] = np.where(stamps[0] >= 128, np.uint8(255), np.uint8(0))
    return stamps


def draw_sheet(height: int, width: int, rng: np.random.Generator, style: Style = PLAIN) -> Sheet:
    """Random strings at random places, each under those before it, until `DENSITY` of the sheet is covered.

    A pixel is covered where the text is at least half opaque, or would be if the image did not shine through.

    Returns:
        `(height, width)`, int64, for `cut`.
    """
    opacity = np.zeros((height, width), np.uint8)
    shown = np.zeros((height, width), np.uint8)  # the same but for strings that the image shines through
    strings = np.zeros((height, width), np.int64)
    behind = np.zeros((height, width), np.int64)
    drawn, covered, empty = 0, 0, opacity.size
    while covered < DENSITY * opacity.size:
        # faint edges may fill what is left of a small sheet: then they give way
        faint = 1 if empty > 0.05 * opacity.size else 128
        stamps = _stamp(rng, style)
        through = rng.uniform(0.3, 0.9) if style.transparent and rng.random() < style.transparent else 1.0
        extent = stamps[0].shape
        # strings may begin outside, so that the margins are covered as the middle is
        top, left = (int(rng.integers(1 - part, whole)) for part, whole in zip(extent, opacity.shape, strict=True))
        rows = slice(max(0, top), min(height, top + extent[0]))
        columns = slice(max(0, left), min(width, left + extent[1]))
        for layer, stamp in enumerate(stamps):
            seen = stamp[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            free = (opacity[rows, columns] < faint) & (seen >= faint)
            covered += int((seen[free] >= 128).sum())
            empty -= int((opacity[rows, columns][free] == 0).sum())
            opacity[rows, columns][free] = seen[free]
            shown[rows, columns][free] = seen[free] * through
            strings[rows, columns][free] = drawn
            behind[rows, columns][free] = layer > 0
            drawn += 1
    # string by string, each from left to right, so that a window that is covered enough ends within a string
    across = np.broadcast_to(np.arange(width), strings.shape)
    order = np.empty(height * width, np.int64)
    order[np.lexsort((across.ravel(), strings.ravel()))] = np.arange(height * width)
    return (order.reshape(height, width) << _ORDER) | (behind << _BEHIND) | (strings << _STRING) | shown


def cut(
    windows: Sheet, shares: NDArray[np.floating], rng: np.random.Generator, common: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Text over windows of sheets, each covered to its share by the strings that were drawn first, in random colours.

    Args:
        windows: `(N, H, W)`, parts of sheets.
        shares: `(N,)`, of the pixels at least half covered, in [0, 1]; met to a pixel where the window has as much.
        rng: draws the colours.
        common: share of the strings in colours of `COMMON`, see `Style`.

    Returns:
        Opacity `(N, 1, H, W)` and colour `(N, 3, H, W)`, in [0, 1].
    """
    count, height, width = windows.shape
    opacity = (windows & 0xFF).astype(np.uint8)
    order = (windows >> _ORDER).astype(np.int32)
    counted = np.where(opacity >= 128, order, np.iinfo(np.int32).max).reshape(count, -1)
    # the share's last pixel is the first that is left out; one more than the last where all are kept
    places = np.rint(shares * height * width).astype(np.int64).clip(0, height * width - 1)
    limits = np.array([np.partition(row, place)[place] for row, place in zip(counted, places, strict=True)], np.int32)
    shown = np.where(order < limits.reshape(count, 1, 1), opacity, 0).astype(np.float32)[:, None] / 255.0
    numbers = ((windows >> _STRING) & 0x7FFFFF).astype(np.int32)
    strings = int(numbers.max()) + 1
    numbers += strings * np.arange(count, dtype=np.int32).reshape(count, 1, 1)
    palette = rng.integers(0, 2**24, count * strings, dtype=np.uint32)
    if common:
        usual = rng.random(palette.size) < common
        palettes = [np.where(usual, rng.choice(np.array(kind, np.uint32), usual.size), palette) for kind in COMMON]
        palette = np.concatenate(palettes)
        numbers += usual.size * ((windows >> _BEHIND) & 1).astype(np.int32)
    packed = palette.take(numbers)
    colour = packed.view(np.uint8).reshape(count, height, width, 4)[..., :3].transpose(0, 3, 1, 2)
    return shown, np.divide(colour, 255.0, dtype=np.float32)
