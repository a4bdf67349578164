"""Restoration of a part of a picture, given by boxes or a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.errors import RegionError
from . import scratch
from .scratch import STRIP_ROWS

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

    def pixel_mask(self, height: int, width: int, rows: slice | None = None) -> NDArray[np.bool_]:
        """Return `(height, width)`, true where the pixels of a picture of that size may change; or these rows of it.

        Raises:
            RegionError: there are no such pixels in the picture, or the mask has another size.
        """
        top, bottom, _ = (rows or slice(0, height)).indices(height)
        if self.mask is None:
            selected = np.zeros((bottom - top, width), bool)
        else:
            if self.mask.shape != (height, width):
                sizes = [f"{w}x{h}" for h, w in (self.mask.shape, (height, width))]
                raise RegionError(f"the mask has {sizes[0]} pixels but the picture has {sizes[1]}")
            selected = self.mask[top:bottom].copy()
        for left, first, across, down in self.boxes:
            selected[max(0, first - top) : max(0, first + down - top), max(0, left) : max(0, left + across)] = True
        if rows is None and not selected.any():
            raise _nothing_selected(height, width)
        return selected

    def bounds(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns of the smallest rectangle that holds the region, in a picture of that size.

        Raises:
            RegionError: as `pixel_mask`.
        """
        found: list[tuple[int, int, int, int]] = []  # top, bottom, left, right
        for left, top, across, down in self.boxes:
            edges = max(0, top), min(height, top + down), max(0, left), min(width, left + across)
            if edges[0] < edges[1] and edges[2] < edges[3]:
                found.append(edges)
        if self.mask is not None:
            for top in range(0, height, STRIP_ROWS):
                strip = Region(mask=self.mask).pixel_mask(height, width, slice(top, top + STRIP_ROWS))
                rows, columns = np.flatnonzero(strip.any(axis=1)), np.flatnonzero(strip.any(axis=0))
                if len(rows):
                    found.append((top + int(rows[0]), top + int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1))
                scratch.release(self.mask)
        if not found:
            raise _nothing_selected(height, width)
        tops, bottoms, lefts, rights = zip(*found, strict=True)
        return slice(min(tops), max(bottoms)), slice(min(lefts), max(rights))


def allowed_pixels(region: Region, keep_boxes: Sequence[Box], height: int, width: int) -> NDArray[np.bool_] | None:
    """Return `(height, width)`, true where pixels may change; None for everywhere.

    Args:
        region: without boxes and mask it is the whole picture.
        keep_boxes: parts that never change.
        height, width: of the picture.

    Raises:
        RegionError: see `Region.pixel_mask`.
    """
    if region.boxes or region.mask is not None:
        allowed = region.pixel_mask(height, width)
    elif keep_boxes:
        allowed = scratch.empty((height, width), bool)
        allowed[:] = True
    else:
        return None
    for left, top, across, down in keep_boxes:
        allowed[max(0, top) : max(0, top + down), max(0, left) : max(0, left + across)] = False
    return allowed


def widened(bounds: tuple[slice, slice], margin: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns with a margin, as far as a picture of that size has them."""
    rows, columns = (
        slice(max(0, part.start - margin), min(length, part.stop + margin))
        for part, length in zip(bounds, size, strict=True)
    )
    return rows, columns


def _nothing_selected(height: int, width: int) -> RegionError:
    return RegionError(f"no pixel of the picture ({width}x{height}) lies in the boxes or in the mask")


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
    height, width = picture.shape[:2]
    rows, columns = (
        slice(max(0, indices.start - margin) // alignment * alignment, indices.stop + margin)
        for indices in region.bounds(height, width)
    )
    result, restored = scratch.copy(picture), restore(picture[rows, columns])
    for top in range(0, len(restored), STRIP_ROWS):
        strip = slice(rows.start + top, min(rows.start + top + STRIP_ROWS, rows.start + len(restored)))
        inside = region.pixel_mask(height, width, strip)[:, columns]
        result[strip, columns][inside] = restored[top : top + STRIP_ROWS][inside]
        scratch.release(result, restored, region.mask)
    return result
