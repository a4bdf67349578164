"""Masks as picture files: white where pixels may change. `photographs.read_mask` reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import DataError
from ..base.files import one_line
from ..base.own_outputs import mark_picture
from .targets import replacing

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp")
"""Suffixes of lossless formats, in which a mask is stored as it is."""


def write_mask(mask: NDArray[np.bool_], path: Path) -> None:
    """Write a mask `(H, W)` as black and white picture; atomically.

    Raises:
        DataError: the file cannot be written.
    """
    options = {"lossless": True} if path.suffix.lower() == ".webp" else {}
    try:
        with replacing(path) as temporary:
            image = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
            image.save(temporary, Image.registered_extensions()[path.suffix.lower()], **options)
            mark_picture(temporary, "mask")
    except Exception as error:  # encoders raise arbitrary exceptions
        raise DataError(f"{path} cannot be written: {one_line(error)}") from None
