"""Image sets: uint8 tensors with a fingerprint, found in the data root, fetched into it, or pictures of the user."""

from __future__ import annotations

import difflib
import os
from functools import partial
from pathlib import Path

from ..base.errors import DataError
from ..base.extras import require
from .celeba import OFFICIAL, find_celeba, load_celeba
from .decode import Preparation, Tiling
from .folder import load_folder
from .image_set import ImageSet
from .mnist import FASHION_MNIST, MNIST, load
from .sizes import PICTURE_SIZE
from .sources import Progress

__all__ = [
    "DATASETS",
    "IDX_SETS",
    "TEXT_REMOVAL",
    "DataError",
    "ImageSet",
    "cache_root",
    "count_images",
    "data_root",
    "is_path",
    "load_images",
    "load_tiles",
    "text_removal",
    "whole_count",
]

IDX_SETS = {files.name: partial(load, files) for files in (MNIST, FASHION_MNIST)}
"""Sets in idx files: `(split, data root, whether to fetch what is missing, progress)`."""

DATASETS = (*IDX_SETS, "celeba")
"""Names of image sets; anything else is the path of a folder or zip file."""

TEXT_REMOVAL = "text-removal"
"""The pictures of the paper's Appendix D: to learn from in `train`, to measure on in `test`, in the data root."""


def _user_cache() -> Path:
    require("the default folder for data (set LOGCOSH_VAE_DATA and LOGCOSH_VAE_CACHE to choose others)", "platformdirs")
    import platformdirs

    return Path(platformdirs.user_cache_dir("logcosh-vae"))


def data_root(explicit: Path | None = None) -> Path:
    """Where image sets are: the given folder, else `LOGCOSH_VAE_DATA`, else one in the user's cache."""
    named = explicit or os.environ.get("LOGCOSH_VAE_DATA")
    return Path(named) if named else _user_cache() / "data"


def cache_root() -> Path:
    """Where prepared images are kept: `LOGCOSH_VAE_CACHE`, else a folder in the user's cache."""
    named = os.environ.get("LOGCOSH_VAE_CACHE")
    return Path(named) if named else _user_cache() / "prepared"


def is_path(name: str) -> bool:
    """Whether `--data` names a folder or a file rather than a known set."""
    return name not in ("", *DATASETS) and (os.sep in name or name.startswith(".") or Path(name).exists())


def count_images(name: str, root: Path | None = None) -> int:
    """How many images of a known set are in the data root; digits are verified, pictures only counted.

    Raises:
        DataError: the set is not there, or damaged.
    """
    if name in IDX_SETS:
        return sum(len(load_images(name, split, root=root, fetch=False).images) for split in ("train", "test"))
    return len(find_celeba(data_root(root))[1].members())


def whole_count(name: str, split: str) -> int | None:
    """How many images a split has when the set is complete, for a set that people often have in part; else None."""
    if name != "celeba":
        return None
    first, last = OFFICIAL[split]
    return last - first + 1


def load_images(
    name: str,
    split: str,
    *,
    size: tuple[int, ...] | None = None,
    channels: int | None = None,
    strict: bool = False,
    root: Path | None = None,
    fetch: bool = True,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a split (`train` or `test`) of an image set.

    Args:
        name: one of `DATASETS`, or the path of a folder or zip file of pictures.
        split: `train` or `test`.
        size: height and width, or one number for both, that pictures are brought to; 64 by default. MNIST and its
            relatives have a size of their own.
        channels: 3, or 1 for grey; the same holds.
        strict: a picture that cannot be used is an error; else it is left out and named in `left_out`.
        root: data root, see `data_root`.
        fetch: get what is missing, where that can be had.
        progress: called while fetching and preparing.

    Raises:
        DataError: no such set; it cannot be had; or a file of it is damaged.

    Example:
        load_images("mnist", "test").images.shape  # (10000, 1, 28, 28)
    """
    if split not in ("train", "test"):
        raise DataError(f"{name} has the splits train and test; got {split!r}")
    if name in IDX_SETS:
        if size is not None or channels is not None:
            raise DataError(f"{name} has a size of its own; size and channels belong to pictures")
        return IDX_SETS[name](split, data_root(root), fetch, progress)
    height, width = (size * 2)[:2] if size else PICTURE_SIZE
    preparation = Preparation(height, width, channels or 3)
    if name == "celeba":
        return load_celeba(data_root(root), split, preparation, cache_root(), strict=strict, progress=progress)
    if not is_path(name):
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise DataError(
            f"no image set {name!r}{hint} Known: {', '.join(DATASETS)}, or the path of a folder or zip file"
        )
    return load_folder(Path(name), split, preparation, cache_root(), strict=strict, progress=progress)


def text_removal(part: str, root: Path | None = None) -> Path:
    """The folder of the pictures to learn from (`train`) or to measure on (`test`).

    Raises:
        DataError: it is not there.
    """
    folder = data_root(root) / TEXT_REMOVAL / part
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not there: put pictures to learn from (the paper: 200 of BSD and 91 of Yang et al.) into "
            f"{folder.parent / 'train'}, and those to measure on (Urban100) into {folder.parent / 'test'}"
        )
    return folder


def load_tiles(
    path: Path | str,
    split: str,
    *,
    side: int,
    strict: bool = False,
    root: Path | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a split of a folder or zip file of pictures as squares of their own pixels, for training on details.

    Args:
        path: of the folder or the zip file, or `text-removal` for the paper's pictures to learn from.
        split: `train` or `test`; a picture's squares are all in one.
        side: of a square. Pictures of more than a million pixels are shrunk to that before they are cut.
        strict: a picture that cannot be used is an error; else it is left out and named in `left_out`.
        root: data root, see `data_root`.
        progress: called while preparing.

    Raises:
        DataError: nothing usable stands there.

    Example:
        load_tiles("~/pictures", "train", side=128).images  # (N, 3, 128, 128), uint8
    """
    folder = text_removal("train", root) if path == TEXT_REMOVAL else Path(path).expanduser()
    return load_folder(folder, split, Tiling(side), cache_root(), strict=strict, progress=progress)
