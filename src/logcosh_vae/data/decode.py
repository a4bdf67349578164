"""From the bytes of a picture file to an image of a set: upright, 8 bit, cropped and shrunk."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image

BACKGROUND = 255
"""Transparent pixels are laid on white."""

ORIENTATION = 0x0112
LYING = (5, 6, 7, 8)
"""EXIF's tag, and its values for a picture whose rows are columns."""


class Room:
    """Keeps the pixels that are decoded at once, in all threads, under a limit; a larger picture is decoded alone."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait for room for so many pixels and keep it."""
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


ROOM = Room(32_000_000)
"""A pixel takes up to 16 bytes on its way (transparency: picture, ground, both together, colours alone)."""


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an image.

    Attributes:
        height, width: of the image, in pixels.
        channels: 3 (red, green, blue) or 1 (grey).
        crop: side of the central part that is kept, as a share of the largest part with the image's proportions.
    """

    height: int
    width: int
    channels: int = 3
    crop: float = 1.0

    @property
    def most_bytes(self) -> int:
        """That a picture may leave."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Tiling:
    """How a picture becomes many images: its own pixels in squares that cover it.

    Attributes:
        side: of a square; a picture that is smaller is mirrored at its edges.
        most: pixels of a picture; one of more is shrunk to it first.
        channels: 3 (red, green, blue) or 1 (grey).
    """

    side: int
    most: int = 1 << 20
    channels: int = 3

    @property
    def most_bytes(self) -> int:
        """That a picture may leave, about."""
        return self.channels * max(self.most, self.side**2)

    @property
    def height(self) -> int:
        return self.side

    @property
    def width(self) -> int:
        return self.side


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Grey or colour of 8 bits a channel, transparency laid on white."""
    from PIL import Image

    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("its pixels are neither 8 nor 16 bit")
        return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")
    return picture if picture.mode in ("L", "RGB") else picture.convert("L" if picture.mode == "1" else "RGB")


def box(size: tuple[int, int], preparation: Preparation) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the central part of a picture of `(width, height)` that is kept."""
    width, height = size
    scale = min(width / preparation.width, height / preparation.height) * preparation.crop
    kept = scale * preparation.width, scale * preparation.height
    left, top = (width - kept[0]) / 2, (height - kept[1]) / 2
    return left, top, left + kept[0], top + kept[1]


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise ValueError("it is no picture" if content else "it is empty") from None
    with opened:
        yield opened


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    lying = picture.getexif().get(ORIENTATION, 1) in LYING
    return (picture.height, picture.width) if lying else picture.size


def _upright(picture: Image.Image, channels: int) -> Image.Image:
    """Turned as its EXIF says, of 8 bits, grey or red, green and blue."""
    from PIL import ImageOps

    return _eight_bit(ImageOps.exif_transpose(picture)).convert("L" if channels == 1 else "RGB")


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image)
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def decode(content: bytes, preparation: Preparation) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    """Decode a picture file.

    Turned upright as its EXIF says, cropped in the middle, and resized bicubically with antialiasing.

    Returns:
        The image `(C, H, W)`, uint8; the picture's `(width, height)` when upright; its mode in the file.

    Raises:
        Exception: whatever the decoder raises for a file that is none, or damaged; ValueError for pixels that are
            neither 8 nor 16 bit.
    """
    from PIL import Image

    with _opened(content) as picture:
        mode, size = picture.mode, _upright_size(picture)
        # a JPEG can be decoded smaller; twice the size that is kept leaves the antialiasing to the resize below
        left, _, right, _ = box(size, preparation)
        shrink = (right - left) / preparation.width
        if shrink > 4:
            picture.draft(None, (int(2 * picture.width / shrink), int(2 * picture.height / shrink)))
        with ROOM.taken(picture.width * picture.height):
            image = _upright(picture, preparation.channels)
            image = image.resize(
                (preparation.width, preparation.height),
                Image.Resampling.BICUBIC,
                box=box(image.size, preparation),
            )
    return _channels_first(image), size, mode


def decode_tiles(content: bytes, tiling: Tiling) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    """Decode a picture file into squares that cover it, evenly spaced and overlapping where they must.

    Returns:
        The squares `(N, C, side, side)`, uint8; the picture's `(width, height)` when upright; its mode in the file.

    Raises:
        Exception: as `decode`.
    """
    from PIL import Image

    with _opened(content) as picture:
        mode, size = picture.mode, _upright_size(picture)
        shrink = math.sqrt(size[0] * size[1] / tiling.most)
        if shrink > 4:
            picture.draft(None, (int(2 * picture.width / shrink), int(2 * picture.height / shrink)))
        with ROOM.taken(picture.width * picture.height):
            image = _upright(picture, tiling.channels)
            if shrink > 1:
                small = max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))
                image = image.resize(small, Image.Resampling.BICUBIC)
    values, side = _channels_first(image), tiling.side
    missing = [max(0, side - extent) for extent in values.shape[1:]]
    if any(missing):
        values = np.pad(values, [(0, 0), *((0, more) for more in missing)], mode="symmetric")
    tops, lefts = (_starts(extent, side) for extent in values.shape[1:])
    squares = [values[:, top : top + side, left : left + side] for top in tops for left in lefts]
    return np.stack(squares), size, mode


def _starts(extent: int, side: int) -> list[int]:
    """Where the fewest pieces of `side` begin that cover `extent`, evenly spaced."""
    count = -(-extent // side)
    return [round(place * (extent - side) / max(1, count - 1)) for place in range(count)]
