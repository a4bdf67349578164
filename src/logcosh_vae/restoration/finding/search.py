"""Find the lines of text in a picture of any size, in bounded memory.

    lines = find_text(pixels)
    mask = text_mask(lines, *pixels.shape[:2])

The detector looks at a reduced copy, because it takes textures for text at full resolution, and needs less time. It
does not know letters that the border of a picture cuts. Therefore it looks at the borders a second time, mirrored: half
a letter and its mirror image look like one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import scratch
from ..region import Region
from ..resizing import shrink
from .detector import TextDetector, load_detector
from .lines import TextLine, find_lines, paint

Pixels = NDArray[np.unsignedinteger]

SHORT_SIDE = 736
"""Shorter side of the copy that the detector looks at, in pixels; a smaller picture is not enlarged."""

MAX_RELATIVE_HEIGHT = 0.4
"""A line is at most this part of the shorter side in height; whatever is larger is a texture."""

MARGIN = 64
"""Pixels around a part of a picture that the detector looks at as well."""

BORDER_DEPTH, MIRRORED, CUT_HEIGHT = 160, 24, 80
"""Pixels of the copy along each border that are looked at again, how many of them are mirrored, and how high a line may
be that is found there: what is higher is a shape that its mirror image has completed."""

COVERED = 0.8
"""A line counts as found already if others cover at least this part of it."""

WINDOW, OVERLAP = 1024, 256
"""Size of the parts of a long copy that the detector looks at, and how far they overlap, in pixels."""


def find_text(picture: Pixels, detector: TextDetector | None = None, *, tallest: float | None = None) -> list[TextLine]:
    """Return the lines of text in a picture, from the top to the bottom.

    Args:
        picture: `(H, W, 3)`, RGB, uint8 or uint16.
        detector: None for the one of the extra `text`.
        tallest: largest height of a line in pixels; by default `MAX_RELATIVE_HEIGHT` of the shorter side.

    Raises:
        MissingPackageError, RunError: see `load_detector`.
    """
    detector = detector or load_detector()
    height, width = picture.shape[:2]
    scale = min(1.0, SHORT_SIDE / min(height, width))
    copy = picture if scale == 1.0 else shrink(picture, scale)
    probability = _probability(copy, detector)
    tallest = MAX_RELATIVE_HEIGHT * min(height, width) if tallest is None else tallest
    across_down = (width / copy.shape[1], height / copy.shape[0])
    lines = [line for line in find_lines(probability, across_down) if line.height <= tallest]
    for line in _lines_at_borders(copy, detector, across_down):
        if line.height <= tallest and not _is_covered(line, lines, height, width):
            lines = [*(other for other in lines if not _is_covered(other, [line], height, width)), line]
    return sorted(lines, key=lambda line: tuple(line.corners.min(axis=0)[::-1]))


def find_text_in(picture: Pixels, region: Region) -> list[TextLine]:
    """Return the lines of text in and around a part of a picture; only this part is looked at.

    Raises:
        RegionError: see `Region.bounds`.
        MissingPackageError, RunError: see `load_detector`.
    """
    height, width = picture.shape[:2]
    rows, columns = (
        slice(max(0, part.start - MARGIN), min(length, part.stop + MARGIN))
        for part, length in zip(region.bounds(height, width), (height, width), strict=True)
    )
    lines = find_text(picture[rows, columns], tallest=MAX_RELATIVE_HEIGHT * min(height, width))
    return [line.moved(columns.start, rows.start) for line in lines]


def _lines_at_borders(copy: Pixels, detector: TextDetector, across_down: tuple[float, float]) -> Iterator[TextLine]:
    """Yield the lines that a border cuts, in pixels of the picture; some are found without this, too.

    Args:
        copy: the reduced copy.
        detector: looks at the mirrored borders.
        across_down: pixels of the picture for a pixel of the copy.
    """
    for axis, at_end in ((0, False), (0, True), (1, False), (1, True)):
        length = copy.shape[axis]
        depth = min(BORDER_DEPTH, length)
        if depth <= MIRRORED:
            continue
        border = [slice(None), slice(None)]
        border[axis] = slice(length - depth, length) if at_end else slice(0, depth)
        widths = [(0, 0), (0, 0), (0, 0)]
        widths[axis] = (0, MIRRORED) if at_end else (MIRRORED, 0)
        mirrored = np.pad(copy[tuple(border)], widths, mode="reflect")
        coordinate, scale = 1 - axis, across_down[1 - axis]  # corners have x first
        shift = np.zeros(2)
        shift[coordinate] = scale * (length - depth if at_end else -MIRRORED)
        for line in find_lines(_probability(mirrored, detector), across_down):
            corners = line.corners + shift
            along = corners[:, coordinate]
            is_cut = along.max() > scale * length if at_end else along.min() < 0.0
            if is_cut and line.height <= CUT_HEIGHT * scale:
                yield replace(line, corners=corners)


def _is_covered(line: TextLine, others: Sequence[TextLine], height: int, width: int) -> bool:
    """Return whether others cover nearly all of the part of a line that is in a picture of that size."""
    rows, columns = line.bounds(height, width)
    inside = line.covers(rows, columns)
    uncovered = inside.copy()
    for other in others:
        uncovered &= ~other.covers(rows, columns)
    return int(uncovered.sum()) <= (1.0 - COVERED) * int(inside.sum())


def _probability(copy: Pixels, detector: TextDetector) -> NDArray[np.float32]:
    """Return the output of the detector for a reduced copy, window by window if it is long."""
    height, width = copy.shape[:2]
    result = np.zeros((height, width), np.float32)
    for rows in _windows(height):
        for columns in _windows(width):
            seen = detector.probability(copy[rows, columns])
            np.maximum(result[rows, columns], seen, out=result[rows, columns])
    return result


def _windows(length: int) -> Iterator[slice]:
    """Yield overlapping parts of equal size that cover a side of a picture."""
    count = 1 if length <= WINDOW + OVERLAP else -(-(length - OVERLAP) // (WINDOW - OVERLAP))
    size = -(-(length + (count - 1) * OVERLAP) // count)
    for index in range(count):
        start = min(index * (size - OVERLAP), length - size)
        yield slice(start, start + size)


def text_mask(lines: Sequence[TextLine], height: int, width: int) -> NDArray[np.bool_]:
    """Return `(height, width)`, true where a picture of that size has lines of text."""
    mask = scratch.empty((height, width), bool)
    mask[:] = False
    paint(lines, mask)
    return mask
