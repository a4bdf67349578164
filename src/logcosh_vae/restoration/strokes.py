"""Which pixels of found lines are strokes of text: those that a network changes, and others of the same colours.

A network does not know every letter of a line, but nearly always some of them. Their colours tell the strokes that it
has missed from the surroundings of the line, unless these have the same colours. Both together are the hint of the
network's second pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .blending import largest_change
from .finding.lines import TextLine
from .region import widened
from .scratch import STRIP_ROWS

CHANGED, SURE = 12, 40
"""Changes of a pixel, in levels of 255, from which it counts as a stroke, and as one that shows the text's colour."""

MIN_SURE = 30
"""Fewer sure pixels of a line do not tell its colours."""

BITS = 4
"""Bits of red, green and blue that distinguish colours."""

SMOOTHING = 0.8
"""Standard deviation of the Gaussian that smooths the counts of colours, in units of their levels."""

MIN_FREQUENCY, MIN_SHARE = 3e-4, 0.8
"""A colour is one of strokes if it makes up at least the first of them, and if strokes are at least the second of the
pixels that have it: strokes as far as they are known, and as many others as the surroundings let expect in the line."""

ROUNDS = 2
"""How often the colours are counted: those of the sure strokes, then those of all strokes that these have shown."""

Pixels = NDArray[np.unsignedinteger]


def find_strokes(
    before: Pixels, after: Pixels, lines: Sequence[TextLine], others: Sequence[TextLine] = ()
) -> NDArray[np.bool_]:
    """Return which pixels `(H, W)` of a picture are strokes of lines.

    Args:
        before, after: `(H, W, 3)`, the picture as it was and as a network has restored it; uint8 or uint16.
        lines: whose strokes are looked for.
        others: further lines, which do not count as surroundings.
    """
    strokes = np.zeros(before.shape[:2], bool)
    for line in lines:
        rows, columns = line.bounds(*before.shape[:2])
        strokes[rows, columns] |= _strokes(line, before, after, (*lines, *others))
    return strokes


def stroke_colours(
    line: TextLine, before: Pixels, after: Pixels, lines: Sequence[TextLine]
) -> NDArray[np.bool_] | None:
    """Return which colours are those of a line's strokes, by their number; None if too few of its strokes are sure."""
    size, (rows, columns) = before.shape[:2], line.bounds(*before.shape[:2])
    inside = line.covers(rows, columns)
    sure = inside & (level_change(before[rows, columns], after[rows, columns]) >= SURE)
    if int(sure.sum()) < MIN_SURE:
        return None
    around = widened((rows, columns), round(line.height), size)
    free = ~_covered(lines, size, around)
    background = _smoothed_counts(
        np.concatenate([_colours(before[around])[free], _colours(after[rows, columns])[sure]])
    )
    background *= inside.sum() / max(1.0, background.sum())
    colours, known = _colours(before[rows, columns]), sure
    for _ in range(ROUNDS):
        counts = _smoothed_counts(colours[known])
        is_stroke: NDArray[np.bool_] = (counts >= MIN_FREQUENCY * counts.sum()) & (
            counts >= MIN_SHARE * (counts + background)
        )
        known = sure | of_colours(before[rows, columns], is_stroke, inside)
    return is_stroke


def of_colours(pixels: Pixels, colours: NDArray[np.bool_], where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels `(h, w)` of a part have one of some colours; single ones are noise."""
    from scipy import ndimage

    found: NDArray[np.bool_] = ndimage.binary_opening(where & colours[_colours(pixels)], np.ones((2, 2)))
    return found


def level_change(before: Pixels, after: Pixels) -> NDArray[np.uint8]:
    """Return the change of each pixel in levels of 255, in a strip after the other because of the memory."""
    strips = [slice(top, top + STRIP_ROWS) for top in range(0, len(before), STRIP_ROWS)]
    return np.concatenate([largest_change(before[strip], after[strip]).astype(np.uint8) for strip in strips])


def _strokes(line: TextLine, before: Pixels, after: Pixels, lines: Sequence[TextLine]) -> NDArray[np.bool_]:
    """Return which pixels within the bounds of a line are its strokes."""
    rows, columns = line.bounds(*before.shape[:2])
    inside = line.covers(rows, columns)
    change = level_change(before[rows, columns], after[rows, columns])
    strokes: NDArray[np.bool_] = inside & (change >= CHANGED)
    is_stroke = stroke_colours(line, before, after, lines)
    if is_stroke is None:
        return strokes
    return strokes | inside & (change >= SURE) | of_colours(before[rows, columns], is_stroke, inside)


def _covered(lines: Sequence[TextLine], size: tuple[int, int], part: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Return which pixels of a part of a picture of that size any line covers."""
    rows, columns = part
    covered = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    for line in lines:
        within = [
            slice(max(one.start, other.start), min(one.stop, other.stop))
            for one, other in zip(line.bounds(*size), part, strict=True)
        ]
        if all(each.start < each.stop for each in within):
            (top, bottom), (left, right) = ((each.start, each.stop) for each in within)
            place = (slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start))
            covered[place] |= line.covers(*within)
    return covered


def _colours(pixels: Pixels) -> NDArray[np.uint16]:
    """Return the number of each pixel's colour."""
    shift = 8 * pixels.itemsize - BITS
    red, green, blue = ((pixels[..., channel] >> shift).astype(np.uint16) for channel in range(3))
    return (red << 2 * BITS | green << BITS | blue).astype(np.uint16)


def _smoothed_counts(colours: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return how many pixels have each colour or a similar one."""
    from scipy import ndimage

    cube = np.bincount(colours, minlength=1 << 3 * BITS).astype(np.float64).reshape((1 << BITS,) * 3)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(cube, SMOOTHING, mode="nearest")
    return smooth.ravel()
