"""Restoration of the lines of text that were found in a picture, each at the scale that suits its height."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from . import scratch
from .augmentation import FlipEnsemble
from .blending import DILATION_SIZE, MIN_CHANGE, largest_change, restore_changed
from .finding.lines import TextLine
from .network import RestorationNetwork
from .scratch import STRIP_ROWS
from .strokes import find_strokes
from .tiling import TILE_SIZE, Progress

MAX_HEIGHT = 60.0
"""Height in pixels up to which a line is restored at full resolution; its font has at most 45 pixels."""

MIN_CHANGED = 0.03
"""Fraction of the pixels of a line that the network has to change clearly. Letters cover 10% and more of a line; where
the network changes less, there is probably no text, and the line is left alone."""

HINTED_PASSES = 2
"""How often a line is restored with a hint: each pass shows more of the strokes to the next one."""

Pixels = NDArray[np.unsignedinteger]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Removed:
    """The outcome for the lines of a picture.

    Attributes:
        pixels: the restored picture; the same array as before if nothing has changed.
        lines: those that were restored.
    """

    pixels: Pixels
    lines: tuple[TextLine, ...]


def line_scale(line: TextLine) -> float:
    """Return the scale at which a line is restored: the largest of 1, 1/2, 1/4, ... that makes it low enough."""
    return float(2.0 ** -max(0, math.ceil(math.log2(line.height / MAX_HEIGHT))))


def remove_lines(
    network: RestorationNetwork | FlipEnsemble,
    picture: Pixels,
    lines: Sequence[TextLine],
    *,
    allowed: NDArray[np.bool_] | None = None,
    scale: float | None = None,
    onto: Pixels | None = None,
    progress: Progress | None = None,
) -> Removed:
    """Restore the pixels that lines of text cover. Lines in which the network changes next to nothing are left alone.

    A network that takes a hint restores a line several times: its first pass shows the colours of the text, and the
    others are told of all strokes of these colours.

    Args:
        network: for the task `text`, in evaluation mode, on its device.
        picture: `(H, W, 3)`, uint8 or uint16.
        lines: see `finding.search.find_text`.
        allowed: `(H, W)`, change only where it is true; None for everywhere.
        scale: for all lines; by default that of `line_scale`.
        onto: the picture that receives the restored pixels, in place; by default a copy of `picture`.
        progress: called after each tile of each pass.
    """
    height, width = picture.shape[:2]
    lines = [line for line in lines if allowed is None or allowed[line.bounds(height, width)].any()]
    scales = [line_scale(line) if scale is None else scale for line in lines]
    jobs = [
        (chosen, window, members)
        for chosen in sorted(set(scales))
        for window, members in _clusters(
            [line for line, each in zip(lines, scales, strict=True) if each == chosen],
            (height, width),
            math.ceil((network.receptive_field_radius + DILATION_SIZE) / chosen),
            math.ceil(network.downsample_factor / chosen),
        )
    ]
    passes = [
        (1 + HINTED_PASSES if network.takes_hint else 1) * _tile_count(window, chosen) for chosen, window, _ in jobs
    ]
    result, removed = onto, list[TextLine]()
    for index, (chosen, (rows, columns), members) in enumerate(jobs):
        report = _offset(progress, sum(passes[:index]), sum(passes))
        moved, moved_all = ([line.moved(-columns.start, -rows.start) for line in each] for each in (members, lines))
        after, is_clear = _restore_window(network, picture[rows, columns], chosen, moved, moved_all, report)
        for line in compress(members, is_clear):
            result = scratch.copy(picture) if result is None else result
            removed.append(line)
            for strip, inside in _line_strips(line, height, width):
                here = inside if allowed is None else inside & allowed[strip]
                new = after[strip[0].start - rows.start : strip[0].stop - rows.start]
                result[strip][here] = new[:, strip[1].start - columns.start : strip[1].stop - columns.start][here]
            scratch.release(result, after, allowed)
    return Removed(picture if result is None else result, tuple(removed))


def _restore_window(
    network: RestorationNetwork | FlipEnsemble,
    before: Pixels,
    scale: float,
    lines: Sequence[TextLine],
    all_lines: Sequence[TextLine],
    progress: Progress | None,
) -> tuple[Pixels, list[bool]]:
    """Restore a window of a picture; return it, and whether the network changes each line clearly.

    Args:
        network, scale: see `remove_lines`.
        before: the pixels of the window.
        lines: the lines to remove in it, in pixels of the window.
        all_lines: those of the picture, in pixels of the window.
        progress: called after each tile.
    """
    rows, columns = before.shape[:2]
    tiles, passes = _tile_count((slice(0, rows), slice(0, columns)), scale), 1 + HINTED_PASSES
    # mirror images would improve the hints little
    scout = network.network if isinstance(network, FlipEnsemble) and network.takes_hint else network
    after = restore_changed(scout, before, scale, progress=progress)
    is_clear = [_changed_fraction(line, before, after) >= MIN_CHANGED for line in lines]
    if not (network.takes_hint and any(is_clear)):
        return after, is_clear
    strokes = np.zeros((rows, columns), bool)
    for number in range(1, passes):
        strokes |= find_strokes(before, after, list(compress(lines, is_clear)), all_lines)
        model = scout if number < HINTED_PASSES else network
        report = _offset(progress, number * tiles, passes * tiles)
        after = restore_changed(model, before, scale, hint=strokes, progress=report)
    return after, is_clear


def _line_strips(line: TextLine, height: int, width: int) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """Yield windows of a picture of that size that together hold a line, and which of their pixels it covers."""
    rows, columns = line.bounds(height, width)
    for top in range(rows.start, rows.stop, STRIP_ROWS):
        strip = slice(top, min(top + STRIP_ROWS, rows.stop))
        yield (strip, columns), line.covers(strip, columns)


def _changed_fraction(line: TextLine, before: Pixels, after: Pixels) -> float:
    """Return the fraction of a line's pixels that differ by at least `MIN_CHANGE` levels of 255."""
    changed = total = 0
    for part, inside in _line_strips(line, *before.shape[:2]):
        change = largest_change(before[part], after[part])
        changed += int((change[inside] >= MIN_CHANGE).sum())
        total += int(inside.sum())
    return changed / max(1, total)


def _clusters(
    lines: Sequence[TextLine], size: tuple[int, int], margin: int, alignment: int
) -> list[tuple[Window, list[TextLine]]]:
    """Group lines whose surroundings overlap, and return each group with the window that holds it and the margin.

    Args:
        lines: of one scale.
        size: height and width of the picture.
        margin: a restored pixel depends on no pixel further away than this.
        alignment: windows begin at multiples of this, as tiles do.
    """
    groups: list[tuple[list[int], list[TextLine]]] = []  # top, bottom, left, right
    for line in lines:
        rows, columns = line.bounds(*size)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        edges, members = [rows.start, rows.stop, columns.start, columns.stop], [line]
        while near := next((group for group in groups if _overlap(group[0], edges, margin)), None):
            groups.remove(near)
            edges = [pick(a, b) for pick, a, b in zip((min, max, min, max), edges, near[0], strict=True)]
            members = near[1] + members
        groups.append((edges, members))
    return [
        (
            (
                slice(max(0, top - margin) // alignment * alignment, min(size[0], bottom + margin)),
                slice(max(0, left - margin) // alignment * alignment, min(size[1], right + margin)),
            ),
            members,
        )
        for (top, bottom, left, right), members in groups
    ]


def _overlap(first: Sequence[int], second: Sequence[int], margin: int) -> bool:
    """Return whether rectangles (top, bottom, left, right) are less than the margin apart."""
    return all(first[i] < second[i + 1] + margin and second[i] < first[i + 1] + margin for i in (0, 2))


def _tile_count(window: Window, scale: float) -> int:
    sides = (math.ceil(scale * (part.stop - part.start)) for part in window)
    return math.prod(max(1, -(-side // TILE_SIZE)) for side in sides)


def _offset(progress: Progress | None, done: int, total: int) -> Callable[[int, int], None] | None:
    """Return the callback for one of several parts of the work."""
    if progress is None:
        return None
    return lambda tile, _: progress(min(done + tile, total), total)
