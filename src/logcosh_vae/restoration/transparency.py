"""Restoration of pictures with transparency: colours that nobody sees do not influence those that are seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import scratch
from .scratch import STRIP_ROWS

Pixels = NDArray[np.unsignedinteger]


def restore_visible(pixels: Pixels, alpha: NDArray[np.uint8] | None, restore: Callable[[Pixels], Pixels]) -> Pixels:
    """Restore a picture in which fully transparent pixels do not matter; they keep their values.

    Programs store any colour in such pixels, mostly black, and a network would take it for a part of the picture: the
    visible pixels beside it would become dark. While the picture is restored, transparent pixels have the mean colour
    of the others.

    Args:
        pixels: `(H, W, 3)`, uint8 or uint16.
        alpha: `(H, W)`, 0 where a pixel is fully transparent; None if none is.
        restore: returns the restored pixels of a picture, in the same shape and type.

    Returns:
        The shape and type of `pixels`.
    """
    if alpha is None or (mean := _visible_mean(pixels, alpha)) is None:
        return restore(pixels)
    filled = scratch.copy(pixels)
    for top in range(0, len(pixels), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        filled[rows][alpha[rows] == 0] = mean
        scratch.release(alpha, filled)
    result = restore(filled)
    result = result if result.flags.writeable else scratch.copy(result)
    for top in range(0, len(pixels), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        hidden = alpha[rows] == 0
        result[rows][hidden] = pixels[rows][hidden]
        scratch.release(pixels, alpha, result)
    return result


def _visible_mean(pixels: Pixels, alpha: NDArray[np.uint8]) -> NDArray[np.unsignedinteger] | None:
    """Return the mean colour, `(3,)`, of the pixels that are not fully transparent; None if those are all or none."""
    total, count = np.zeros(3), 0
    for top in range(0, len(pixels), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        visible = alpha[rows] > 0
        total += pixels[rows][visible].sum(axis=0, dtype=np.float64)
        count += int(visible.sum())
        scratch.release(pixels, alpha)
    if count in (0, alpha.size):
        return None
    return np.rint(total / count).astype(pixels.dtype)
