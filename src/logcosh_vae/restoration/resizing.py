"""Smaller and larger copies of pictures and masks, computed strip by strip because of the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import scratch
from .scratch import STRIP_ROWS

Pixels = NDArray[np.unsignedinteger]

_SUPPORT = {Image.Resampling.BOX: 0.5, Image.Resampling.BILINEAR: 1.0, Image.Resampling.BICUBIC: 2.0}
"""Radius of each filter, in pixels of the smaller picture."""


def resize_rows(
    channel: NDArray[np.generic], size: tuple[int, int], filter: Image.Resampling, rows: slice
) -> NDArray[np.float32]:
    """Resize one channel `(H, W)` to the given width and height, and return these rows of the result."""
    height, width = channel.shape
    scale = height / size[1]
    first, last = rows.start * scale, rows.stop * scale
    margin = math.ceil(_SUPPORT[filter] * max(1.0, scale)) + 1
    top, bottom = max(0, math.floor(first) - margin), min(height, math.ceil(last) + margin)
    source = Image.fromarray(channel[top:bottom].astype(np.float32, order="C"))
    box = (0, first - top, width, min(last, height) - top)
    return np.asarray(source.resize((size[0], rows.stop - rows.start), filter, box))


def shrink(picture: Pixels, scale: float) -> Pixels:
    """Return a smaller copy of a picture; each pixel is the mean of the area that it covers."""
    height, width, channels = picture.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = scratch.empty((size[1], size[0], channels), picture.dtype)
    for rows in strips(size[1], max(1, int(resized_rows(width) * scale))):
        for channel in range(channels):
            values = resize_rows(picture[..., channel], size, Image.Resampling.BOX, rows)
            small[rows, :, channel] = np.rint(values.clip(0.0, float(np.iinfo(picture.dtype).max)))
        scratch.release(picture, small)
    return small


def enlarge(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a larger copy of a picture, of a height and a width."""
    height, width = size
    large = scratch.empty((height, width, picture.shape[2]), picture.dtype)
    for rows in strips(height, resized_rows(width)):
        for channel in range(picture.shape[2]):
            values = resize_rows(picture[..., channel], (width, height), Image.Resampling.BICUBIC, rows)
            large[rows, :, channel] = np.rint(values.clip(0.0, float(np.iinfo(picture.dtype).max)))
        scratch.release(picture, large)
    return large


def reduced_mask(mask: NDArray[np.bool_], size: tuple[int, ...], least: float) -> NDArray[np.bool_]:
    """Return a smaller mask of a height and a width: true where at least this part of the area is."""
    height, width = size
    result = np.empty((height, width), bool)
    for rows in strips(height, max(1, resized_rows(mask.shape[1]) * height // len(mask))):
        result[rows] = resize_rows(mask, (width, height), Image.Resampling.BOX, rows) >= least
    return result


def enlarged_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a larger mask of a height and a width, whose pixels are those of the smaller one that they lie in."""
    rows, columns = (np.arange(large) * small // large for large, small in zip(size, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def resized_rows(width: int) -> int:
    """Return how many rows of a picture are resized at once: all, unless it is large."""
    return max(STRIP_ROWS, 64_000_000 // width)


def strips(height: int, rows: int) -> Iterator[slice]:
    """Yield the rows of each strip."""
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
