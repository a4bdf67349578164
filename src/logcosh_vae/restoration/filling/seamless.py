"""Copied pixels without seams: their differences are kept rather than their values.

After Pérez et al. (2003), "Poisson Image Editing".
"""

from __future__ import annotations

import numpy as np

from .levels import Mask, Values
from .patches import STEPS, Indices

TOLERANCE, MAX_ROUNDS = 1e-3, 200
"""When the solver stops: at this relative residual, or after as many rounds."""


def blend(pixels: Values, hole: Mask, origins: Indices, length: float, correction: Values | None = None) -> Values:
    """Return values `(N, 3)` for the pixels of a hole.

    They minimise the squared deviations of the differences between neighbours from those of the copied pixels, plus
    `1 / length ** 2` times the squared deviations from the copied values. At the edge of the hole the neighbour is
    known.

    Args:
        pixels: `(H, W, 3)`; those of the hole are not looked at.
        hole: `(H, W)`, N pixels.
        origins: `(2, N)`, row and column of the known pixel that is copied to each pixel of the hole, in reading order.
        length: distance in pixels over which a seam fades.
        correction: `(N, 3)`, an estimate of the result minus the copied values, from which the solver starts.
    """
    from scipy import sparse
    from scipy.sparse.linalg import cg

    (height, width), (rows, columns) = hole.shape, origins
    at_rows, at_columns = np.nonzero(hole)
    count, copied = len(at_rows), pixels[rows, columns].astype(np.float64)
    number = np.full(hole.shape, -1, np.intp)
    number[at_rows, at_columns] = np.arange(count)
    attachment = 1.0 / length**2
    diagonal, right = np.full(count, attachment), attachment * copied
    firsts, seconds = list[Indices](), list[Indices]()
    for down, across in STEPS:
        near, origin = (at_rows + down, at_columns + across), (rows + down, columns + across)
        which = np.flatnonzero(_inside(*near, height, width) & _inside(*origin, height, width))
        which = which[~hole[origin[0][which], origin[1][which]]]  # the copied neighbour is known
        difference = pixels[origin[0][which], origin[1][which]] - copied[which]
        neighbour = number[near[0][which], near[1][which]]
        edge, inner = neighbour < 0, neighbour >= 0
        place = which[edge]
        diagonal[place] += 1.0
        right[place] += pixels[near[0][place], near[1][place]] - difference[edge]
        # each pair inside occurs twice, with the difference by either pixel's origin, so half of each counts
        first, second, half = which[inner], neighbour[inner], 0.5 * difference[inner]
        np.add.at(diagonal, first, 0.5)
        np.add.at(diagonal, second, 0.5)
        np.subtract.at(right, first, half)
        np.add.at(right, second, half)
        firsts += [first, second]
        seconds += [second, first]
    everything = np.arange(count)
    off_diagonal = np.full(sum(map(len, firsts)), -0.5)
    entries = np.concatenate([off_diagonal, diagonal])
    matrix = sparse.csr_matrix(
        (entries, (np.concatenate([*firsts, everything]), np.concatenate([*seconds, everything]))), (count, count)
    )
    start = copied if correction is None else copied + correction
    result = np.empty((count, 3), np.float32)
    for channel in range(3):
        solution, _ = cg(matrix, right[:, channel], start[:, channel], rtol=TOLERANCE, maxiter=MAX_ROUNDS)
        result[:, channel] = solution
    return result


def _inside(rows: Indices, columns: Indices, height: int, width: int) -> Mask:
    return (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
