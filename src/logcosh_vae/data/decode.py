"""Decoding image files: upright, 8 bits per channel, either cropped and resized or cut into tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import libtiff
from .formats import DECODING, check_memory, decoding_bytes, open_image
from .orientation import ORIENTATION, TRANSPOSED, read_orientation, upright
from .pixels import complete_levels, eight_bit

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image


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


def crop_box(size: tuple[int, int], preparation: Preparation) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the central crop, in pixels, of an image of size `(width, height)`."""
    width, height = size
    scale = min(width / preparation.width, height / preparation.height) * preparation.crop
    crop_width, crop_height = scale * preparation.width, scale * preparation.height
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return left, top, left + crop_width, top + crop_height


@contextmanager
def _open(content: bytes, notes: list[str]) -> Iterator[Image.Image]:
    with open_image(content) as opened:
        if opened.format in ("GIF", "TIFF", "WEBP", "PNG", "AVIF") and getattr(opened, "is_animated", False):
            notes.append("only the first of its frames or pages is used")
        complete_levels(opened)
        libtiff.take_errors()
        try:
            yield opened
        except OSError as error:
            if str(error) == "decoder error -2":
                raise ValueError("its pixels cannot be decoded, because the file is damaged") from None
            raise
        if libtiff.take_errors():
            notes.append("it is damaged, and some of its pixels may be wrong")


def _decode_smaller(source: Image.Image, shrink: float) -> bool:
    """Let a JPEG that will be shrunk by this factor be decoded at a reduced size; return whether it will be.

    This is faster. At twice the final size the quality of the antialiasing is still that of the final resize.
    """
    size = int(2 * source.width / shrink), int(2 * source.height / shrink)
    return shrink > 4 and source.draft(None, size) is not None


def _upright_size(source: Image.Image) -> tuple[int, int]:
    """Return the upright size of a JPEG; the stored size of others, whose orientation may follow their pixels."""
    transposed = source.format in ("JPEG", "MPO") and read_orientation(source) in TRANSPOSED
    return (source.height, source.width) if transposed else source.size


def _is_turned(source: Image.Image) -> bool:
    """Return whether a turned copy of an opened image is made; this decodes a PNG file without EXIF data."""
    stored = source.tag_v2.get(ORIENTATION, 1) if source.format == "TIFF" else 1  # type: ignore[attr-defined]
    return stored != 1 or read_orientation(source) != 1  # Pillow turns TIFF files by itself


@contextmanager
def _upright(source: Image.Image, full_size: tuple[int, int], channels: int, notes: list[str]) -> Iterator[Image.Image]:
    """Decode an opened image, and hold its memory.

    Yields:
        The image, turned upright, in mode `L`, or in mode `RGB` if it has colours and `channels` is 3.

    Raises:
        ValueError: decoding it would exceed the limit.
    """
    converted = source.mode not in ("L", "RGB" if channels == 3 else "L") or source.has_transparency_data
    hidden = source.format == "PNG" and "exif" not in source.info  # it may follow the pixels
    turned = not hidden and _is_turned(source)
    needed = decoding_bytes(source, full_size, turned=turned, converted=converted)
    check_memory(full_size, needed)
    with DECODING.reserve(needed):
        if hidden and _is_turned(source):
            check_memory(full_size, decoding_bytes(source, full_size, turned=True, converted=converted))
        oriented = upright(source)
        image = eight_bit(oriented, notes, source)
        yield image.convert("L") if channels == 1 and image.mode != "L" else image


def _channels_first(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """Return the pixels as a contiguous array `(C, H, W)`, uint8; those of a grey image are repeated."""
    values = np.asarray(image)
    if values.ndim == 2:
        return np.repeat(values[None], channels, axis=0)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def decode(
    content: bytes, preparation: Preparation, notes: list[str] | None = None
) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    """Decode an image file, turn it upright by its EXIF orientation, crop its centre and resize it.

    Resizing is bicubic with antialiasing.

    Args:
        content: the bytes of the file.
        preparation: size, channels and crop of the result.
        notes: sentences about what the result does not show of the file are appended to this list.

    Returns:
        The image, `(C, H, W)`, uint8; the size `(width, height)` of the upright original; its mode in the file.

    Raises:
        ValueError: the file is empty, not an image, has pixels of more than 16 bits, or takes too much memory.
        Exception: whatever the decoder raises for a damaged file.
    """
    from PIL import Image

    notes = [] if notes is None else notes
    with _open(content, notes) as source:
        mode, full_size, size = source.mode, source.size, _upright_size(source)
        left, _, right, _ = crop_box(size, preparation)
        smaller = _decode_smaller(source, (right - left) / preparation.width)
        with _upright(source, full_size, preparation.channels, notes) as image:
            size = size if smaller else image.size
            image = image.resize(
                (preparation.width, preparation.height),
                Image.Resampling.BICUBIC,
                box=crop_box(image.size, preparation),
            )
    return _channels_first(image, preparation.channels), size, mode


def decode_tiles(
    content: bytes, tiling: Tiling, notes: list[str] | None = None
) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    """Decode an image file into the smallest number of tiles that cover it, evenly spaced and overlapping if needed.

    Args:
        content: the bytes of the file.
        tiling: size and channels of the tiles.
        notes: as in `decode`.

    Returns:
        The tiles, `(N, C, tile_size, tile_size)`, uint8, by rows; the size `(width, height)` of the upright original;
        its mode in the file.

    Raises:
        ValueError, Exception: as `decode`.
    """
    from PIL import Image

    notes = [] if notes is None else notes
    with _open(content, notes) as source:
        mode, full_size, size = source.mode, source.size, _upright_size(source)
        shrink = math.sqrt(size[0] * size[1] / tiling.max_pixels)
        smaller = _decode_smaller(source, shrink)
        with _upright(source, full_size, tiling.channels, notes) as image:
            size = size if smaller else image.size
            if shrink > 1:
                small = max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))
                image = image.resize(small, Image.Resampling.BICUBIC)
            return _cut(_channels_first(image, tiling.channels), tiling, size), size, mode


def _cut(values: NDArray[np.uint8], tiling: Tiling, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut pixels `(C, H, W)` of an image of `size` into tiles, see `decode_tiles`."""
    tile_size = tiling.tile_size
    padding = [max(0, tile_size - extent) for extent in values.shape[1:]]
    tops, lefts = (_starts(max(extent, tile_size), tile_size) for extent in values.shape[1:])
    count = len(tops) * len(lefts)
    if count * tile_size**2 > 8 * max(tiling.max_pixels, tile_size**2):
        raise ValueError(
            f"its {size[0]}x{size[1]} pixels make {count:,} tiles of {tile_size}x{tile_size}, most of them padding; "
            "cut it into parts that are less long"
        )
    if any(padding):
        values = np.pad(values, [(0, 0), *((0, count) for count in padding)], mode="symmetric")
    return np.stack([values[:, top : top + tile_size, left : left + tile_size] for top in tops for left in lefts])


def _starts(extent: int, tile_size: int) -> list[int]:
    """Return the positions of the smallest number of evenly spaced tiles that cover `extent` pixels."""
    count = -(-extent // tile_size)
    return [round(index * (extent - tile_size) / max(1, count - 1)) for index in range(count)]
