"""Image sets from a user's folder or zip file, with images of any size and format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..base.errors import DataError
from .collection import Member, open_collection
from .decode import Preparation, Tiling
from .image_set import ImageSet
from .prepare import PreparedImages, prepare
from .sources import Progress

TEST_EVERY = 10
"""One image file in ten becomes a test image if the set has no folders `train` and `test`."""

TEST_FOLDERS = {"test", "val", "valid", "validation"}
TRAIN_FOLDERS = {"train", "training"}


def split_members(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Return the training and the test files of a set.

    If the set has top folders `train` and `test` (or `val`), they define the split. Otherwise the files are ordered by
    the digest of their name and the first tenth is for testing, so the split is the same each time and changes little
    when files are added.
    """
    tops = [PurePosixPath(member.name).parts[0].lower() for member in members]
    train = [member for member, top in zip(members, tops, strict=True) if top in TRAIN_FOLDERS]
    test = [member for member, top in zip(members, tops, strict=True) if top in TEST_FOLDERS]
    if train and test:
        return train, test
    ordered = sorted(
        members, key=lambda member: hashlib.sha256(member.name.encode("utf-8", "surrogateescape")).digest()
    )
    chosen = {member.name for member in ordered[: -(-len(members) // TEST_EVERY)]}
    return [m for m in members if m.name not in chosen], [m for m in members if m.name in chosen]


def select_split(name: str, split: str, prepared: PreparedImages, members: Sequence[Member]) -> ImageSet:
    """Return one split of the prepared images.

    Args:
        name: name of the set.
        split: `train` or `test`.
        prepared: the images of all splits, those of a split consecutive.
        members: the files of the split.

    Raises:
        DataError: no file of the split could be used.
    """
    wanted = {member.name for member in members}
    indices = [index for index, found in enumerate(prepared.names) if found in wanted]
    if not indices:
        example = next((f" ({file}: {reason})" for file, reason in prepared.broken if file in wanted), "")
        raise DataError(f"{name}: none of the {len(members):,} image files of the {split} split can be used{example}")
    start, end = indices[0], indices[-1] + 1
    digest = hashlib.sha256(f"{prepared.fingerprint}/{start}/{end}".encode()).hexdigest()[:12]
    return ImageSet(
        name,
        split,
        prepared.images[start:end],
        None,
        digest,
        left_out=tuple(prepared.broken),
        sizes=prepared.sizes,
        modes=prepared.modes,
    )


def load_folder(
    path: Path,
    split: str,
    preparation: Preparation | Tiling,
    cache: Path,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> ImageSet:
    """Load a split of the image files at `path`, each as one image or cut into tiles.

    Args:
        path: a folder or a zip file.
        split: `train` or `test`.
        preparation: how files become images or tiles.
        cache: folder of the prepared images.
        strict: raise an error if a file cannot be used, instead of leaving it out.
        progress: called while images are prepared.

    Raises:
        DataError: `path` has no usable image files.
    """
    collection = open_collection(path)
    train, test = split_members(collection.members())
    if not train or not test:
        raise DataError(f"{path} holds {len(train) + len(test)} image files; training and test need at least one each")
    prepared = prepare(collection, [*train, *test], preparation, cache, strict=strict, progress=progress)
    return select_split(str(path), split, prepared, train if split == "train" else test)
