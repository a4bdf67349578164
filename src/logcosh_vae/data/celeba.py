"""CelebA as people have it: the official zip file (read in place) or folder, attributes, partition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from ..base.errors import DataError
from .collection import Collection, Folder, Member, Zip
from .decode import Preparation
from .folder import part
from .image_set import ImageSet
from .prepare import prepared
from .sources import Progress

CROP = 140 / 178
"""Of the width, the central square that is kept: 140 of 178 pixels, in any proportional size; the faces are aligned."""

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
FOLDERS = ("celeba", "CelebA", "celebA", ".")
OFFICIAL = {"train": (1, 162_770), "validation": (162_771, 182_637), "test": (182_638, 202_599)}
"""First and last number of each part of the official partition."""

TEST_SHARE = 5
"""Of a set that is not whole and has no partition file, the last fifth by number is for testing."""

CODES = {"train": "0", "validation": "1", "test": "2"}


def find_celeba(root: Path) -> tuple[Path, Collection]:
    """The folder with CelebA's files, and its images."""
    for name in FOLDERS:
        folder = root / name
        if (folder / f"{IMAGES}.zip").is_file():
            return folder, Zip(folder / f"{IMAGES}.zip")
        if (folder / IMAGES).is_dir():
            return folder, Folder(folder / IMAGES)
    raise DataError(
        f"CelebA is not in the data root, and it is not fetched: its terms have to be agreed to. Put {IMAGES}.zip "
        f"(or the folder {IMAGES}), {ATTRIBUTES} and {PARTITION} into {root / 'celeba'}"
    )


def _file(member: Member) -> str:
    return PurePosixPath(member.name).name


def _number(member: Member) -> int:
    stem = PurePosixPath(member.name).stem
    if not stem.isdigit():
        raise DataError(f"CelebA: {member.name} is not named by a number; are these the aligned images?")
    return int(stem)


def _rows(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error})") from None
    return [line.split() for line in lines if line.strip()]


def divide(members: list[Member], partition: Path) -> dict[str, list[Member]]:
    """Members by split: as the partition file says; else by the official numbers; else the last fifth for the test."""
    if partition.is_file():
        codes = {row[0]: row[1] for row in _rows(partition) if len(row) == 2}
        absent = [member.name for member in members if _file(member) not in codes]
        if absent:
            raise DataError(f"{partition} has no row for {absent[0]}, and {len(absent):,} images in all")
        return {split: [m for m in members if codes[_file(m)] == code] for split, code in CODES.items()}
    if max(map(_number, members)) > OFFICIAL["test"][0]:
        return {split: [m for m in members if first <= _number(m) <= last] for split, (first, last) in OFFICIAL.items()}
    kept = len(members) - len(members) // TEST_SHARE
    return {"train": members[:kept], "validation": [], "test": members[kept:]}


def read_attributes(path: Path, names: list[str]) -> tuple[Tensor, tuple[str, ...]]:
    """The attributes of the named files, `(N, A)`, uint8 of 0 and 1, and what they are called.

    Raises:
        DataError: the file is missing or not in the official format, or has no row for a name.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: the attributes are needed to train the features of the FID")
    rows = _rows(path)
    titles = tuple(rows[1]) if len(rows) > 1 else ()
    table = {row[0]: row[1:] for row in rows[2:]}
    wrong = next((n for n, row in table.items() if len(row) != len(titles) or not {"1", "-1"}.issuperset(row)), None)
    if not table or wrong is not None:
        raise DataError(f"{path} is not in the official format: count, names, then 1 or -1 ({wrong or 'no rows'})")
    absent = next((name for name in names if name not in table), None)
    if absent is not None:
        raise DataError(f"{path} has no row for {absent}")
    return torch.tensor([[value == "1" for value in table[name]] for name in names], dtype=torch.uint8), titles


def load_celeba(
    root: Path,
    split: str,
    preparation: Preparation,
    cache: Path,
    *,
    strict: bool,
    progress: Progress | None,
) -> ImageSet:
    """A split of CelebA: faces `(N, 3, H, W)`, and their 40 attributes where the file is there.

    Raises:
        DataError: the files are missing or not CelebA's.
    """
    folder, collection = find_celeba(root)
    members = sorted(collection.members(), key=_number)
    if not members:
        raise DataError(f"{collection.path} holds no images")
    parts = divide(members, folder / PARTITION)
    ordered = [member for members in parts.values() for member in members]
    preparation = replace(preparation, crop=CROP)
    whole = prepared(collection, ordered, preparation, cache, strict=strict, progress=progress)
    images = part("celeba", split, whole, parts[split])
    if not (folder / ATTRIBUTES).is_file():
        return images
    usable = set(whole.names)
    files = [_file(member) for member in parts[split] if member.name in usable]
    labels, titles = read_attributes(folder / ATTRIBUTES, files)
    return replace(images, labels=labels, label_names=titles)
