"""Image sets: uint8 tensors with a fingerprint, found in the data root or fetched into it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .images import DataError, ImageSet
from .mnist import FASHION_MNIST, MNIST, load
from .sources import Progress

__all__ = ["DATASETS", "DataError", "ImageSet", "data_root", "load_images"]

DATASETS: dict[str, Callable[[str, Path, bool, Progress | None], ImageSet]] = {
    files.name: partial(load, files) for files in (MNIST, FASHION_MNIST)
}
"""Loaders by name: `(split, data root, whether to fetch what is missing, progress)`."""


def data_root(explicit: Path | None = None) -> Path:
    """Where image sets are: the given folder, else `LOGCOSH_VAE_DATA`, else one in the user's cache."""
    if explicit is not None:
        return explicit
    named = os.environ.get("LOGCOSH_VAE_DATA")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("logcosh-vae")) / "data"


def load_images(
    name: str,
    split: str,
    *,
    root: Path | None = None,
    fetch: bool = True,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a split (`train` or `test`) of an image set.

    Args:
        name: one of `DATASETS`.
        split: `train` or `test`.
        root: data root, see `data_root`.
        fetch: get what is missing.
        progress: called while fetching.

    Raises:
        DataError: no such set; it cannot be had; or a file of it is damaged.

    Example:
        load_images("mnist", "test").images.shape  # (10000, 1, 28, 28)
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"no image set {name!r}{hint} Known: {', '.join(DATASETS)}")
    if split not in ("train", "test"):
        raise DataError(f"{name} has the splits train and test; got {split!r}")
    return DATASETS[name](split, data_root(root), fetch, progress)
