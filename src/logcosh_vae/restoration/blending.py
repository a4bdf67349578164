"""Restoration of pictures that are corrupted in places, by text or impulse noise: the other pixels keep their values.

Text that is taller than the network has been trained on is found on a smaller copy of the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from . import scratch
from .augmentation import FlipEnsemble
from .network import RestorationNetwork
from .resizing import reduced_mask, resize_rows, resized_rows, shrink, strips
from .scratch import STRIP_ROWS
from .tiling import Progress, restore

SPARSE_TASKS = ("text", "impulse")
"""Tasks whose corruption changes some pixels and leaves the others alone."""

MIN_CHANGE, FULL_CHANGE = 8, 20
"""Changes by the network, in levels of 255: up to the first a pixel keeps its value, from the second on it takes the
restored one."""

DILATION_SIZE = 5
"""Size in pixels of the square maximum filter that extends the changed area, for the soft edges of text."""

MARKED = 0.25
"""Part of the area of a pixel of a smaller copy that has to be marked so that it is marked."""

Pixels = NDArray[np.unsignedinteger]


def largest_change(before: Pixels, after: Pixels) -> NDArray[np.float32]:
    """Return the change `(H, W)` of each pixel: the largest of its channels, in levels of 255.

    Args:
        before, after: `(H, W, 3)`, both uint8 or uint16.
    """
    change = np.abs(after.astype(np.float32) - before.astype(np.float32)).max(axis=2)
    scaled: NDArray[np.float32] = change * np.float32(255.0 / np.iinfo(before.dtype).max)
    return scaled


def blend_weights(before: Pixels, after: Pixels) -> NDArray[np.float32]:
    """Return the weight `(H, W)` of the restored pixels in [0, 1]: 1 in and around the pixels that changed clearly."""
    weights = np.clip((largest_change(before, after) - MIN_CHANGE) / (FULL_CHANGE - MIN_CHANGE), 0.0, 1.0)
    dilated = Image.fromarray((255.0 * weights).astype(np.uint8)).filter(ImageFilter.MaxFilter(DILATION_SIZE))
    return np.asarray(dilated.filter(ImageFilter.BoxBlur(1)), np.float32) / 255.0


def restore_changed(
    network: RestorationNetwork | FlipEnsemble,
    picture: Pixels,
    scale: float,
    *,
    hint: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> Pixels:
    """Restore a picture, and keep the exact values of the pixels that the network does not change clearly.

    Args:
        network: in evaluation mode, on its device.
        picture: `(H, W, 3)`, uint8 or uint16.
        scale: in (0, 1]. The network restores a copy of this scale, and its changes are enlarged.
        hint: `(H, W)`, true where pixels are known to be corrupted; only for a network that takes one.
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
    small = picture if scale == 1.0 else shrink(picture, scale)
    small_hint = hint if hint is None or scale == 1.0 else reduced_mask(hint, small.shape[:2], MARKED)
    restored = restore(network, small, hint=small_hint, progress=progress)
    weights = scratch.empty(small.shape[:2], np.float32)
    for rows in strips(len(small), STRIP_ROWS):
        # a strip with a margin, which is larger than the radius of the two filters
        wide = slice(max(0, rows.start - DILATION_SIZE), rows.stop + DILATION_SIZE)
        weights[rows] = blend_weights(small[wide], restored[wide])[rows.start - wide.start :][: rows.stop - rows.start]
        scratch.release(small, restored, weights)

    def enlarged(values: NDArray[Any], rows: slice, filter: Image.Resampling) -> NDArray[Any]:
        return values[rows] if small is picture else resize_rows(values, (width, height), filter, rows)

    result = scratch.copy(picture)
    for rows in strips(height, STRIP_ROWS if small is picture else resized_rows(width)):
        weight = enlarged(weights, rows, Image.Resampling.BILINEAR)
        for channel in range(channels):
            before = picture[rows, :, channel].astype(np.float32)
            new = enlarged(restored[..., channel], rows, Image.Resampling.BICUBIC)
            after = np.rint((before + weight * (new - before)).clip(0.0, max_level))
            # not written where the weight is 0, so that float32 rounding cannot change a 16-bit level
            np.copyto(result[rows, :, channel], after.astype(picture.dtype), where=weight > 0.0)
        scratch.release(picture, restored, weights, result)
    return result
