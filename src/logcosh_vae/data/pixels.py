"""Conversion of decoded pixels of any kind to 8 bits per channel, transparent ones composited on white."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image

BACKGROUND = 255
"""Grey level on which transparent pixels are composited (white)."""

BAND_PIXELS = 1 << 20
"""Pixels are converted in bands of about this number, so that no further copies of a large image are made."""

MAX_SAMPLE_VALUE, PHOTOMETRIC, BITS_PER_SAMPLE = 281, 262, 258
"""TIFF tags."""


def _bands(source: Image.Image) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row, exclusive, of each band."""
    rows = max(1, BAND_PIXELS // source.width)
    for top in range(0, source.height, rows):
        yield top, min(source.height, top + rows)


def _white_level(source: Image.Image, low: int, high: int, notes: list[str]) -> int:
    """Return the pixel value of white in an image of integers, whose values lie between `low` and `high`.

    Raises:
        ValueError: the pixels have more than 16 bits.
    """
    if low < 0 or high > 65535:
        raise ValueError("its pixel values need more than 16 bits; save it with 8 or 16 bits per channel")
    tags = getattr(source, "tag_v2", {})
    bits, declared = tags.get(BITS_PER_SAMPLE, (16,))[0], tags.get(MAX_SAMPLE_VALUE)
    declared = declared[0] if isinstance(declared, tuple) and declared else declared
    if isinstance(declared, int) and max(high, 254) < declared < 65535:
        return declared
    if isinstance(declared, int) and high == declared >= 255:
        return declared
    if bits in range(9, 16):
        return int(2**bits - 1)
    if source.format == "TIFF" and source.mode == "I" and high <= 255:
        notes.append("32-bit pixel values of at most 255 are taken as 8 bits")
        return 255
    if 0 < high <= 4095:
        notes.append("16-bit pixel values of at most 4095 of 65535 are nearly black; scale them if they are 12 bits")
    return 65535


def _grey_of_integers(source: Image.Image, notes: list[str]) -> Image.Image:
    """Convert an image of 12, 16 or 32-bit integers to mode `L`, a transparent value to white."""
    from PIL import Image

    values = np.asarray(source)
    if not values.size:
        return source.convert("L")
    white = _white_level(source, int(values.min()), int(values.max()), notes)
    transparent = source.info.get("transparency")
    white_is_zero = getattr(source, "tag_v2", {}).get(PHOTOMETRIC) == 0
    grey = np.empty(values.shape, np.uint8)
    for top, bottom in _bands(source):
        band = values[top:bottom]
        grey[top:bottom] = np.round(band / 257.0 if white == 65535 else band * (255.0 / white))
        if white_is_zero:
            grey[top:bottom] = 255 - grey[top:bottom]
        if isinstance(transparent, int):
            grey[top:bottom][band == transparent] = BACKGROUND
    return Image.fromarray(grey)


def _on_background(source: Image.Image) -> Image.Image:
    """Composite an image with transparency on white; mode `RGB`."""
    from PIL import Image

    result = Image.new("RGB", source.size)
    for top, bottom in _bands(source):
        band = source.crop((0, top, source.width, bottom)).convert("RGBA")
        background = Image.new("RGBA", band.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        result.paste(Image.alpha_composite(background, band).convert("RGB"), (0, top))
    return result


def eight_bit(source: Image.Image, notes: list[str]) -> Image.Image:
    """Convert to mode `L` or `RGB` (8 bits per channel), transparent pixels composited on white.

    Raises:
        ValueError: the pixels are floating-point numbers, or integers outside 0 to 65535.
    """
    if source.mode.startswith("I"):
        return _grey_of_integers(source, notes)
    if source.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if source.has_transparency_data:
        return _on_background(source)
    return source if source.mode in ("L", "RGB") else source.convert("L" if source.mode == "1" else "RGB")


def scale_transparency(source: Image.Image) -> None:
    """Scale the transparent colour of a PNG to 8 bits, as Pillow does with the pixels but not with this value."""
    value, tile = source.info.get("transparency"), getattr(source, "tile", None)
    raw_mode = tile[0][3] if tile else None
    if isinstance(value, int) and raw_mode in ("L;2", "L;4"):
        source.info["transparency"] = value * (85 if raw_mode == "L;2" else 17)
    elif isinstance(value, tuple) and raw_mode == "RGB;16B":
        source.info["transparency"] = tuple(channel >> 8 for channel in value)
