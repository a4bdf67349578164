"""Which network of the package suits a picture: `captions` for photographs, `text` for pictures full of text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .blending import largest_change
from .network import RestorationNetwork
from .tiling import restore

CLEAR_CHANGE = 12
"""A pixel counts as changed if a channel changes by at least this many of 255 levels."""

FULL_FRACTION = 0.22
"""A picture in which each network changes more than this fraction of the pixels is full of text. Measured: 30% and more
if text covers a quarter of the pixels; at most 16% by both in photographs with or without captions."""

MIN_COVERED = 0.2
"""Least fraction of a picture that the lines found in it cover if it is full of text; measured: 27% to 76%."""

SAMPLES, SAMPLE_SIZE = 3, 256
"""The fraction is measured on `SAMPLES` by `SAMPLES` squares of this size, spread evenly over the picture."""

Pixels = NDArray[np.unsignedinteger]


def is_full_of_text(networks: Iterable[RestorationNetwork], picture: Pixels) -> bool:
    """Return whether text covers so much of a picture that the network `text` restores it best.

    Args:
        networks: those of the package for text. One alone takes some textures for text, the other one takes others.
        picture: `(H, W, 3)`, uint8 or uint16.
    """
    return all(_changed_fraction(network, picture) > FULL_FRACTION for network in networks)


def _changed_fraction(network: RestorationNetwork, picture: Pixels) -> float:
    """Return the fraction of the pixels of the samples that a network changes clearly."""
    changed = total = 0
    for rows in _samples(picture.shape[0]):
        for columns in _samples(picture.shape[1]):
            before = picture[rows, columns]
            clear = largest_change(before, restore(network, before)) >= CLEAR_CHANGE
            changed += int(clear.sum())
            total += clear.size
    return changed / total


def _samples(length: int) -> list[slice]:
    """Return evenly spaced parts of a side; one for the whole side if they would touch."""
    if length <= SAMPLES * SAMPLE_SIZE:
        return [slice(0, length)]
    starts = np.linspace(0, length - SAMPLE_SIZE, SAMPLES).astype(int)
    return [slice(int(start), int(start) + SAMPLE_SIZE) for start in starts]
