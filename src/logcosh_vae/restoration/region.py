"""A part of a picture restored, the rest left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.errors import RegionError

Pixels = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Region:
    """What of a picture may change.

    Attributes:
        boxes: left, top, width and height of parts, in pixels of the picture as it is seen.
        mask: `(H, W)`, the pixels that may change; it has the picture's size.
    """

    boxes: Sequence[tuple[int, int, int, int]] = ()
    mask: NDArray[np.bool_] | None = None

    def of(self, height: int, width: int) -> NDArray[np.bool_]:
        """The pixels `(height, width)` that lie in the mask or in one of the boxes.

        Raises:
            RegionError: there are none, or the mask has another size.
        """
        chosen = np.zeros((height, width), bool)
        if self.mask is not None:
            if self.mask.shape != chosen.shape:
                sizes = [f"{w}x{h}" for h, w in (self.mask.shape, chosen.shape)]
                raise RegionError(f"the mask has {sizes[0]} pixels, the picture {sizes[1]}")
            chosen |= self.mask
        for left, top, across, down in self.boxes:
            chosen[top : top + down, left : left + across] = True
        if not chosen.any():
            raise RegionError(f"no pixel of the picture ({width}x{height}) lies in the boxes or in the mask")
        return chosen


def restore_region(
    picture: Pixels, region: Region, method: Callable[[Pixels], Pixels], margin: int, stride: int
) -> Pixels:
    """What `method` makes of a picture within a region; no more of it is computed than that depends on.

    Args:
        picture: `(H, W, 3)`.
        region: what may change; every other pixel is left as it is, bit by bit.
        method: gives restored pixels for pixels.
        margin: how far away a pixel may lie that another's result depends on.
        stride: parts are cut at multiples of it, so that the result is that on the whole picture.

    Raises:
        RegionError: see `Region.of`.
    """
    chosen = region.of(*picture.shape[:2])
    part = []
    for axis in (1, 0):
        places = np.flatnonzero(chosen.any(axis=axis))
        first = max(0, int(places[0]) - margin) // stride * stride
        part.append(slice(first, int(places[-1]) + 1 + margin))
    result = picture.copy()
    rows, columns = part
    inside = chosen[rows, columns]
    result[rows, columns][inside] = method(np.ascontiguousarray(picture[rows, columns]))[inside]
    return result
