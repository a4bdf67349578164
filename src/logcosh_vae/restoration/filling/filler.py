"""Replace whatever lies in a region of a picture by its surroundings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..finished import VERSION
from ..region import Box, Region, allowed_pixels
from ..tiling import Progress
from .fill import Pixels
from .levels import Mask
from .regions import fill_regions


class RegionFiller:
    """Fills a region of pictures. It can be passed to `picture_files.restore_files`.

    Args:
        boxes: parts to fill: left, top, width and height in pixels.
        mask: `(H, W)`, fill where it is true. With boxes, fill what lies in either.
        keep_boxes: parts that never change.

    Raises:
        ValueError: neither boxes nor a mask are given.
    """

    def __init__(self, boxes: Sequence[Box] = (), mask: Mask | None = None, keep_boxes: Sequence[Box] = ()) -> None:
        if not boxes and mask is None:
            raise ValueError("give boxes or a mask: the region to fill")
        self._region, self._keep_boxes = Region(boxes, mask), keep_boxes

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that identify how pictures are filled; see `finished.method_digest`."""
        boxes, mask = self._region.boxes, self._region.mask
        digest = hashlib.sha256(repr((VERSION, "fill", list(boxes), list(self._keep_boxes))).encode())
        if mask is not None:
            digest.update(repr(mask.shape).encode())
            digest.update(np.packbits(mask).tobytes())
        return digest.hexdigest()[:16]

    def __call__(self, pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:
        """Return the filled picture, in the same shape and type.

        Raises:
            RegionError: the region holds no pixel of the picture, or all of them, or the mask has another size.
        """
        hole = allowed_pixels(self._region, self._keep_boxes, *pixels.shape[:2])
        assert hole is not None  # there are boxes or a mask
        return fill_regions(pixels, hole, progress=progress)
