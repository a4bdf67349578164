"""MNIST and Fashion-MNIST from idx files, verified by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .idx import read_idx
from .images import DataError, ImageSet

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes fetched so far, and their number if it is known."""


@dataclass(frozen=True)
class IdxSet:
    """Where an idx image set is found and how it is verified.

    Attributes:
        name: as in `--data`, and its folder in the data root.
        other_folders: where other programs put it in a data root.
        digests: md5 of each idx file's content, decompressed, by the file's official name.
    """

    name: str
    other_folders: tuple[str, ...]
    digests: dict[str, str]


FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}

MNIST = IdxSet(
    "mnist",
    ("MNIST/raw", "MNIST"),
    {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)


def find(files: IdxSet, name: str, root: Path) -> Path | None:
    """The file of that official name in the data root, gzipped or not; None where there is none."""
    for folder in (files.name, *files.other_folders):
        for variant in (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
            path = root / folder / variant
            if path.is_file():
                return path
    return None


def read(files: IdxSet, name: str, path: Path) -> tuple[np.ndarray, str]:
    """The array in a file and the digest of its content, once that is the right one."""
    array, content = read_idx(path)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != files.digests[name]:
        raise DataError(
            f"{path}: its content is not that of {files.name} (md5 {digest}, not {files.digests[name]}); "
            "remove the file, then it is fetched anew"
        )
    return array, digest


def load(files: IdxSet, split: str, root: Path) -> ImageSet:
    """A split whose files are in the data root."""
    arrays, digests = [], []
    for kind in ("images", "labels"):
        name = FILES[split, kind]
        path = find(files, name, root)
        if path is None:
            raise DataError(f"{files.name}: {name} is not in {root / files.name}")
        array, digest = read(files, name, path)
        arrays.append(array)
        digests.append(digest)
    images, labels = arrays
    return ImageSet(
        files.name,
        split,
        torch.from_numpy(images.copy()).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
        hashlib.sha256("/".join(digests).encode()).hexdigest()[:12],
    )
