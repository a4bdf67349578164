"""CelebA from its official files: the images (zip file or folder), the attributes and the partition."""

from __future__ import annotations

import codecs
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from ..base.errors import DataError
from ..base.files import one_line, open_regular
from ..base.text import counted
from .archive import Zip
from .collection import Collection, Folder, Member
from .decode import Preparation
from .folder import select_split
from .image_set import ImageSet
from .listing import VALIDATION, check_complete, list_images
from .prepare import prepare
from .sources import Progress

CROP = 140 / 178
"""Side of the central square that is kept, as a fraction of the width: 140 of the official 178 pixels. The fraction
also fits resized copies, because the faces are aligned."""

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
FOLDERS = ("celeba", "CelebA", "celebA", ".")
OFFICIAL_RANGES = {"train": (1, 162_770), "validation": (162_771, 182_637), "test": (182_638, 202_599)}
"""First and last image number of each split of the official partition."""

TEST_DIVISOR = 5
"""In an incomplete set without a partition file, the last fifth by number is for testing."""

MAX_DIGITS = 18
MAX_TEXT_BYTES = 1 << 27
"""The attribute file has 27 MB."""

ROW = "a row has a file name and the number of its split, as in '000001.jpg 0' or '000001.jpg,0'"
PARTITION_CODES = {"train": "0", "validation": "1", "test": "2"}


def find_celeba(root: Path) -> tuple[Path, Collection]:
    """Return the folder of CelebA's files in the data root, and the collection of its images.

    Raises:
        DataError: CelebA is not in the data root.
    """
    for name in FOLDERS:
        folder = root / name
        if (folder / f"{IMAGES}.zip").is_file():
            return folder, Zip(folder / f"{IMAGES}.zip")
        if (folder / IMAGES).is_dir():
            return folder, Folder(folder / IMAGES)
    raise DataError(
        "CelebA is not in the data root. It is not fetched automatically, because you have to accept its terms first. "
        f"Put {IMAGES}.zip (or the folder {IMAGES}), {ATTRIBUTES} and {PARTITION} into {root / 'celeba'}"
    )


def _file_name(member: Member) -> str:
    return PurePosixPath(member.name).name


def _number(member: Member) -> int:
    if not is_numbered(member.name):
        raise DataError(f"CelebA: {member.name} is not named by a number as in 000001.jpg; use the aligned images")
    return int(PurePosixPath(member.name).stem)


def is_numbered(name: str) -> bool:
    """Return whether a file is named by a number, as those of CelebA are."""
    stem = PurePosixPath(name).stem
    return stem.isascii() and stem.isdecimal() and len(stem) <= MAX_DIGITS


def _text_file(folder: Path, name: str) -> Path:
    """Return the path of a text file of CelebA, or of its comma-separated form, whose name ends in `.csv`."""
    path = folder / name
    other = path.with_suffix(".csv")
    return other if other.is_file() and not path.is_file() else path


def _read_rows(path: Path) -> list[list[str]]:
    """Return the words of each line that is not empty.

    The text is in UTF-8, or in UTF-16 with a byte-order mark; words are separated by white space, commas or semicolons.
    """
    try:
        with open_regular(path, follow=True) as file:
            content = file.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise DataError(f"{path} has more than {MAX_TEXT_BYTES:,} bytes; it is not a file of CelebA")
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = content.decode("utf-16" if utf16 else "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({one_line(error)})") from None
    rows = [re.sub('[,;"]', " ", line).split() for line in lines]
    return [row for row in rows if row]


def split_members(members: list[Member], partition: Path) -> dict[str, list[Member]]:
    """Return the image files of each split: `train`, `validation` and `test`.

    The partition file defines the splits if it exists. Otherwise the official numbers do, or, if the set does not reach
    the official test images, the last fifth by number is for testing.

    Args:
        members: the image files, sorted by number.
        partition: path of the partition file.

    Raises:
        DataError: the partition file has no valid row for an image, or a file is not named by a number.
    """
    if partition.is_file():
        codes = {row[0]: row[1] for row in _read_rows(partition) if len(row) == 2}
        absent = [member.name for member in members if _file_name(member) not in codes]
        if absent:
            raise DataError(f"{partition} has no row for {counted(len(absent), 'image')}, e.g. {absent[0]}; {ROW}")
        unknown = next((m.name for m in members if codes[_file_name(m)] not in PARTITION_CODES.values()), None)
        if unknown is not None:
            raise DataError(f"{partition}: the row of {unknown} must end in 0, 1 or 2; {ROW}")
        return {split: [m for m in members if codes[_file_name(m)] == code] for split, code in PARTITION_CODES.items()}
    if max(map(_number, members)) > OFFICIAL_RANGES["test"][0]:
        return {
            split: [m for m in members if first <= _number(m) <= last]
            for split, (first, last) in OFFICIAL_RANGES.items()
        }
    kept = len(members) - len(members) // TEST_DIVISOR
    return {"train": members[:kept], "validation": [], "test": members[kept:]}


def read_attributes(path: Path, names: list[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Read the attributes of the named images.

    Args:
        path: the official attribute file.
        names: file names of the images.

    Returns:
        The attributes, `(N, A)`, uint8 with values 0 and 1; and their `A` names.

    Raises:
        DataError: the file is missing or not in the official format, or has no row for an image.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; the attributes are needed to train the feature network of the FID")
    rows = _read_rows(path)
    if rows and len(rows[0]) > 1:  # the comma-separated form has no count, and a name for the column of file names
        rows = [[], rows[0][1:], *rows[1:]]
    titles = tuple(rows[1]) if len(rows) > 1 else ()
    table = {row[0]: row[1:] for row in rows[2:]}
    wrong = next((n for n, row in table.items() if len(row) != len(titles) or not {"1", "-1"}.issuperset(row)), None)
    if not table or wrong is not None:
        raise DataError(
            f"{path} is not in the official format: a count, the names, then rows of a file name and 1 or -1 for each "
            f"name; or the same separated by commas, with 'image_id' and the names first ({wrong or 'no rows'})"
        )
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
    """Load a split of CelebA.

    Args:
        root: data root.
        split: `train` or `test`.
        preparation: size and channels of the images; the crop is CelebA's.
        cache: folder of the prepared images.
        strict: raise an error if a file cannot be used, instead of leaving it out.
        progress: called while images are prepared.

    Returns:
        Faces, `(N, C, H, W)`; the labels are their 40 attributes, or None without the attribute file.

    Raises:
        DataError: the files are missing or not those of CelebA.
    """
    folder, collection = find_celeba(root)
    listing = list_images(collection, cache, trusted=is_numbered)
    members = sorted(listing.members, key=_number)
    if not members:
        raise DataError(f"{collection.path} holds no image files")
    parts = split_members(members, _text_file(folder, PARTITION))
    ordered = [member for members in parts.values() for member in members]
    preparation = replace(preparation, crop=CROP)
    prepared = prepare(collection, ordered, preparation, cache, listing.left_out, progress=progress)
    images = select_split("celeba", split, prepared, parts[split], listing)
    if strict:
        check_complete(collection.path, images.left_out)
    usable = set(prepared.names)
    if validation := tuple(member.name for member in parts["validation"] if member.name in usable):
        images = replace(images, ignored={**images.ignored, VALIDATION: validation})
    attributes = _text_file(folder, ATTRIBUTES)
    if not attributes.is_file():
        return images
    files = [_file_name(member) for member in parts[split] if member.name in usable]
    labels, titles = read_attributes(attributes, files)
    return replace(images, labels=labels, label_names=titles)
