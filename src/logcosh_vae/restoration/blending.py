"""What covers a picture is replaced and the rest of it stays as it is; tall text is looked for on a smaller copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .augmentation import FlipEnsemble
from .network import RestorationNetwork
from .tiling import restore

COVERING = ("text", "impulse")
"""Tasks whose corruption leaves the other pixels as they are."""

FAINT, PLAIN = 8, 20
"""Changes of the smaller copy, of 255, from which a pixel begins to be taken over, and from which it is wholly."""

SPREAD = 5
"""Pixels of the smaller copy around a change that are taken over with it: the soft edges of text."""

STRIP = 256
"""Rows of a strip."""

Pixels = NDArray[np.unsignedinteger]


def _resized(channel: NDArray[np.generic], size: tuple[int, int], filter: Image.Resampling) -> NDArray[np.float32]:
    """One channel `(H, W)` at width and height `size`."""
    return np.asarray(Image.fromarray(channel.astype(np.float32)).resize(size, filter))


def changed(before: Pixels, after: Pixels) -> NDArray[np.float32]:
    """How much of each pixel `(H, W)` is taken over, in [0, 1]: all where it or a near one has changed plainly."""
    largest = float(np.iinfo(before.dtype).max)
    change = np.abs(after.astype(np.float32) - before.astype(np.float32)).max(axis=2) * (255.0 / largest)
    share = np.clip((change - FAINT) / (PLAIN - FAINT), 0.0, 1.0)
    wide = Image.fromarray((255.0 * share).astype(np.uint8)).filter(ImageFilter.MaxFilter(SPREAD))
    return np.asarray(wide.filter(ImageFilter.BoxBlur(1)), np.float32) / 255.0


def restore_changed(
    network: RestorationNetwork | FlipEnsemble,
    picture: Pixels,
    scale: float,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Restore a smaller copy, and take over from it what it has changed; the other pixels stay as they are, bit by bit.

    Args:
        network: in evaluation mode, on its device.
        picture: `(H, W, 3)`, uint8 or uint16.
        scale: of the smaller copy, above 0 and at most 1.
        progress: called with the tiles done and all of them.

    Returns:
        The same shape and type.

    Raises:
        ValueError: the scale is out of range.
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"scale must be above 0 and at most 1; got {scale}")
    height, width, channels = picture.shape
    largest = float(np.iinfo(picture.dtype).max)
    small = picture if scale == 1.0 else _shrunk(picture, scale)
    restored = restore(network, small, progress=progress)
    share = np.empty(small.shape[:2], np.float32)
    for rows in _strips(len(small)):
        near = slice(max(0, rows.start - SPREAD), rows.stop + SPREAD)  # what is taken over depends on no pixel beyond
        share[rows] = changed(small[near], restored[near])[rows.start - near.start :][: rows.stop - rows.start]
    if small is not picture:
        share = _resized(share, (width, height), Image.Resampling.BILINEAR)
    result = picture.copy()
    for channel in range(channels):
        filled: NDArray[Any] = restored[..., channel]
        if small is not picture:
            filled = _resized(filled, (width, height), Image.Resampling.BICUBIC)
        for rows in _strips(height):
            before = picture[rows, :, channel].astype(np.float32)
            after = np.rint((before + share[rows] * (filled[rows] - before)).clip(0.0, largest))
            # where nothing is taken over the pixel stays as it is, whatever rounding would make of it
            np.copyto(result[rows, :, channel], after.astype(picture.dtype), where=share[rows] > 0.0)
    return result


def _shrunk(picture: Pixels, scale: float) -> Pixels:
    height, width, channels = picture.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.empty((size[1], size[0], channels), picture.dtype)
    for channel in range(channels):
        shrunk = _resized(picture[..., channel], size, Image.Resampling.BOX)
        small[..., channel] = np.rint(shrunk.clip(0.0, float(np.iinfo(picture.dtype).max)))
    return small


def _strips(height: int) -> Iterator[slice]:
    """Rows that are worked on at once, so that memory for what is in between does not grow with the picture."""
    for top in range(0, height, STRIP):
        yield slice(top, min(top + STRIP, height))
