"""Image sets of the user: a folder or a zip file of pictures, of any sizes and formats."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from ..base.errors import DataError
from .collection import Member, open_collection
from .decode import Preparation, Tiling
from .image_set import ImageSet
from .prepare import Prepared, prepared
from .sources import Progress

TEST_SHARE = 10
"""One picture in so many is a test image where the set has no folders `train` and `test`."""

TEST_FOLDERS = {"test", "val", "valid", "validation"}
TRAIN_FOLDERS = {"train", "training"}


def divide(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Training and test pictures.

    A set with folders `train` and `test` (or `val`) at its top is divided by them. Any other is divided by the names'
    digests, one in ten for the test: the same each time, and nearly the same when pictures are added.
    """
    tops = [PurePosixPath(member.name).parts[0].lower() for member in members]
    train = [member for member, top in zip(members, tops, strict=True) if top in TRAIN_FOLDERS]
    test = [member for member, top in zip(members, tops, strict=True) if top in TEST_FOLDERS]
    if train and test:
        return train, test
    drawn = sorted(members, key=lambda member: hashlib.sha256(member.name.encode("utf-8", "surrogateescape")).digest())
    chosen = {member.name for member in drawn[: -(-len(members) // TEST_SHARE)]}
    return [m for m in members if m.name not in chosen], [m for m in members if m.name in chosen]


def part(name: str, split: str, whole: Prepared, members: Sequence[Member]) -> ImageSet:
    """Those of the prepared images that are among `members`, which stand together."""
    wanted = {member.name for member in members}
    places = [index for index, found in enumerate(whole.names) if found in wanted]
    if not places:
        reason = next((f" ({file}: {why})" for file, why in whole.broken if file in wanted), "")
        raise DataError(f"{name}: none of the {len(members):,} pictures for the {split} split can be used{reason}")
    start, end = places[0], places[-1] + 1
    images = torch.from_numpy(whole.images[start:end])
    digest = hashlib.sha256(f"{whole.fingerprint}/{start}/{end}".encode()).hexdigest()[:12]
    return ImageSet(
        name, split, images, None, digest, left_out=tuple(whole.broken), sizes=whole.sizes, modes=whole.modes
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
    """A split of the pictures at `path`, each as one image, or cut into squares.

    Raises:
        DataError: nothing usable stands there.
    """
    collection = open_collection(path)
    train, test = divide(collection.members())
    if not train or not test:
        raise DataError(f"{path} holds {len(train) + len(test)} pictures; training and test need at least one each")
    whole = prepared(collection, [*train, *test], preparation, cache, strict=strict, progress=progress)
    return part(str(path), split, whole, train if split == "train" else test)
