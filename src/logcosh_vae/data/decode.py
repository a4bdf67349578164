"""Decoding image files: upright, 8 bits per channel, either cropped and resized or cut into tiles."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image

BACKGROUND = 255
"""Grey level on which transparent pixels are composited (white)."""

ORIENTATION = 0x0112
"""The EXIF tag of an image's orientation."""

TRANSPOSED = (5, 6, 7, 8)
"""Values of the EXIF orientation for which width and height are exchanged when the image is turned upright."""


class PixelBudget:
    """Limits the number of pixels that all threads decode at the same time.

    An image with more pixels than the limit is decoded while no other one is.
    """

    def __init__(self, pixels: int) -> None:
        self._total = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until this many pixels are free, and hold them inside the `with` block."""
        pixels = min(pixels, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


PIXEL_BUDGET = PixelBudget(32_000_000)
"""Shared by all threads: at most 512 MB, since a transparent image takes up to 16 bytes per pixel while it is decoded
(the RGBA image, the background, their composite and its RGB copy)."""


@dataclass(frozen=True)
class Preparation:
    """How an image file becomes one image: cropped at the centre and resized.

    Attributes:
        height: height of the result, in pixels.
        width: width of the result, in pixels.
        channels: 3 (red, green, blue) or 1 (grey).
        crop: side of the crop as a fraction, in (0, 1], of the largest central crop with the result's aspect ratio.
    """

    height: int
    width: int
    channels: int = 3
    crop: float = 1.0

    @property
    def max_bytes(self) -> int:
        """Size of the image made from one file."""
        return self.channels * self.height * self.width

    def cache_fields(self) -> dict[str, float]:
        """Return the values that identify this preparation in the cache of prepared images."""
        return asdict(self)


@dataclass(frozen=True)
class Tiling:
    """How an image file becomes many images: square tiles that cover it at its own resolution.

    Attributes:
        tile_size: side of a tile, in pixels. An image that is smaller is padded by reflection.
        max_pixels: an image with more pixels is first shrunk to this number.
        channels: 3 (red, green, blue) or 1 (grey).
    """

    tile_size: int
    max_pixels: int = 1 << 20
    channels: int = 3

    @property
    def max_bytes(self) -> int:
        """Approximate largest size of the tiles made from one file (without their overlap)."""
        return self.channels * max(self.max_pixels, self.tile_size**2)

    @property
    def height(self) -> int:
        """Height of a tile, in pixels."""
        return self.tile_size

    @property
    def width(self) -> int:
        """Width of a tile, in pixels."""
        return self.tile_size

    def cache_fields(self) -> dict[str, float]:
        """Return the values that identify this tiling in the cache, under the names that existing caches use."""
        return {"side": self.tile_size, "most": self.max_pixels, "channels": self.channels}


def _eight_bit(source: Image.Image) -> Image.Image:
    """Convert to mode `L` or `RGB` (8 bits per channel), transparent pixels composited on white.

    Raises:
        ValueError: the pixels are floating-point numbers, or integers outside 0 to 65535.
    """
    from PIL import Image

    if source.mode.startswith("I"):
        values = np.asarray(source)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("its pixel values need more than 16 bits; save it with 8 or 16 bits per channel")
        return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
    if source.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if source.has_transparency_data:
        background = Image.new("RGBA", source.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        return Image.alpha_composite(background, source.convert("RGBA")).convert("RGB")
    return source if source.mode in ("L", "RGB") else source.convert("L" if source.mode == "1" else "RGB")


def crop_box(size: tuple[int, int], preparation: Preparation) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the central crop, in pixels, of an image of size `(width, height)`."""
    width, height = size
    scale = min(width / preparation.width, height / preparation.height) * preparation.crop
    crop_width, crop_height = scale * preparation.width, scale * preparation.height
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return left, top, left + crop_width, top + crop_height


@contextmanager
def _open(content: bytes) -> Iterator[Image.Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise ValueError("it is not an image in a known format" if content else "the file is empty") from None
    with opened:
        yield opened


def _upright_size(source: Image.Image) -> tuple[int, int]:
    transposed = source.getexif().get(ORIENTATION, 1) in TRANSPOSED
    return (source.height, source.width) if transposed else source.size


def _upright(source: Image.Image, channels: int) -> Image.Image:
    """Return the image turned upright by its EXIF orientation, in mode `L` (1 channel) or `RGB` (3 channels)."""
    from PIL import ImageOps

    return _eight_bit(ImageOps.exif_transpose(source)).convert("L" if channels == 1 else "RGB")


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels as a contiguous array `(C, H, W)`, uint8."""
    values = np.asarray(image)
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def decode(content: bytes, preparation: Preparation) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    """Decode an image file, turn it upright by its EXIF orientation, crop its centre and resize it.

    Resizing is bicubic with antialiasing.

    Args:
        content: the bytes of the file.
        preparation: size, channels and crop of the result.

    Returns:
        The image, `(C, H, W)`, uint8; the size `(width, height)` of the upright original; its mode in the file.

    Raises:
        ValueError: the file is empty, not an image, or has pixels of more than 16 bits.
        Exception: whatever the decoder raises for a damaged file.
    """
    from PIL import Image

    with _open(content) as source:
        mode, size = source.mode, _upright_size(source)
        # a JPEG can be decoded at a reduced size, which is faster; at twice the final size the quality of the
        # antialiasing is still that of the resize below
        left, _, right, _ = crop_box(size, preparation)
        shrink = (right - left) / preparation.width
        if shrink > 4:
            source.draft(None, (int(2 * source.width / shrink), int(2 * source.height / shrink)))
        with PIXEL_BUDGET.reserve(source.width * source.height):
            image = _upright(source, preparation.channels)
            image = image.resize(
                (preparation.width, preparation.height),
                Image.Resampling.BICUBIC,
                box=crop_box(image.size, preparation),
            )
    return _channels_first(image), size, mode


def decode_tiles(content: bytes, tiling: Tiling) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    """Decode an image file into the smallest number of tiles that cover it, evenly spaced and overlapping if needed.

    Args:
        content: the bytes of the file.
        tiling: size and channels of the tiles.

    Returns:
        The tiles, `(N, C, tile_size, tile_size)`, uint8, by rows; the size `(width, height)` of the upright original;
        its mode in the file.

    Raises:
        ValueError, Exception: as `decode`.
    """
    from PIL import Image

    with _open(content) as source:
        mode, size = source.mode, _upright_size(source)
        shrink = math.sqrt(size[0] * size[1] / tiling.max_pixels)
        if shrink > 4:
            source.draft(None, (int(2 * source.width / shrink), int(2 * source.height / shrink)))
        with PIXEL_BUDGET.reserve(source.width * source.height):
            image = _upright(source, tiling.channels)
            if shrink > 1:
                small = max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))
                image = image.resize(small, Image.Resampling.BICUBIC)
    values, tile_size = _channels_first(image), tiling.tile_size
    padding = [max(0, tile_size - extent) for extent in values.shape[1:]]
    if any(padding):
        values = np.pad(values, [(0, 0), *((0, count) for count in padding)], mode="symmetric")
    tops, lefts = (_starts(extent, tile_size) for extent in values.shape[1:])
    tiles = [values[:, top : top + tile_size, left : left + tile_size] for top in tops for left in lefts]
    return np.stack(tiles), size, mode


def _starts(extent: int, tile_size: int) -> list[int]:
    """Return the positions of the smallest number of evenly spaced tiles that cover `extent` pixels."""
    count = -(-extent // tile_size)
    return [round(index * (extent - tile_size) / max(1, count - 1)) for index in range(count)]
