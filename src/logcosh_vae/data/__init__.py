"""Image sets as uint8 tensors: MNIST, Fashion-MNIST, CelebA, and a user's own images.

`load_images` loads a split of any of them as an `ImageSet`, `load_tiles` a split cut into tiles. `batches` turns the
images into float32 batches in [0, 1].
"""

from __future__ import annotations

import difflib
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..base.errors import ConfigError, DataError
from ..base.extras import require
from .celeba import OFFICIAL_RANGES, find_celeba, is_numbered, load_celeba
from .decode import Preparation, Tiling
from .folder import load_folder
from .image_set import ImageSet
from .listing import list_images
from .mnist import FASHION_MNIST, MNIST, load_idx_set
from .sizes import PICTURE_SIZE
from .sources import Progress, check_folder

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
    "official_count",
    "text_removal",
]

IDX_SETS = {files.name: partial(load_idx_set, files) for files in (MNIST, FASHION_MNIST)}
"""Loaders of the sets in idx files, by name: `(split, root, may_fetch, progress) -> ImageSet`."""

DATASETS = (*IDX_SETS, "celeba")
"""Names of the known image sets; any other name is the path of a folder or a zip file."""

TEXT_REMOVAL = "text-removal"
"""Folder of the data root with the photographs of the paper's Appendix D, in subfolders `train` and `test`."""

MAX_IMAGE_BYTES = 1 << 27
"""Largest size of a prepared image or tile: 128 MiB, such as 6,600 by 6,600 pixels in colour."""


def _user_cache() -> Path:
    """Return this project's folder in the user's cache folder."""
    require("the default folder for data (set LOGCOSH_VAE_DATA and LOGCOSH_VAE_CACHE to choose others)", "platformdirs")
    import platformdirs

    return Path(platformdirs.user_cache_dir("logcosh-vae"))


def data_root(explicit: Path | None = None) -> Path:
    """Return the folder of image sets: `explicit`, else `LOGCOSH_VAE_DATA`, else a folder in the user's cache."""
    named = explicit or os.environ.get("LOGCOSH_VAE_DATA")
    return Path(named) if named else _user_cache() / "data"


def _checked_data_root(explicit: Path | None) -> Path:
    """Return `data_root(explicit)`; raise DataError if a file is in its place."""
    return check_folder(data_root(explicit), "the data root", "choose another (--data-root or LOGCOSH_VAE_DATA)")


def cache_root() -> Path:
    """Return the folder of prepared images: `LOGCOSH_VAE_CACHE`, else a folder in the user's cache."""
    named = os.environ.get("LOGCOSH_VAE_CACHE")
    return Path(named) if named else _user_cache() / "prepared"


def is_path(name: str) -> bool:
    """Return whether the value of `--data` is a path rather than the name of a known set."""
    if name in ("", *DATASETS):
        return False
    with suppress(OSError, ValueError):  # a name that is too long for this system, or has a null character
        return os.sep in name or name.startswith(".") or Path(name).exists()
    return False


def count_images(name: str, root: Path | None = None) -> int:
    """Count the images of a known set in the data root, without downloading any.

    Sets in idx files are verified; the image files of CelebA are only counted.

    Args:
        name: one of `DATASETS`.
        root: data root, see `data_root`.

    Raises:
        DataError: the set is missing or damaged.
    """
    if name in IDX_SETS:
        return sum(len(load_images(name, split, root=root, fetch=False).images) for split in ("train", "test"))
    return len(list_images(find_celeba(data_root(root))[1], trusted=is_numbered).members)


def official_count(name: str, split: str) -> int | None:
    """Return the number of images in a split of the complete CelebA, which many have in part; None for other sets."""
    if name != "celeba":
        return None
    first, last = OFFICIAL_RANGES[split]
    return last - first + 1


def _check_size(what: str, smallest: int, preparation: Preparation | Tiling) -> None:
    """Check the size of prepared images or tiles.

    Raises:
        ConfigError: a side is smaller than one pixel, or an image exceeds `MAX_IMAGE_BYTES`.
    """
    if smallest < 1:
        raise ConfigError(f"{what} must have at least one pixel")
    needed = preparation.channels * preparation.height * preparation.width
    if needed > MAX_IMAGE_BYTES:
        raise ConfigError(
            f"{what} takes {needed:,} bytes, more than the limit of {MAX_IMAGE_BYTES:,}; choose a smaller one"
        )


def load_images(
    name: str,
    split: str,
    *,
    size: tuple[int, ...] | None = None,
    channels: int | None = None,
    tiles: bool = False,
    strict: bool = False,
    root: Path | None = None,
    fetch: bool = True,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a split of an image set.

    Args:
        name: one of `DATASETS`, the path of a folder or zip file of images, or, with `tiles`, `text-removal` for the
            paper's training photographs.
        split: `train` or `test`.
        size: `(height, width)` to which image files are resized, or `(side,)`; 64 by 64 by default. MNIST and
            Fashion-MNIST have a fixed size.
        channels: 3 (the default), or 1 for grey. MNIST and Fashion-MNIST have 1.
        tiles: cut image files into squares of this size at their own resolution, instead of resizing them; see
            `load_tiles`.
        strict: raise an error if an image file cannot be used, instead of listing it in `left_out`.
        root: data root, see `data_root`.
        fetch: download MNIST or Fashion-MNIST if it is missing.
        progress: called while images are downloaded or prepared.

    Returns:
        The images, `(N, C, H, W)`, uint8, with their labels if the set has any.

    Raises:
        DataError: the set is unknown, cannot be downloaded, or is damaged; or `size` or `channels` is given for a set
            with a fixed size.
        ConfigError: `size` or `channels` is out of range.

    Example:
        load_images("mnist", "test").images.shape  # (10000, 1, 28, 28)
    """
    if split not in ("train", "test"):
        raise DataError(f"{name} has the splits train and test; got {split!r}")
    if name in IDX_SETS:
        if size is not None or channels is not None or tiles:
            raise DataError(f"{name} has a fixed image size; size, channels and tiles apply to image files only")
        return IDX_SETS[name](split, _checked_data_root(root), fetch, progress)
    height, width = (size[0], size[-1]) if size else PICTURE_SIZE
    if channels not in (None, 1, 3):
        raise ConfigError(f"channels must be 1 or 3; got {channels}")
    if tiles:
        _check_tiles(name, height, width)
        return load_tiles(
            name, split, tile_size=height, channels=channels or 3, strict=strict, root=root, progress=progress
        )
    preparation = Preparation(height, width, channels or 3)
    _check_size(f"size {height}x{width}: each image", min(height, width), preparation)
    if name == "celeba":
        return load_celeba(_checked_data_root(root), split, preparation, cache_root(), strict=strict, progress=progress)
    if name == TEXT_REMOVAL:
        raise DataError(f"{name} has photographs of different sizes, which are used as tiles only: add --tiles")
    if not is_path(name):
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise DataError(
            f"unknown image set {name!r}{hint} Known: {', '.join(DATASETS)}, or the path of a folder or zip file"
        )
    return load_folder(Path(name), split, preparation, cache_root(), strict=strict, progress=progress)


def _check_tiles(name: str, height: int, width: int) -> None:
    """Check that a set can be cut into tiles of a size.

    Raises:
        DataError: the set is neither a folder, nor a zip file, nor `text-removal`.
        ConfigError: the size is not square.
    """
    if name != TEXT_REMOVAL and not is_path(name):
        raise DataError(f"{name} cannot be cut into tiles; use a folder or zip file of images, or {TEXT_REMOVAL}")
    if height != width:
        raise ConfigError(f"tiles are square; got the size {height}x{width}")


def text_removal(part: str, root: Path | None = None) -> Path:
    """Return the folder of photographs for training (`train`) or evaluating (`test`) restoration.

    Raises:
        DataError: the folder is missing.
    """
    folder = _checked_data_root(root) / TEXT_REMOVAL / part
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing: put the training photographs (the paper: 200 of BSD and 91 of Yang et al.) into "
            f"{folder.parent / 'train'} and those for evaluation (Urban100) into {folder.parent / 'test'}"
        )
    return folder


def load_tiles(
    path: Path | str,
    split: str,
    *,
    tile_size: int,
    channels: int = 3,
    strict: bool = False,
    root: Path | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a split of a folder or zip file of images, cut into square tiles at the images' own resolution.

    Args:
        path: the folder or zip file, or `text-removal` for the paper's training photographs.
        split: `train` or `test`; all tiles of an image are in the same split.
        tile_size: side of a tile, in pixels. Images of more than 2^20 pixels are first shrunk to that number.
        channels: 3, or 1 for grey.
        strict: raise an error if an image file cannot be used, instead of listing it in `left_out`.
        root: data root, see `data_root`.
        progress: called while images are prepared.

    Raises:
        DataError: `path` has no usable image files.
        ConfigError: `tile_size` is out of range.

    Example:
        load_tiles("~/pictures", "train", tile_size=128).images  # (N, 3, 128, 128), uint8
    """
    tiling = Tiling(tile_size, channels=channels)
    _check_size(f"tile_size {tile_size}: each tile", tile_size, tiling)
    folder = text_removal("train", root) if path == TEXT_REMOVAL else Path(path).expanduser()
    return load_folder(folder, split, tiling, cache_root(), strict=strict, progress=progress)
