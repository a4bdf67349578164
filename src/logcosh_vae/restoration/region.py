"""Restoration of a part of a picture, given by boxes or a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.errors import RegionError

Pixels = NDArray[np.unsignedinteger]
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture."""


@dataclass(frozen=True)
class Region:
    """The pixels of a picture that may change: those in any of the boxes or in the mask.

    Attributes:
        boxes: parts of the picture; what lies outside of it is ignored.
        mask: `(H, W)`, the size of the picture; true where pixels may change.
    """

    boxes: Sequence[Box] = ()
    mask: NDArray[np.bool_] | None = None

    def pixel_mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return `(height, width)`, true where the pixels of a picture of that size may change.

        Raises:
            RegionError: there are no such pixels, or the mask has another size.
        """
        selected = np.zeros((height, width), bool)
        if self.mask is not None:
            if self.mask.shape != selected.shape:
                sizes = [f"{w}x{h}" for h, w in (self.mask.shape, selected.shape)]
                raise RegionError(f"the mask has {sizes[0]} pixels but the picture has {sizes[1]}")
            selected |= self.mask
        for left, top, across, down in self.boxes:
            selected[top : top + down, left : left + across] = True
        if not selected.any():
            raise RegionError(f"no pixel of the picture ({width}x{height}) lies in the boxes or in the mask")
        return selected


def restore_region(
    picture: Pixels, region: Region, restore: Callable[[Pixels], Pixels], margin: int, alignment: int
) -> Pixels:
    """Restore the pixels of a region as if the whole picture had been restored; compute only what they depend on.

    Args:
        picture: `(H, W, 3)`.
        region: the pixels that may change; all others keep their exact values.
        restore: returns the restored pixels of a picture, in the same shape.
        margin: a restored pixel depends on no pixel further away than this.
        alignment: the part that is restored begins at multiples of this, the network's downsampling factor, so that
            the downsampling grid has the same position as in the whole picture.

    Returns:
        The shape and type of `picture`.

    Raises:
        RegionError: see `Region.pixel_mask`.
    """
    selected = region.pixel_mask(*picture.shape[:2])
    part = []
    for axis in (1, 0):
        indices = np.flatnonzero(selected.any(axis=axis))
        first = max(0, int(indices[0]) - margin) // alignment * alignment
        part.append(slice(first, int(indices[-1]) + 1 + margin))
    result = picture.copy()
    rows, columns = part
    inside = selected[rows, columns]
    result[rows, columns][inside] = restore(np.ascontiguousarray(picture[rows, columns]))[inside]
    return result
