"""Decoding the pixels of an open picture file: upright, with their transparency, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ..data import libtiff
from ..data.orientation import exif_of, exif_orientation, load
from ..data.pixels import complete_levels, true_levels
from . import scratch
from .scratch import STRIP_ROWS

Pixels = NDArray[np.unsignedinteger]
_core: Any = Image.core  # type: ignore[attr-defined]

PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Bytes that Pillow uses for a pixel, by mode; 4 for all others."""

_DECODED_IN_PIECES = frozenset({"JPEG", "MPO", "PNG", "BMP", "PPM"})
"""Formats whose decoders read a file bit by bit."""

_READ_BYTES = 1 << 14
"""Bytes of a large file that are decoded at once. A decoder makes up to a thousand times as many of them."""


@dataclass(frozen=True)
class DecodedPicture:
    """The pixels of a file.

    Attributes:
        pixels: `(H, W, 3)`, upright; uint8, or uint16 for 16-bit grey.
        alpha: `(H, W)`, uint8, upright; None if the picture has no transparency.
        grey: whether the file holds grey values only.
        orientation: EXIF orientation of the stored picture; 1 if EXIF has none.
        transparent_level: the level of 16-bit grey that means transparent, if there is one.
        notes: sentences for the user.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    orientation: int = 1
    transparent_level: int | None = None
    notes: tuple[str, ...] = ()


def stored_view(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of an upright picture `(H, W, ...)` in which its pixels lie as in a file of that orientation."""
    if orientation >= 5:
        upright = upright.swapaxes(0, 1)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}.get(orientation, (1, 1))
    return upright[::rows, ::columns]


def strips(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield the rows of each strip of a decoded picture, and the strip."""
    for top in range(0, picture.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, picture.height)
        yield slice(top, bottom), picture.crop((0, top, picture.width, bottom))


def map_image(mode: str, size: tuple[int, int]) -> tuple[Any, NDArray[np.uint8]]:
    """Return the core of a Pillow image whose pixels lie in an array of `scratch`, and the array `(H, W * bytes)`."""
    stride = size[0] * PIXEL_BYTES.get(mode, 4)
    pixels = scratch.empty((size[1], stride), np.uint8)
    return _core.map_buffer(pixels, size, "raw", 0, (mode, stride, 1)), pixels


def decode(picture: Image.Image) -> DecodedPicture:
    """Decode the pixels and the transparency.

    Raises:
        ValueError: the pixel format is not supported.
        Exception: whatever the decoder raises for a damaged file.
    """
    # TIFF files of 12 bits are decoded to levels from 0 to 4095
    scale = 65535 / 4095 if any(";12" in str(tile[3]) for tile in getattr(picture, "tile", ())) else 1.0
    complete_levels(picture)
    buffer = _decode_into_file(picture)
    libtiff.take_errors()
    turned = load(picture)
    notes = ("it is damaged, and some of its pixels may be wrong",) if libtiff.take_errors() else ()
    scratch.release(buffer)
    stands_in_exif = picture.format != "TIFF" and exif_orientation(exif_of(picture)) is not None
    if picture.mode in ("F", "LAB", "HSV"):
        raise ValueError(f"its pixel format {picture.mode} is not supported")
    if picture.mode.startswith("I"):
        decoded = _decode_deep(picture, turned, scale, buffer)
    else:
        decoded = _decode_eight_bit(picture, turned, buffer)
    return replace(decoded, orientation=turned if stands_in_exif else 1, notes=(*notes, *decoded.notes))


def decodes_in_pieces(picture: Image.Image) -> bool:
    """Return whether a picture is large, and has a decoder that can write into a file piece by piece."""
    size = picture.width * picture.height * PIXEL_BYTES.get(picture.mode, 4)
    return size > scratch.MEMORY_BYTES and picture.format in _DECODED_IN_PIECES and picture.mode != "1"


def _decode_into_file(picture: Image.Image) -> NDArray[np.uint8] | None:
    """Let the decoder of a large picture write into a temporary file; return its array, None for other pictures."""
    if not decodes_in_pieces(picture) or not isinstance(picture, ImageFile.ImageFile):
        return None
    buffer = None
    with suppress(AttributeError):  # another version of Pillow, which then takes memory
        core, buffer = map_image(picture.mode, picture.size)
        read = getattr(picture, "load_read", None) or picture.fp.read  # type: ignore[union-attr]

        def read_and_release(count: int) -> bytes:
            scratch.release(buffer)
            content: bytes = read(count)
            return content

        picture.im = core
        picture.decodermaxblock = _READ_BYTES
        picture.load_read = read_and_release  # type: ignore[attr-defined]
    return buffer


def _decode_eight_bit(picture: Image.Image, turned: int, buffer: NDArray[np.uint8] | None) -> DecodedPicture:
    grey, has_alpha = picture.mode in ("1", "L", "LA", "La"), picture.has_transparency_data
    size = picture.size[::-1] if turned < 5 else picture.size
    pixels = scratch.empty((*size, 3), np.uint8)
    alpha = scratch.empty(size, np.uint8) if has_alpha else None
    stored_pixels = stored_view(pixels, turned)
    stored_alpha = None if alpha is None else stored_view(alpha, turned)
    for rows, strip in strips(picture):
        if stored_alpha is not None:
            strip = strip.convert("RGBA")
            stored_alpha[rows] = np.asarray(strip.getchannel("A"))
        stored_pixels[rows] = true_levels(np.asarray(strip.convert("RGB")), 255, picture.info)
        scratch.release(pixels, alpha, buffer)
    return DecodedPicture(pixels, alpha, grey)


def _decode_deep(picture: Image.Image, turned: int, scale: float, buffer: NDArray[np.uint8] | None) -> DecodedPicture:
    """Decode grey pixels of more than 8 bits."""
    size = picture.size[::-1] if turned < 5 else picture.size
    values = scratch.empty(size, np.uint16)
    level = picture.info.get("transparency")
    level = level if picture.format == "PNG" and isinstance(level, int) else None
    alpha = None if level is None else scratch.empty(size, np.uint8)
    stored, brightest = stored_view(values, turned), 0
    notes: tuple[str, ...] = ()
    for rows, strip in strips(picture):
        part = np.asarray(strip)
        if part.min() < 0 or part.max() > 65535:
            raise ValueError("its pixels have more than 16 bits")
        brightest = max(brightest, int(part.max()))
        stored[rows] = true_levels(part if scale == 1.0 else np.rint(part * scale), 65535, picture.info)
        if alpha is not None:
            stored_view(alpha, turned)[rows] = np.where(part == level, 0, 255)
        scratch.release(values, alpha, buffer)
    if picture.mode == "I" and picture.format == "TIFF" and brightest <= 255:
        notes = ("its levels from 0 to 255 are stored with 8 bits",)
        return DecodedPicture(_three_channels(values.astype(np.uint8)), None, True, notes=notes)
    if 255 < brightest < 4096 and scale == 1.0:
        notes = (f"its brightest pixel is {brightest} of 65535, so the network sees a dark picture",)
    return DecodedPicture(_three_channels(values), alpha, True, transparent_level=level, notes=notes)


def _three_channels(values: NDArray[Any]) -> NDArray[Any]:
    return np.broadcast_to(values[..., None], (*values.shape, 3))
