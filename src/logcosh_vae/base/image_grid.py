"""Grids of images, saved as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .errors import DataError
from .extras import require
from .files import atomic_write
from .levels import to_levels
from .memory import check_memory
from .own_outputs import mark_picture
from .text import counted

if TYPE_CHECKING:
    from PIL import Image


def grid(images: Tensor, columns: int, *, scale: int = 2, gap: int = 2, background: int = 128) -> Image.Image:
    """Lay images out in rows of `columns`.

    Args:
        images: `(N, C, H, W)` with 1 or 3 channels, float in [0, 1] or uint8.
        columns: number of images per row.
        scale: each pixel becomes a block of `scale` by `scale` pixels.
        gap: width of the lines between images, in pixels of the result.
        background: grey level of the lines and of empty cells, 0 to 255.

    Returns:
        A grey or RGB image; unused cells of the last row are filled with the background.

    Raises:
        ImageValuesError: a value is not finite.
        ConfigError: the memory does not suffice.
    """
    require("drawing pictures", "PIL")
    from PIL import Image

    per_image = (scale * images.shape[2] + gap) * (scale * images.shape[3] + gap) * images.shape[1]
    check_memory(2 * len(images) * per_image, f"a picture of {counted(len(images), 'image')}", "draw fewer images")
    if images.is_floating_point():
        images = to_levels(images).to("cpu", torch.uint8)
    pixels = images.cpu().numpy().transpose(0, 2, 3, 1).repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), background, np.uint8)
    for index, tile in enumerate(pixels):
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return Image.fromarray(canvas.squeeze(-1) if channels == 1 else canvas)


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG atomically, marked as an output of this program: `path` never holds a partly written file.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        with atomic_write(path) as temporary:
            image.save(temporary, format="PNG")
            mark_picture(temporary, "picture")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error}); choose another place") from None
