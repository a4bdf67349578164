"""Lines of text from the output of the detector, and the pixels that they cover.

A line is a rectangle that may be rotated. It is the smallest one around a connected area of high probability, enlarged
because the detector marks the inner part of each line only (Liao et al. 2020, "Real-time Scene Text Detection with
Differentiable Binarization").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..scratch import STRIP_ROWS

PROBABILITY = 0.3
"""Pixels above this belong to a line."""

SCORE = 0.8
"""Least mean probability of a line. With 0.7 the detector finds 1% more of the text, and takes textures for text."""

UNCLIP = 1.4
"""How far a line is enlarged: by this times its area divided by its perimeter."""

MIN_SIDE = 3.0
"""Least height of an area in pixels of the detector's output."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so lines are compared by identity
class TextLine:
    """A line of text in a picture.

    Attributes:
        corners: `(4, 2)`, x and y in pixels, one after another around the rectangle; they may lie outside.
        height: shorter side of the rectangle in pixels; about 1.4 times the font size.
        score: mean probability, in [0, 1].
    """

    corners: NDArray[np.float64]
    height: float
    score: float

    @property
    def area(self) -> float:
        """Area of the rectangle in pixels."""
        first, second, third = self.corners[:3]
        return abs(_cross(second - first, third - second))

    def moved(self, across: float, down: float) -> TextLine:
        """Return the line moved to the right and down by some pixels."""
        return replace(self, corners=self.corners + np.array([across, down], np.float64))

    def scaled(self, scale: float) -> TextLine:
        """Return the line in a picture of another size."""
        return replace(self, corners=self.corners * scale, height=self.height * scale)

    def holding(self, mask: NDArray[np.bool_]) -> TextLine:
        """Return the line, enlarged as far as it has to be to hold the true pixels of a mask `(H, W)`."""
        y, x = np.nonzero(mask)
        origin, along, down = self.corners[0], self.corners[1] - self.corners[0], self.corners[3] - self.corners[0]
        points = np.stack([x, y], axis=1) + 0.5 - origin
        # corners relative to the rectangle: 0 and 1 are its sides
        low, high = np.zeros(2), np.ones(2)
        for axis, side in enumerate((along, down)):
            place, half = points @ side / (side @ side), 0.5 / np.linalg.norm(side)
            low[axis] = min(0.0, *(place - half)) if len(place) else 0.0
            high[axis] = max(1.0, *(place + half)) if len(place) else 1.0
        sides = np.stack([along, down])
        corners = origin + np.array([low, (high[0], low[1]), high, (low[0], high[1])]) @ sides
        return replace(self, corners=corners)

    def bounds(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns of a picture of that size that the line touches."""
        (left, top), (right, bottom) = np.floor(self.corners.min(axis=0)), np.ceil(self.corners.max(axis=0))
        rows = slice(min(height, max(0, int(top))), min(height, max(0, int(bottom))))
        return rows, slice(min(width, max(0, int(left))), min(width, max(0, int(right))))

    def covers(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return which pixels of these rows and columns have their centre in the rectangle."""
        y, x = np.arange(rows.start, rows.stop)[:, None] + 0.5, np.arange(columns.start, columns.stop) + 0.5
        inside = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
        nexts = np.roll(self.corners, -1, axis=0)
        turn = np.sign(_cross(nexts[0] - self.corners[0], nexts[1] - self.corners[1])) or 1.0
        for (x0, y0), (x1, y1) in zip(self.corners, nexts, strict=True):
            inside &= turn * ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) >= 0.0
        return inside


def _cross(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(first[0] * second[1] - first[1] * second[0])


def find_lines(probability: NDArray[np.floating], scale: tuple[float, float] = (1.0, 1.0)) -> Iterator[TextLine]:
    """Yield the lines in the output of the detector.

    Args:
        probability: `(h, w)`, as returned by `TextDetector.probability`.
        scale: pixels of the picture for a pixel of the output, across and down.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(probability > PROBABILITY, np.ones((3, 3)))
    across_down = np.array(scale)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        area = labels[rows, columns] == number
        score = float(probability[rows, columns][area].mean())
        if score < SCORE:
            continue
        y, x = np.nonzero(area)
        axes, low, high = smallest_rectangle(np.stack([x + columns.start, y + rows.start], axis=1))
        sides = high - low
        if sides.min() < MIN_SIDE:
            continue
        margin = UNCLIP * sides.prod() / (2.0 * sides.sum())
        (left, top), (right, bottom) = low - margin, high + margin
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) @ axes * across_down
        lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
        yield TextLine(corners, float(lengths.min()), score)


def smallest_rectangle(
    pixels: NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the rectangle of the smallest area that holds pixels. One of its sides lies on an edge of their hull.

    Args:
        pixels: `(N, 2)`, x and y of each; a pixel is the square from there to (x + 1, y + 1).

    Returns:
        The axes as rows of a rotation `(2, 2)`, and the least and largest coordinates along them.
    """
    from scipy.spatial import ConvexHull

    points = (pixels[:, None] + np.array([(0, 0), (0, 1), (1, 0), (1, 1)])).reshape(-1, 2).astype(np.float64)
    hull = points[ConvexHull(points).vertices]
    edges = np.roll(hull, -1, axis=0) - hull
    angles = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (np.pi / 2))
    cos, sin = np.cos(angles), np.sin(angles)
    axes = np.stack([np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)], axis=1)  # angle, axis, x and y
    along = hull @ axes.transpose(0, 2, 1)  # angle, point, axis
    low, high = along.min(axis=1), along.max(axis=1)
    best = int((high - low).prod(axis=1).argmin())
    return axes[best], low[best], high[best]


def paint(lines: Sequence[TextLine], mask: NDArray[np.bool_]) -> None:
    """Set the pixels `(H, W)` that the lines cover to true."""
    for line in lines:
        rows, columns = line.bounds(*mask.shape)
        for top in range(rows.start, rows.stop, STRIP_ROWS):
            strip = slice(top, min(top + STRIP_ROWS, rows.stop))
            mask[strip, columns] |= line.covers(strip, columns)
