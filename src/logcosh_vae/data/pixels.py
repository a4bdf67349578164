"""Conversion of decoded pixels of any kind to 8 bits per channel, transparent ones composited on white."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image

BACKGROUND = 255
"""Grey level on which transparent pixels are composited (white)."""

BAND_PIXELS = 1 << 20
"""Pixels are converted in bands of about this number, so that no further copies of a large image are made."""

MAX_SAMPLE_VALUE, PHOTOMETRIC, BITS_PER_SAMPLE = 281, 262, 258
"""TIFF tags."""

INVERTED = "inverted"
"""Key of `info` of an image whose decoded values are 0 for white, see `complete_levels`."""

_INVERTING = re.compile(r";\d?I")
"""Pillow's raw modes that a decoder inverts, such as `L;4I`."""


def _bands(source: Image.Image) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row, exclusive, of each band."""
    rows = max(1, BAND_PIXELS // source.width)
    for top in range(0, source.height, rows):
        yield top, min(source.height, top + rows)


def _white_level(file: Image.Image, low: int, high: int, notes: list[str]) -> int:
    """Return the pixel value of white in an image of integers, whose values lie between `low` and `high`.

    Raises:
        ValueError: the pixels have more than 16 bits.
    """
    if low < 0 or high > 65535:
        raise ValueError("its pixel values need more than 16 bits; save it with 8 or 16 bits per channel")
    tags = getattr(file, "tag_v2", {})
    bits, declared = tags.get(BITS_PER_SAMPLE, (16,))[0], tags.get(MAX_SAMPLE_VALUE)
    declared = declared[0] if isinstance(declared, tuple) and declared else declared
    if isinstance(declared, int) and max(high, 254) < declared < 65535:
        return declared
    if isinstance(declared, int) and high == declared >= 255:
        return declared
    if bits in range(9, 16):
        return int(2**bits - 1)
    if file.format == "TIFF" and file.mode == "I" and high <= 255:
        notes.append("32-bit pixel values of at most 255 are taken as 8 bits")
        return 255
    if 0 < high <= 4095:
        notes.append("16-bit pixel values of at most 4095 of 65535 are nearly black; scale them if they are 12 bits")
    return 65535


def _grey_of_integers(source: Image.Image, file: Image.Image, notes: list[str]) -> Image.Image:
    """Convert an image of 12, 16 or 32-bit integers to mode `L`, a transparent value to white."""
    from PIL import Image

    values = np.asarray(source)
    if not values.size:
        return source.convert("L")
    white = _white_level(file, int(values.min()), int(values.max()), notes)
    transparent = source.info.get("transparency")
    grey = np.empty(values.shape, np.uint8)
    for top, bottom in _bands(source):
        band = values[top:bottom]
        levels = true_levels(band, white, source.info)
        grey[top:bottom] = np.round(levels / 257.0 if white == 65535 else levels * (255.0 / white))
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


def eight_bit(source: Image.Image, notes: list[str], file: Image.Image | None = None) -> Image.Image:
    """Convert to mode `L` or `RGB` (8 bits per channel), transparent pixels composited on white.

    Args:
        source: a decoded image.
        notes: sentences about what the result does not show of the file are appended to this list.
        file: the opened image file from which `source` was made, if it is another image.

    Raises:
        ValueError: the pixels are floating-point numbers, or integers outside 0 to 65535.
    """
    from PIL import Image

    if source.mode.startswith("I"):
        return _grey_of_integers(source, file or source, notes)
    if source.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if source.info.get(INVERTED):
        return Image.fromarray(true_levels(np.asarray(source.convert("L")), 255, source.info))
    if source.has_transparency_data:
        return _on_background(source)
    return source if source.mode in ("L", "RGB") else source.convert("L" if source.mode == "1" else "RGB")


def complete_levels(source: Image.Image) -> None:
    """Complete `info` of an opened file, so that its levels mean what the file says. Call it before decoding.

    - The transparent value of a PNG file is scaled to 8 bits, as Pillow does with the pixels but not with this value.
    - `INVERTED` is set for a grey TIFF file in which 0 means white, unless its decoder inverts the pixels itself.
    """
    value, tile = source.info.get("transparency"), getattr(source, "tile", None)
    raw_mode = tile[0][3] if tile else None
    if isinstance(value, int) and raw_mode in ("L;2", "L;4"):
        source.info["transparency"] = value * (85 if raw_mode == "L;2" else 17)
    elif isinstance(value, tuple) and raw_mode == "RGB;16B":
        source.info["transparency"] = tuple(channel >> 8 for channel in value)
    if source.format == "TIFF" and source.tag_v2.get(PHOTOMETRIC) == 0:  # type: ignore[attr-defined]
        raw_mode = raw_mode[0] if isinstance(raw_mode, tuple) else raw_mode
        if source.mode in ("1", "L", "I", "I;16", "I;16B") and not _INVERTING.search(str(raw_mode)):
            source.info[INVERTED] = True


def true_levels(values: NDArray[Any], white: int, info: Mapping[Any, Any]) -> NDArray[Any]:
    """Return levels from 0 (black) to `white`, for decoded values of an image with this `info`."""
    return white - values if info.get(INVERTED) else values
