"""Restoration of pictures that are corrupted in places, by text or impulse noise: the other pixels keep their values.

Text that is taller than the network has been trained on is found on a smaller copy of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .augmentation import FlipEnsemble
from .network import RestorationNetwork
from .tiling import Progress, restore

SPARSE_TASKS = ("text", "impulse")
"""Tasks whose corruption changes some pixels and leaves the others alone."""

MIN_CHANGE, FULL_CHANGE = 8, 20
"""Changes by the network, in levels of 255: up to the first a pixel keeps its value, from the second on it takes the
restored one."""

DILATION_SIZE = 5
"""Size in pixels of the square maximum filter that extends the changed area, for the soft edges of text."""

STRIP_ROWS = 256
"""Rows that are processed at once, to bound the memory for intermediate results."""

Pixels = NDArray[np.unsignedinteger]


def _resize(channel: NDArray[np.generic], size: tuple[int, int], filter: Image.Resampling) -> NDArray[np.float32]:
    """Resize one channel `(H, W)` to the given width and height."""
    return np.asarray(Image.fromarray(channel.astype(np.float32)).resize(size, filter))


def blend_weights(before: Pixels, after: Pixels) -> NDArray[np.float32]:
    """Return the weight `(H, W)` of the restored pixels in [0, 1]: 1 in and around the pixels that changed clearly."""
    max_level = float(np.iinfo(before.dtype).max)
    change = np.abs(after.astype(np.float32) - before.astype(np.float32)).max(axis=2) * (255.0 / max_level)
    weights = np.clip((change - MIN_CHANGE) / (FULL_CHANGE - MIN_CHANGE), 0.0, 1.0)
    dilated = Image.fromarray((255.0 * weights).astype(np.uint8)).filter(ImageFilter.MaxFilter(DILATION_SIZE))
    return np.asarray(dilated.filter(ImageFilter.BoxBlur(1)), np.float32) / 255.0


def restore_changed(
    network: RestorationNetwork | FlipEnsemble,
    picture: Pixels,
    scale: float,
    *,
    progress: Progress | None = None,
) -> Pixels:
    """Restore a picture, and keep the exact values of the pixels that the network does not change clearly.

    Args:
        network: in evaluation mode, on its device.
        picture: `(H, W, 3)`, uint8 or uint16.
        scale: in (0, 1]. The network restores a copy of this scale, and its changes are enlarged.
        progress: called after each tile.

    Returns:
        The shape and type of `picture`.

    Raises:
        ValueError: the scale is out of range.
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"scale must be above 0 and at most 1; got {scale}")
    height, width, channels = picture.shape
    max_level = float(np.iinfo(picture.dtype).max)
    small = picture if scale == 1.0 else _shrink(picture, scale)
    restored = restore(network, small, progress=progress)
    weights = np.empty(small.shape[:2], np.float32)
    for rows in _strips(len(small)):
        # a strip with a margin, which is larger than the radius of the two filters
        wide = slice(max(0, rows.start - DILATION_SIZE), rows.stop + DILATION_SIZE)
        weights[rows] = blend_weights(small[wide], restored[wide])[rows.start - wide.start :][: rows.stop - rows.start]
    if small is not picture:
        weights = _resize(weights, (width, height), Image.Resampling.BILINEAR)
    result = picture.copy()
    for channel in range(channels):
        new: NDArray[Any] = restored[..., channel]
        if small is not picture:
            new = _resize(new, (width, height), Image.Resampling.BICUBIC)
        for rows in _strips(height):
            before = picture[rows, :, channel].astype(np.float32)
            after = np.rint((before + weights[rows] * (new[rows] - before)).clip(0.0, max_level))
            # not written where the weight is 0, so that float32 rounding cannot change a 16-bit level
            np.copyto(result[rows, :, channel], after.astype(picture.dtype), where=weights[rows] > 0.0)
    return result


def _shrink(picture: Pixels, scale: float) -> Pixels:
    """Return a smaller copy of a picture; each pixel is the mean of the area that it covers."""
    height, width, channels = picture.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.empty((size[1], size[0], channels), picture.dtype)
    for channel in range(channels):
        values = _resize(picture[..., channel], size, Image.Resampling.BOX)
        small[..., channel] = np.rint(values.clip(0.0, float(np.iinfo(picture.dtype).max)))
    return small


def _strips(height: int) -> Iterator[slice]:
    """Yield the rows of each strip."""
    for top in range(0, height, STRIP_ROWS):
        yield slice(top, min(top + STRIP_ROWS, height))
