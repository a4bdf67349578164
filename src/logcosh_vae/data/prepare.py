"""The cache of prepared images: image files are decoded once into a memory-mapped file.

Each set has a folder in the cache, named by a digest of its files and of how they are prepared:

    images.npy     `(N, C, H, W)`, uint8
    index.json     names of the image files, files that could not be used, sizes and modes, fingerprint of the pixels
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..base.errors import DataError
from ..base.extras import require
from ..base.files import TEMPORARY_PREFIX, read_json, write_json
from ..base.versions import DATA
from .build import HEADER_BYTES, fingerprint, image_shape, npy_header, npy_size, pixel_digest, write_images
from .collection import Collection, Member
from .decode import Preparation, Tiling
from .memmap import map_images
from .sources import Progress, locked

MAX_LISTED = 3
"""Number of broken files that an error message lists."""

VERIFIED_BYTES = 1 << 28
"""The pixels of files up to this size are verified by their fingerprint each time, which takes about 0.1 seconds."""


@dataclass(frozen=True)
class PreparedImages:
    """The images made from a collection.

    Attributes:
        images: `(N, C, H, W)`, uint8, mapped from the cache (see `memmap`).
        names: the image file of each image, in the images' order; one that was cut into tiles is repeated.
        broken: files that could not be used, each with the reason.
        sizes: number of image files by size, written `WIDTHxHEIGHT`.
        modes: number of image files by pixel format (Pillow's mode).
        fingerprint: digest of the pixels.
    """

    images: Tensor
    names: list[str]
    broken: list[tuple[str, str]]
    sizes: dict[str, int]
    modes: dict[str, int]
    fingerprint: str


def cache_key(members: Sequence[Member], preparation: Preparation | Tiling) -> str:
    """Return the name of the cache folder: it depends on the files, the preparation and the version `DATA`."""
    digest = hashlib.sha256(json.dumps([DATA, preparation.cache_fields()]).encode())
    for member in members:
        digest.update(f"\n{member.name}\0{member.stamp}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def prepare(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    cache: Path,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> PreparedImages:
    """Return image files as images, from the cache or decoded now on all cores.

    Memory use does not grow with the collection. If several processes ask for the same images, one decodes them and the
    others wait. A process that is killed leaves no incomplete set behind.

    Args:
        collection: the collection that has the files.
        members: the files to use, in the order of the images.
        preparation: how files become images or tiles.
        cache: folder of all prepared images.
        strict: raise an error if a file cannot be used, instead of leaving it out.
        progress: called with the number of files decoded.

    Raises:
        DataError: no file can be used; or, if `strict`, one cannot; or the cache cannot be written.
    """
    if not members:
        raise DataError(f"{collection.path} holds no image files")
    folder = cache / cache_key(members, preparation)
    try:
        with locked(cache / f".{folder.name}.lock"):
            if not _is_complete(folder, preparation):
                _build(collection, members, preparation, folder, progress)
    except OSError as error:
        raise DataError(
            f"{cache}: prepared images cannot be stored there ({error.strerror or error}); "
            "set LOGCOSH_VAE_CACHE to a writable folder with enough space"
        ) from None
    index = read_json(folder / "index.json")
    broken = [(name, reason) for name, reason in index["broken"]]
    if (broken and strict) or not index["names"]:
        listed = "; ".join(f"{name}: {reason}" for name, reason in broken[:MAX_LISTED])
        more = f"; and {len(broken) - MAX_LISTED:,} more" if len(broken) > MAX_LISTED else ""
        raise DataError(f"{collection.path}: {len(broken):,} image files cannot be used: {listed}{more}")
    images = map_images(folder / "images.npy")
    return PreparedImages(images, index["names"], broken, index["sizes"], index["modes"], index["fingerprint"])


def _is_complete(folder: Path, preparation: Preparation | Tiling) -> bool:
    """Return whether a cache folder holds all of a set, with undamaged pixels as far as that is quick to verify."""
    try:
        index = read_json(folder / "index.json")
        has_keys = index.keys() >= {"names", "broken", "sizes", "modes", "fingerprint"}
        count = len(index["names"])
        size = npy_size(count, preparation)
        with (folder / "images.npy").open("rb") as file:
            if not has_keys or os.fstat(file.fileno()).st_size != size:
                return False
            if file.read(HEADER_BYTES) != npy_header((count, *image_shape(preparation))):
                return False
            if size > VERIFIED_BYTES:
                return True
            digest = pixel_digest(preparation)
            while block := file.read(1 << 20):
                digest.update(block)
            return bool(fingerprint(digest) == index["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _build(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    folder: Path,
    progress: Progress | None,
) -> None:
    """Prepare a set in a temporary folder, and rename it to `folder` when it is complete."""
    require("decoding image files", "PIL")
    for leftover in folder.parent.glob(f"{TEMPORARY_PREFIX}{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{folder.name}-", dir=folder.parent))
    try:
        index = write_images(collection, members, preparation, temporary / "images.npy", progress)
        write_json(temporary / "index.json", index)
        temporary.chmod(0o755)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
