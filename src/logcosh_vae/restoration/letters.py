"""The exact shape of large letters, told by their colours, with their soft edges and their shadow.

A network restores large text on a smaller copy of the picture, so what it changes is wider than the letters, and
blurred. The letters themselves are a hole that `filling` fills with texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .filling.fill import fill_hole
from .filling.regions import fill_scale
from .finding.lines import TextLine, paint
from .region import widened
from .resizing import enlarge, enlarged_mask, shrink
from .strokes import Pixels, level_change, of_colours, stroke_colours
from .tiling import Progress

EDGE = 3
"""Pixels beyond the colours of a letter that belong to it: its soft edge, and what JPEG makes of it."""

MIN_TOLD = 0.6
"""Letters are told by their colours if they hold at least this part of the squared change of each stretch of the line.
Otherwise some letters are missing, or the colours are not those of letters."""

MIN_ENERGY = 0.25
"""Stretches with less than this part of the mean squared change hold no letter."""

REACH = 5
"""A shadow reaches at most one in this many parts of the line's height; what lies up to twice as far shows the
brightness without it."""

DIRECTIONS = 4
"""In which shadows are looked for."""

DARK = 0.15
"""A shadow begins where pixels in two neighbouring directions are darker by this fraction, and ends at half of it."""

MIN_PIXELS = 50
"""Fewer pixels at a distance do not tell their brightness."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FilledLetters:
    """The letters of a line, filled.

    Attributes:
        part: rows and columns of the picture.
        pixels: `(h, w, 3)`, the part with the filled letters.
        mask: `(h, w)`, the letters.
    """

    part: tuple[slice, slice]
    pixels: Pixels
    mask: Mask


def fill_letters(
    before: Pixels, after: Pixels, line: TextLine, others: Sequence[TextLine], progress: Progress | None = None
) -> FilledLetters | None:
    """Fill the letters of a line with texture, by way of a smaller copy if they are very large.

    Args:
        before, after, line, others: see `find_letters`. What other lines cover is not copied.
        progress: see `fill_hole`.

    Returns:
        None if colours do not tell the letters.
    """
    size = (len(before), before.shape[1])
    part = widened(line.bounds(*size), round(line.height), size)
    small, small_after = before[part], after[part]
    if (scale := fill_scale(small)) < 1.0:
        small, small_after = shrink(small, scale), shrink(small_after, scale)
    own, *rest = (each.moved(-part[1].start, -part[0].start).scaled(scale) for each in (line, *others))
    letters = find_letters(small, small_after, own, rest)
    if letters is None or letters.all():
        return None
    covered, excluded = np.zeros_like(letters), np.zeros_like(letters)
    paint([own], covered)
    paint(rest, excluded)
    filled = fill_hole(small, letters, usable=covered | ~excluded, progress=progress)
    if scale < 1.0:
        whole = (len(before[part]), before[part].shape[1])
        filled, letters = enlarge(filled, whole), enlarged_mask(letters, whole)
    return FilledLetters(part, filled, letters)


def find_letters(before: Pixels, after: Pixels, line: TextLine, others: Sequence[TextLine] = ()) -> Mask | None:
    """Return which pixels `(H, W)` of a picture are letters of a line, also where these reach beyond it.

    Args:
        before, after: `(H, W, 3)`, the picture as it was and as a network has restored it; uint8 or uint16.
        line: whose letters are looked for.
        others: further lines, which do not count as surroundings.

    Returns:
        None if colours do not tell the letters, because their surroundings have the same.
    """
    size = before.shape[:2]
    rows, columns = widened(line.bounds(*size), round(line.height / 2), size)
    colours = stroke_colours(line, before, after, (line, *others))
    if colours is None:
        return None
    found = _letters(before[rows, columns], colours, line.covers(rows, columns))
    energy = level_change(before[rows, columns], after[rows, columns]).astype(np.float64) ** 2
    if _least_told(found, energy, line.moved(-columns.start, -rows.start)) < MIN_TOLD:
        return None
    letters = np.zeros(size, bool)
    letters[rows, columns] = found | _shadow(found, before[rows, columns], round(line.height / REACH))
    return letters


def _letters(pixels: Pixels, colours: Mask, inside: Mask) -> Mask:
    """Return which pixels of a part of the picture are letters of a line that covers `inside`."""
    from scipy import ndimage

    labels, count = ndimage.label(of_colours(pixels, colours, np.ones_like(inside)), np.ones((3, 3)))
    # shapes that lie mostly outside are not letters of this line
    belongs = 2 * np.bincount(labels[inside], minlength=count + 1) > np.bincount(labels.ravel(), minlength=count + 1)
    belongs[0] = False
    letters: Mask = ndimage.distance_transform_edt(~belongs[labels]) <= EDGE
    return letters


def _least_told(letters: Mask, energy: NDArray[np.float64], line: TextLine) -> float:
    """Return the part of the squared change that letters hold: the least of stretches as long as the line is high."""
    height, width = letters.shape
    y, x = np.nonzero(line.covers(slice(0, height), slice(0, width)))
    origin, *ends = line.corners[[0, 1, 3]]
    along = max((end - origin for end in ends), key=lambda side: float(side @ side))
    length = float(np.linalg.norm(along))
    count = max(1, round(length / line.height))
    place = (np.stack([x, y], axis=1) + 0.5 - origin) @ along / length**2
    stretch = (place * count).astype(np.intp).clip(0, count - 1)
    total = np.bincount(stretch, energy[y, x], count)
    told = np.bincount(stretch, energy[y, x] * letters[y, x], count)
    holds_letters = total > MIN_ENERGY * total.mean()
    return float((told[holds_letters] / total[holds_letters]).min()) if holds_letters.any() else 0.0


def _shadow(letters: Mask, pixels: Pixels, reach: int) -> Mask:
    """Return which pixels around letters are their shadow: darker in some directions, up to some distance.

    A background that is darker in one place only does not matter, because all letters count together.
    """
    from scipy import ndimage

    distance, nearest = ndimage.distance_transform_edt(~letters, return_indices=True)
    near = ~letters & (distance < 2 * reach + 0.5)
    down, across = (at - from_at[near] for at, from_at in zip(np.nonzero(near), nearest, strict=True))
    steps = np.rint(distance[near]).astype(np.intp)
    del distance, nearest  # they are large
    turn = np.arctan2(down, across) / (2.0 * np.pi)
    direction = np.floor((turn + 1.0) * DIRECTIONS + 0.5).astype(np.intp) % DIRECTIONS
    place, shape = direction * (2 * reach + 1) + steps, (DIRECTIONS, 2 * reach + 1)
    counts = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(place, pixels[near].mean(axis=1), minlength=shape[0] * shape[1]).reshape(shape)
    far = sums[:, reach + 1 :].sum(axis=1) / np.maximum(1, counts[:, reach + 1 :].sum(axis=1))
    darker = 1.0 - sums / np.maximum(1, counts) / np.maximum(far, 1.0)[:, None]
    darker[counts < MIN_PIXELS] = 0.0
    begins = darker[:, 1] >= DARK
    begins &= np.roll(begins, 1) | np.roll(begins, -1)
    # a shadow that does not end within its reach is no shadow
    is_shadow = np.cumprod(darker[:, 1 : reach + 1] >= DARK / 2, axis=1).astype(bool)
    length = np.where(begins & ~is_shadow.all(axis=1), is_shadow.sum(axis=1), 0)
    shadow = np.zeros_like(letters)
    shadow[near] = steps <= length[direction]
    return shadow
