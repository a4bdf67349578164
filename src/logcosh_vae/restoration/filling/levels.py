"""A picture with a hole at several resolutions, with a measure of its texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..resizing import resize_rows

RADIUS = 3
SIDE = 2 * RADIUS + 1
"""Side in pixels of the patches that are compared."""

TEXTURE_SIDE = 9
"""Side in pixels of the square over which gradients are averaged."""

MIN_SIDE = 5 * SIDE
"""Least height and width in pixels of a smaller copy."""

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """A picture at one resolution.

    Attributes:
        pixels: `(H, W, 3)`, levels of 255; those of the hole are replaced by estimates.
        texture: `(H, W, 2)`, mean absolute difference of neighbours down and across, in levels; as well.
        hole: `(H, W)`, the pixels to fill.
        usable: `(H, W)`, which others may be copied.
    """

    pixels: Values
    texture: Values
    hole: Mask
    usable: Mask

    def known_patches(self) -> Mask:
        """Return which pixels `(H, W)` are the centre of a patch that may be copied."""
        known = np.zeros(self.hole.shape, bool)
        inner = (slice(RADIUS, -RADIUS),) * 2
        known[inner] = ~spread(self.hole | ~self.usable)[inner]
        return known

    def halved(self) -> Level:
        """Return the level of half the height and width, rounded up. Pixels that are partly hole become hole."""
        return Level(
            _halved(self.pixels),
            _halved(self.texture),
            _halved(self.hole.astype(np.float32)) > 0.0,
            _halved(self.usable.astype(np.float32)) == 1.0,
        )


def thickness(hole: Mask) -> float:
    """Return the diameter in pixels of the largest circle in a hole."""
    from scipy import ndimage

    return 2.0 * float(ndimage.distance_transform_edt(hole).max())


def pyramid(pixels: Values, hole: Mask, usable: Mask) -> list[Level]:
    """Return the levels from the coarsest, where the hole is hardly wider than a patch, to the finest.

    The hole of the coarsest level holds a first estimate.

    Args:
        pixels, hole, usable: see `Level`; the pixels of the hole are not looked at.
    """
    levels, width = [Level(pixels, _undisturbed_texture(pixels, hole), hole, usable)], thickness(hole)
    while width > SIDE and min(hole.shape) >> len(levels) >= MIN_SIDE:
        smaller = levels[-1].halved()
        if not smaller.known_patches().any():
            break
        levels.append(smaller)
        width /= 2.0
    last = levels.pop()
    estimated = Level(continued(last.pixels, last.hole), continued(last.texture, last.hole), last.hole, last.usable)
    return [estimated, *levels[::-1]]


def continued(values: Values, hole: Mask) -> Values:
    """Return values `(H, W, C)` whose hole is filled smoothly, from the finest of its smaller copies that knows more.

    Args:
        hole: `(H, W)`, not everything.
    """
    if not hole.any():
        return values
    weight = (~hole).astype(np.float32)[..., None]
    total = _halved(weight)
    mean = (_halved(values * weight) / np.maximum(total, 1e-6)).astype(np.float32)
    smaller = continued(mean, total[..., 0] == 0.0)
    height, width = hole.shape
    result = values.copy()
    for channel in range(values.shape[2]):
        smooth = resize_rows(smaller[..., channel], (width, height), Image.Resampling.BILINEAR, slice(0, height))
        result[..., channel][hole] = smooth[hole]
    return result


def spread(mask: Mask) -> Mask:
    """Return which pixels are the centre of a patch that holds a pixel of a mask."""
    from scipy import ndimage

    result: Mask = ndimage.binary_dilation(mask, np.ones((SIDE, SIDE), bool))
    return result


def _undisturbed_texture(pixels: Values, hole: Mask) -> Values:
    """Return the texture `(H, W, 2)`; near the hole, whose edge is no texture, that of the nearest pixel beyond."""
    from scipy import ndimage

    grey = pixels.mean(axis=2)
    gradients = (np.abs(ndimage.sobel(grey, axis)) / 4.0 for axis in (0, 1))
    texture = np.stack([ndimage.uniform_filter(each, TEXTURE_SIDE) for each in gradients], axis=2)
    disturbed = ndimage.binary_dilation(hole, np.ones((TEXTURE_SIDE + 2,) * 2))
    if disturbed.all():
        return np.zeros_like(texture)
    rows, columns = ndimage.distance_transform_edt(disturbed, return_distances=False, return_indices=True)
    texture[disturbed] = texture[rows[disturbed], columns[disturbed]]
    return texture


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, height % 2), (0, width % 2), *((0, 0),) * (values.ndim - 2)), mode="edge")
    result: NDArray[np.float32] = (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4.0
    return result
