"""Image sets from a user's folder or zip file, with images of any size and format."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..base.errors import DataError
from ..base.files import one_line
from ..base.text import counted
from .archive import Zip
from .collection import Collection, Folder, Member
from .decode import Preparation, Tiling
from .formats import kind_of
from .image_set import ImageSet
from .listing import OWN_PICTURE, Listing, check_complete, first_reasons, list_images
from .prepare import PreparedImages, prepare
from .sources import Progress
from .splits import split_listing


def open_collection(path: Path) -> Collection:
    """Open the files at `path`, a folder or a zip file.

    Raises:
        DataError: `path` does not exist, or is neither a folder nor a readable zip file.
    """
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be opened ({one_line(error)})"
        raise DataError(f"{path} {reason}; give a folder or a zip file of images") from None
    if stat.S_ISDIR(state.st_mode):
        return Folder(path)
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{path} is neither a folder nor a zip file of images: it is not a regular file")
    try:
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            return Zip(path)
        with path.open("rb") as file:
            kind = kind_of(file.read(32))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
    found = f": it is {kind}" if kind else ""
    raise DataError(f"{path} is neither a folder nor a zip file of images{found}")


def select_split(
    name: str, split: str, prepared: PreparedImages, members: Sequence[Member], listing: Listing
) -> ImageSet:
    """Return one split of the prepared images.

    Args:
        name: name of the set.
        split: `train` or `test`.
        prepared: the images of all splits, those of a split consecutive.
        members: the files of the split.
        listing: the account of the collection.

    Raises:
        DataError: no file of the split could be used.
    """
    wanted = {member.name for member in members}
    indices = [index for index, found in enumerate(prepared.names) if found in wanted]
    if not indices:
        example = next((f" ({file}: {reason})" for file, reason in prepared.broken if file in wanted), "")
        unusable = f"none of the {counted(len(members), 'image file')}"
        raise DataError(f"{name}: {unusable} of the {split} split can be used{example}")
    start, end = indices[0], indices[-1] + 1
    ignored = {rule: tuple(names) for rule, names in listing.ignored.items()}
    if prepared.own:
        ignored[OWN_PICTURE] = (*ignored.get(OWN_PICTURE, ()), *prepared.own)
    digest = hashlib.sha256(f"{prepared.fingerprint}/{start}/{end}".encode()).hexdigest()[:12]
    return ImageSet(
        name,
        split,
        prepared.images[start:end],
        None,
        digest,
        left_out=(*listing.left_out, *prepared.broken),
        sizes=prepared.sizes,
        modes=prepared.modes,
        ignored=ignored,
        notes=prepared.notes,
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
    listing = list_images(collection, cache)
    parts = split_listing(path, listing)
    if not parts.train or not parts.test:
        used = counted(len(listing.members), "image file")
        reasons = [
            *listing.left_out,
            *((counted(len(names), "entry"), rule) for rule, names in listing.ignored.items()),
        ]
        more = f". Not used: {first_reasons(reasons)}" if reasons else ""
        raise DataError(f"{path} holds {used}; training and test need at least one each{more}")
    prepared = prepare(collection, [*parts.train, *parts.test], preparation, cache, listing.left_out, progress=progress)
    images = select_split(str(path), split, prepared, parts.train if split == "train" else parts.test, listing)
    images = replace(images, left_out=(*images.left_out, *parts.left_out), notes=(*parts.notes, *images.notes))
    if strict:
        check_complete(path, images.left_out)
    return images
