"""Image sizes of the known data sets."""

from __future__ import annotations

FIXED_SIZE = ("mnist", "fashion-mnist")
"""Data sets that come as arrays of a fixed image size; all others are decoded from image files and resized."""

PICTURE_SIZE = (64, 64)
"""Default height and width to which image files are resized (paper, A.3)."""
