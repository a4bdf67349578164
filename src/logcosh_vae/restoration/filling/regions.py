"""Fill the boxes and the mask of a picture, each part from its own surroundings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...base.errors import RegionError
from .. import scratch
from ..region import widened
from ..resizing import enlarge, reduced_mask, shrink, strips
from ..scratch import STRIP_ROWS
from ..tiling import Progress
from .fill import STEPS, Pixels, fill_hole
from .levels import Mask, thickness

MIN_MARGIN = 64
"""Least width in pixels of the surroundings that a part is filled from; for a thick part it is the thickness."""

MAX_PIXELS = 4_000_000
"""A larger part is filled on a smaller copy, and enlarged, so that the memory and the time are bounded."""

BLOCK = 8
"""Pixels that are less than this many pixels apart belong to one part."""

CELL = 256
"""Small parts, such as specks of dust, are filled together if they begin in the same square of this many pixels."""

Window = tuple[slice, slice]


def fill_regions(pixels: Pixels, region: Mask, *, progress: Progress | None = None) -> Pixels:
    """Return a picture whose region is filled from its surroundings; all other pixels keep their exact values.

    Args:
        pixels: `(H, W, 3)`, uint8 or uint16.
        region: `(H, W)`, true for the pixels to fill.
        progress: called with the number of steps that are done, and their total.

    Raises:
        RegionError: the region is the whole picture, or nearly so.
    """
    parts = list(_parts(region))
    result = scratch.copy(pixels)
    for index, (window, is_part) in enumerate(parts):
        report = None if progress is None else _offset(progress, index, len(parts))
        inside, at = region[window], [np.arange(each.start, each.stop) // BLOCK for each in window]
        hole = scratch.empty(inside.shape, bool)
        for rows in strips(len(hole), STRIP_ROWS):
            hole[rows] = inside[rows] & is_part[np.ix_(at[0][rows], at[1])]
        filled = _fill_window(pixels[window], hole, inside, report)
        for rows in strips(len(hole), STRIP_ROWS):
            result[window][rows][hole[rows]] = filled[rows][hole[rows]]
        scratch.release(result, pixels, region, hole, filled)
    return result


def fill_scale(pixels: Pixels) -> float:
    """Return the scale of the copy on which a part `(H, W, 3)` is filled: 1, or 1/2, 1/4, ... if it is large."""
    return float(2.0 ** -max(0, math.ceil(math.log2(len(pixels) * pixels.shape[1] / MAX_PIXELS) / 2.0)))


def _fill_window(pixels: Pixels, hole: Mask, excluded: Mask, progress: Progress | None = None) -> Pixels:
    """Return a picture whose hole is filled, by way of a smaller copy if it is large.

    Args:
        pixels, hole, progress: see `fill_hole`.
        excluded: `(H, W)`, true for pixels that are not copied.

    Raises:
        RegionError: there is next to nothing to fill from.
    """
    scale = fill_scale(pixels)
    small = pixels if scale == 1.0 else shrink(pixels, scale)
    if small is not pixels:
        hole, excluded = (reduced_mask(mask, small.shape[:2], least=1e-6) for mask in (hole, excluded))
    if hole.all():
        raise RegionError("the whole picture is to be filled, so there is nothing to fill it from")
    filled = fill_hole(small, hole, usable=~excluded, progress=progress)
    return filled if small is pixels else enlarge(filled, (len(pixels), pixels.shape[1]))


def _parts(region: Mask) -> Iterator[tuple[Window, Mask]]:
    """Yield the parts of a region that lie apart: the window of a part with its surroundings, and its blocks."""
    from scipy import ndimage

    height, width = region.shape
    blocks = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), bool)
    for number, rows in enumerate(strips(height, BLOCK)):
        blocks[number] = np.logical_or.reduceat(region[rows].any(axis=0), np.arange(0, width, BLOCK))
    labels, count = ndimage.label(blocks, np.ones((3, 3)))
    groups: dict[tuple[int, ...], list[int]] = {}
    boxes = ndimage.find_objects(labels)
    for number, box in enumerate(boxes, start=1):
        is_small = max(each.stop - each.start for each in box) * BLOCK <= MIN_MARGIN
        cell = tuple(each.start * BLOCK // CELL for each in box) if is_small else (-number,)
        groups.setdefault(cell, []).append(number)
    for members in groups.values():
        is_member = np.isin(np.arange(count + 1), members)
        members_boxes = [boxes[number - 1] for number in members]
        rows, columns = (
            slice(min(box[i].start for box in members_boxes), max(box[i].stop for box in members_boxes)) for i in (0, 1)
        )
        own = is_member[labels[rows, columns]]
        margin = max(MIN_MARGIN, math.ceil(BLOCK * thickness(np.pad(own, 1))))
        bounds = (slice(BLOCK * rows.start, BLOCK * rows.stop), slice(BLOCK * columns.start, BLOCK * columns.stop))
        yield widened(bounds, margin, (height, width)), is_member[labels]


def _offset(progress: Progress, index: int, count: int) -> Progress:
    """Return the callback for one of several windows."""
    return lambda done, _: progress(index * STEPS + done, count * STEPS)
