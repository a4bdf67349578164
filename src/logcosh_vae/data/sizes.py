"""Image sizes by data set."""

from __future__ import annotations

FIXED_SIZE = ("mnist", "fashion-mnist")
"""Sets whose images are not prepared from pictures: they have a size of their own."""

PICTURE_SIZE = (64, 64)
"""Height and width that pictures are brought to (A.3)."""
