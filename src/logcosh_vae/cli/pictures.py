"""Writing image grids as PNG files for the verbs that draw."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import UsageError
from .streams import say

if TYPE_CHECKING:
    from torch import Tensor


def check_png_path(path: Path, overwrite: bool) -> None:
    """Check, before anything is computed, that a picture can be written to `path`.

    Raises:
        UsageError: the file exists and `overwrite` is false, it is a folder, or its name does not end in .png.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; choose another --out, such as {path / 'picture.png'}")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists; add --overwrite or choose another --out")
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: pictures are written as PNG; end the name in .png")


def default_png(run: Path, name: str) -> Path:
    """The picture that is written without `--out`: in a run folder, or in the current folder for a pretrained model."""
    from ..training.run_folder import RunFolder

    return Path(f"{run.resolve().name}-{name}") if RunFolder(run).is_pretrained else run / name


def save_grid(images: Tensor, path: Path, columns: int, scale: int = 2) -> None:
    """Write images `(N, C, H, W)` to a PNG file as a grid of `columns`, and print the file's name."""
    from ..base import image_grid

    image_grid.save(image_grid.grid(images, columns=columns, scale=scale), path)
    say(f"written: {path}")
