"""Fill a hole of a picture with texture from its surroundings, coarse to fine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..tiling import Progress
from .levels import Level, Mask, Values, continued, pyramid, thickness
from .patches import Indices, PatchField
from .seamless import blend

ESTIMATES = (10, 6, 3)
"""How often the patches of a level are searched and the hole is estimated anew: on the coarsest of three or more
levels, on the next one, and on all others. Thinner holes, which have fewer levels, begin with a later number."""

SEARCHES = 1
"""Rounds of each search."""

MAX_PATCHES = 40_000
"""Levels that would have about as many patches to fill, or more, are not searched: four times those of the next coarser
level. They copy from where that level has copied from."""

SEAM = 1 / 3
"""Distance over which a seam fades, relative to the thickness of the hole."""

STEPS = sum(ESTIMATES)
"""Number of steps that `progress` is told; holes that are thin need fewer."""

Pixels = NDArray[np.unsignedinteger]


def fill_hole(
    pixels: Pixels,
    hole: Mask,
    *,
    usable: Mask | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Pixels:
    """Return a picture whose hole is filled with what its surroundings show; all other pixels keep their exact values.

    Texture is copied from the surroundings, and its seams are removed. What the hole has hidden is not known: objects
    that lie in it only are gone. If there is too little to copy, the surroundings are continued smoothly.

    Args:
        pixels: `(H, W, 3)`, uint8 or uint16.
        hole: `(H, W)`, true for the pixels to fill, whose values do not matter.
        usable: `(H, W)`, true for the pixels that may be copied; by default all outside of the hole.
        seed: of the random search; the same seed gives the same result.
        progress: called with the number of steps that are done, and their total.

    Raises:
        ValueError: everything is a hole, or the shapes differ.

    Example:
        >>> stripes = np.zeros((48, 64, 3), np.uint8)
        >>> stripes[:, ::4] = 255
        >>> hole = np.zeros((48, 64), bool)
        >>> hole[20:30, 20:40] = True
        >>> damaged = np.where(hole[..., None], np.uint8(128), stripes)
        >>> bool((fill_hole(damaged, hole) == stripes).all())
        True
    """
    if hole.shape != pixels.shape[:2]:
        raise ValueError(f"the hole must be {pixels.shape[:2]}, as the picture; got {hole.shape}")
    if hole.all():
        raise ValueError("the hole is the whole picture, so there is nothing to fill it from")
    result = pixels.copy()
    if not hole.any():
        return result
    unit = np.iinfo(pixels.dtype).max / 255.0
    levels = pyramid(
        (pixels / unit).astype(np.float32),
        hole,
        ~hole if usable is None else usable & ~hole,
    )
    filled = _filled(levels, np.random.default_rng(seed), progress)
    result[hole] = np.rint((filled * unit).clip(0.0, np.iinfo(pixels.dtype).max)).astype(pixels.dtype)
    return result


def _filled(levels: list[Level], rng: np.random.Generator, progress: Progress | None) -> Values:
    """Return the values `(N, 3)` of the hole at the finest of the levels, in levels of 255."""
    if not levels[0].known_patches().any():
        return continued(levels[-1].pixels, levels[-1].hole)[levels[-1].hole]
    field, done, searched = None, 0, 0
    for level in levels:
        if field is not None and len(field) > MAX_PATCHES // 4:
            break
        coarser, field = field, PatchField(level, thickness(level.hole), rng)
        if coarser is not None:
            field.start_from(coarser)
        stage = searched + max(0, len(ESTIMATES) - len(levels))
        for _ in range(ESTIMATES[min(stage, len(ESTIMATES) - 1)]):
            field.search(SEARCHES)
            field.vote()
            done += 1
            if progress is not None:
                progress(min(done, STEPS - 1), STEPS)
        searched += 1
    assert field is not None  # there is a level
    if searched == len(levels):
        field.search(SEARCHES)
    origins = field.origins()
    values, correction = _blended(levels[searched - 1], origins)
    for coarse, fine in pairwise(levels[searched - 1 :]):
        parents = _parents(coarse.hole, fine.hole)
        origins = _doubled(origins, parents, fine.hole)
        values, correction = _blended(fine, origins, correction[parents])
    if progress is not None:
        progress(STEPS, STEPS)
    return values


def _blended(level: Level, origins: Indices, correction: Values | None = None) -> tuple[Values, Values]:
    """Return the values `(N, 3)` of the hole without seams, and how they differ from what is copied."""
    length = max(1.0, SEAM * thickness(level.hole))
    values = blend(level.pixels, level.hole, origins, length, correction)
    return values, values - level.pixels[tuple(origins)]


def _parents(coarse: Mask, fine: Mask) -> Indices:
    """Return the number `(N,)` of the pixel at half the resolution for each pixel of a hole."""
    number = np.full(coarse.shape, -1, np.intp)
    number[coarse] = np.arange(np.count_nonzero(coarse))
    rows, columns = np.nonzero(fine)
    parents: Indices = number[rows // 2, columns // 2]
    return parents


def _doubled(origins: Indices, parents: Indices, fine: Mask) -> Indices:
    """Return the origins `(2, N)` of the pixels of a hole from those at half the resolution."""
    doubled: Indices = 2 * origins[:, parents] + np.stack(np.nonzero(fine)) % 2
    # the last row or column of the coarse level may have no second one at the fine level
    return doubled.clip(max=np.array(fine.shape)[:, None] - 1)
