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
from .filling.fill import STEPS
from .finding.lines import TextLine, paint
from .letters import fill_letters
from .network import RestorationNetwork
from .resizing import strips
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
        lines: those that were restored, enlarged to hold letters that reach beyond them.
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
    others are told of all strokes of these colours. Letters of lines that are too tall for the network are filled with
    texture, if their colours tell their shape; what lies between them keeps its exact values.

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
    work = [_work(network, members, _tile_count(window, chosen), chosen) for chosen, window, members in jobs]
    result, removed = onto, list[TextLine]()
    for index, (chosen, (rows, columns), members) in enumerate(jobs):
        report = _offset(progress, sum(work[:index]), sum(work))
        moved, moved_all = ([line.moved(-columns.start, -rows.start) for line in each] for each in (members, lines))
        restored = _restore_window(network, picture[rows, columns], chosen, moved, moved_all, report)
        for member, given, line in zip(members, moved, restored.lines, strict=True):
            if line is not None:
                removed.append(member if line is given else line.moved(columns.start, rows.start))
        if any(restored.lines):
            result = scratch.copy(picture) if result is None else result
            for strip in strips(len(restored.pixels), STRIP_ROWS):
                at = slice(rows.start + strip.start, rows.start + strip.stop)
                here = restored.mask[strip] if allowed is None else restored.mask[strip] & allowed[at, columns]
                result[at, columns][here] = restored.pixels[strip][here]
            scratch.release(result, restored.pixels, allowed)
    return Removed(picture if result is None else result, tuple(removed))


@dataclass(frozen=True)
class _Window:
    """A restored window of a picture.

    Attributes:
        pixels: `(h, w, 3)`.
        mask: `(h, w)`, the pixels to take.
        lines: the given lines, enlarged to hold letters that reach beyond them; None for those that were left alone.
    """

    pixels: Pixels
    mask: NDArray[np.bool_]
    lines: list[TextLine | None]


def _restore_window(
    network: RestorationNetwork | FlipEnsemble,
    before: Pixels,
    scale: float,
    lines: Sequence[TextLine],
    all_lines: Sequence[TextLine],
    progress: Progress | None,
) -> _Window:
    """Restore a window of a picture. Large letters are filled with texture, if their colours tell their shape.

    Args:
        network, scale: see `remove_lines`.
        before: the pixels of the window.
        lines: the lines to remove in it, in pixels of the window.
        all_lines: those of the picture, in pixels of the window.
        progress: called after each tile.
    """
    size = (len(before), before.shape[1])
    tiles, passes = _tile_count((slice(0, size[0]), slice(0, size[1])), scale), _pass_count(network)
    total = _work(network, lines, tiles, scale)
    # mirror images would improve the hints little
    scout = network.network if isinstance(network, FlipEnsemble) and network.takes_hint else network
    after = restore_changed(scout, before, scale, progress=_offset(progress, 0, total))
    is_clear = [_changed_fraction(line, before, after) >= MIN_CHANGED for line in lines]
    clear = list(compress(lines, is_clear))
    strokes = np.zeros(size, bool)
    for number in range(1, passes if clear else 1):
        strokes |= find_strokes(before, after, clear, all_lines)
        model = scout if number < HINTED_PASSES else network
        after = restore_changed(model, before, scale, hint=strokes, progress=_offset(progress, number * tiles, total))
    window = _Window(
        after, np.zeros(size, bool), [line if here else None for line, here in zip(lines, is_clear, strict=True)]
    )
    if scale == 1.0:
        paint(clear, window.mask)
        return window
    return _with_filled_letters(window, before, all_lines, _offset(progress, passes * tiles, total))


def _with_filled_letters(
    window: _Window, before: Pixels, all_lines: Sequence[TextLine], progress: Progress | None
) -> _Window:
    """Return a window whose letters are filled if their colours tell them; otherwise it stays as the network left it.

    Args:
        window: what a network has made of large lines.
        before, all_lines, progress: see `_restore_window`.
    """
    pixels, mask, lines = window.pixels.copy(), window.mask.copy(), list(window.lines)
    for index, line in enumerate(window.lines):
        if line is None:
            continue
        others = [other for other in all_lines if not np.array_equal(other.corners, line.corners)]
        report = _offset(progress, index * STEPS, len(lines) * STEPS)
        filled = fill_letters(before, window.pixels, line, others, report)
        if filled is None:
            paint([line], mask)
            continue
        pixels[filled.part][filled.mask] = filled.pixels[filled.mask]
        mask[filled.part] |= filled.mask
        rows, columns = filled.part
        inside = line.moved(-columns.start, -rows.start)
        lines[index] = inside.holding(filled.mask).moved(columns.start, rows.start)
    return _Window(pixels, mask, lines)


def _pass_count(network: RestorationNetwork | FlipEnsemble) -> int:
    return 1 + HINTED_PASSES if network.takes_hint else 1


def _work(network: RestorationNetwork | FlipEnsemble, lines: Sequence[TextLine], tiles: int, scale: float) -> int:
    """Return how many steps a window of so many tiles takes."""
    return _pass_count(network) * tiles + (len(lines) * STEPS if scale < 1.0 else 0)


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
