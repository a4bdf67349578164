"""For each patch that touches a hole, the most similar patch outside of it.

The search is that of Barnes et al. (2009), "PatchMatch": a patch tries the neighbours of what its own neighbours have
found, and random places that become nearer and nearer. The hole is the mean of what its patches propose (Wexler et al.
2007, "Space-Time Completion of Video"). Similar means similar in colour and in texture, without which the smooth parts
of a picture win (Newson et al. 2014, "Video Inpainting of Complex Scenes").
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .levels import RADIUS, Level, Values, spread

TEXTURE_WEIGHT = 0.5
"""Of a squared difference in texture, relative to the mean squared difference of the pixels."""

DISTANCE_COST = 8.0
"""Squared levels that a patch costs more when it lies as far away as the hole is thick; four times at twice that."""

FADING = 2.0
"""A pixel of the hole counts this times less for each pixel that it lies deeper."""

LEAST_WEIGHT = 1e-9
"""Of a patch's proposal, so that a pixel for which all proposals are poor gets their mean."""

CHUNK = 8192
"""Patches that are compared at once, to bound the memory."""

STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))

Indices = NDArray[np.intp]


class PatchField:
    """A known patch for each patch that touches the hole of a level.

    Args:
        level: its pixels and texture are the estimate that patches are compared with.
        thickness: of the hole at this resolution, in pixels.
        rng: the source of randomness.

    Attributes:
        rows, columns: `(N,)`, the centres of the patches that touch the hole.
        source: `(H, W)`, the centres of the known patches.
        at_rows, at_columns: `(N,)`, the centre of the known patch of each.
        costs: `(N,)`, mean squared difference of the two, in squared levels, with texture and distance.
    """

    def __init__(self, level: Level, thickness: float, rng: np.random.Generator) -> None:
        self._level, self._rng, self._unit = level, rng, DISTANCE_COST / max(1.0, thickness) ** 2
        self._height, self._width = level.hole.shape
        self.source = level.known_patches()
        self.rows, self.columns = np.nonzero(spread(level.hole))
        self._number = np.full(level.hole.shape, -1, np.intp)
        self._number[self.rows, self.columns] = np.arange(len(self.rows))
        self._stride = self._width + 2 * RADIUS
        shift = np.arange(-RADIUS, RADIUS + 1)
        self._shifts = (shift[:, None] * self._stride + shift).ravel()
        self._weights = self._pixel_weights()
        self._prepare()
        known = np.flatnonzero(self.source)
        self.at_rows, self.at_columns = np.divmod(known[rng.integers(0, len(known), len(self.rows))], self._width)
        self.costs = self._cost(np.arange(len(self.rows)), self.at_rows, self.at_columns)

    def __len__(self) -> int:
        return len(self.rows)

    def start_from(self, coarse: PatchField) -> None:
        """Take the patches of a field of half the resolution, and fill the hole with them."""
        rows, columns = self.rows // 2, self.columns // 2
        numbers = coarse._number[rows, columns]
        at_rows = 2 * coarse.at_rows[numbers] + self.rows % 2
        at_columns = 2 * coarse.at_columns[numbers] + self.columns % 2
        self._try(np.where(numbers < 0, -1, at_rows), at_columns, always=True)
        self.vote()

    def search(self, rounds: int) -> None:
        """Look for better patches."""
        self._prepare()
        everything = np.arange(len(self))
        self.costs = self._cost(everything, self.at_rows, self.at_columns)
        for number in range(rounds):
            for step in (8, 4, 2, 1) if number == 0 else (1,):
                for down, across in STEPS:
                    rows, columns = self.rows + step * down, self.columns + step * across
                    inside = (rows >= 0) & (rows < self._height) & (columns >= 0) & (columns < self._width)
                    neighbours = np.where(
                        inside, self._number[rows.clip(0, self._height - 1), columns.clip(0, self._width - 1)], -1
                    )
                    neighbours = np.where(neighbours < 0, everything, neighbours)
                    self._try(self.at_rows[neighbours] - step * down, self.at_columns[neighbours] - step * across)
            reach = max(self._height, self._width)
            while reach >= 1:
                away = self._rng.integers(-reach, reach + 1, (2, len(self)))
                self._try(self.at_rows + away[0], self.at_columns + away[1])
                reach //= 2

    def vote(self) -> None:
        """Set the hole to the mean of what its patches propose, the most similar ones counting most."""
        level = self._level
        # the scale of Newson et al.: most patches have a say, and poor ones hardly any
        scale = 2.0 * float(np.percentile(self.costs, 75)) + 1e-6
        weights = np.exp(-self.costs / scale).clip(LEAST_WEIGHT)
        rows, columns = np.nonzero(level.hole)
        total = np.zeros((len(rows), 1), np.float32)
        pixels, texture = np.zeros((len(rows), 3), np.float32), np.zeros((len(rows), 2), np.float32)
        for which, numbers, from_rows, from_columns in self._proposals(rows, columns):
            weight = weights[numbers, None]
            total[which] += weight
            pixels[which] += weight * level.pixels[from_rows, from_columns]
            texture[which] += weight * level.texture[from_rows, from_columns]
        level.pixels[rows, columns] = pixels / total
        level.texture[rows, columns] = texture / total

    def origins(self) -> Indices:
        """Return row and column of a known pixel, `(2, N)`, for each one of the hole: from its most similar patch."""
        rows, columns = np.nonzero(self._level.hole)
        least = np.full(len(rows), np.inf, np.float32)
        origins = np.zeros((2, len(rows)), np.intp)
        for which, numbers, from_rows, from_columns in self._proposals(rows, columns):
            better = self.costs[numbers] < least[which]
            which = which[better]
            least[which] = self.costs[numbers[better]]
            origins[:, which] = from_rows[better], from_columns[better]
        return origins

    def _proposals(self, rows: Indices, columns: Indices) -> Iterator[tuple[Indices, Indices, Indices, Indices]]:
        """Yield, for each place in a patch, what pixels of the hole get from the patch in which they have that place.

        Args:
            rows, columns: of pixels of the hole.

        Yields:
            Which of the pixels have such a patch, the number of it, and the rows and columns of the proposed pixels.
        """
        for down in range(-RADIUS, RADIUS + 1):
            for across in range(-RADIUS, RADIUS + 1):
                top, left = rows - down, columns - across
                which = np.flatnonzero((top >= 0) & (top < self._height) & (left >= 0) & (left < self._width))
                numbers = self._number[top[which], left[which]]
                yield which, numbers, self.at_rows[numbers] + down, self.at_columns[numbers] + across

    def _try(self, rows: Indices, columns: Indices, *, always: bool = False) -> None:
        """Take the known patches at these centres `(N,)` where they are more similar; or wherever there are any."""
        inside = (rows >= 0) & (rows < self._height) & (columns >= 0) & (columns < self._width)
        which = np.flatnonzero(inside & ((rows != self.at_rows) | (columns != self.at_columns)))
        which = which[self.source[rows[which], columns[which]]]
        costs = self._cost(which, rows[which], columns[which])
        better = np.full(len(which), True) if always else costs < self.costs[which]
        which = which[better]
        self.costs[which] = costs[better]
        self.at_rows[which], self.at_columns[which] = rows[which], columns[which]

    def _cost(self, which: Indices, rows: Indices, columns: Indices) -> Values:
        """Return the costs `(n,)` of known patches at these centres for the patches of these numbers."""
        costs = np.empty(len(which), np.float32)
        for start in range(0, len(which), CHUNK):
            part = slice(start, start + CHUNK)
            difference = self._padded[self._places(rows[part], columns[part])]
            difference -= self._patches[which[part]]
            costs[part] = np.einsum("nkc,nkc,nk->n", difference, difference, self._weights[which[part]])
        texture = self._level.texture[rows, columns] - self._textures[which]
        costs += np.float32(TEXTURE_WEIGHT) * (texture * texture).sum(axis=1)
        away = (rows - self.rows[which]) ** 2 + (columns - self.columns[which]) ** 2
        costs += (self._unit * away).astype(np.float32)
        return costs

    def _prepare(self) -> None:
        """Take the patches `(N, SIDE ** 2, 3)` and their textures from the present estimate."""
        pixels = np.pad(self._level.pixels, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="edge")
        self._padded = pixels.reshape(-1, 3)
        self._patches = self._padded[self._places(self.rows, self.columns)]
        self._textures = self._level.texture[self.rows, self.columns]

    def _places(self, rows: Indices, columns: Indices) -> Indices:
        """Return the places `(n, SIDE ** 2)` in the padded picture of the pixels of patches."""
        places: Indices = ((rows + RADIUS) * self._stride + columns + RADIUS)[:, None] + self._shifts
        return places

    def _pixel_weights(self) -> Values:
        """Return the weight `(N, SIDE ** 2)` of each pixel of a patch, 0 beyond the picture; their sum is 1."""
        from scipy import ndimage

        depth = ndimage.distance_transform_edt(self._level.hole)
        faded = np.pad((FADING**-depth).astype(np.float32), RADIUS).ravel()
        weights = faded[self._places(self.rows, self.columns)]
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
