"""Writing image grids as PNG files for the verbs that draw."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import UsageError
from .streams import say

if TYPE_CHECKING:
    from torch import Tensor


def check_out_path(path: Path, overwrite: bool, suffixes: tuple[str, ...], example: str, written: str) -> None:
    """Check, before anything is computed, that a file can be written to `path`.

    Args:
        path: the file.
        overwrite: whether an existing file may be replaced.
        suffixes: suffixes that its name may end in; the first is suggested.
        example: file name that is suggested where `path` is a folder.
        written: what is written, for the message: `pictures are written as PNG`.

    Raises:
        UsageError: the file exists and `overwrite` is false, it is a folder, or its name ends in another suffix.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; choose another --out, such as {path / example}")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists; add --overwrite or choose another --out")
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: {written}; end the name in {suffixes[0]}")


def check_png_path(path: Path, overwrite: bool) -> None:
    """Check, before anything is computed, that a picture can be written to `path`; see `check_out_path`."""
    check_out_path(path, overwrite, (".png",), "picture.png", "pictures are written as PNG")


def default_png(run: Path, name: str) -> Path:
    """The picture that is written without `--out`: in a run folder, or in the current folder for a pretrained model."""
    from ..training.run_folder import RunFolder

    return Path(f"{run.resolve().name}-{name}") if RunFolder(run).is_pretrained else run / name


def save_grid(images: Tensor, path: Path, columns: int, scale: int = 2, *, follow: bool = False) -> None:
    """Write images `(N, C, H, W)` to a PNG file as a grid of `columns`, and print the file's name.

    Args:
        images: the images.
        path: the file.
        columns: number of columns.
        scale: factor on the size of the images.
        follow: write to the file that a link at `path` points to. Only for a path that the user has named, because
            somebody else may have put links into a run folder.
    """
    from ..base import image_grid
    from ..base.files import named_by_user

    target = named_by_user(path) if follow else path
    image_grid.save(image_grid.grid(images, columns=columns, scale=scale), target)
    say(f"written: {path}")
