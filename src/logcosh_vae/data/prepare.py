"""The cache of prepared images: image files are decoded once into a memory-mapped file.

Each set has a folder in the cache, named by a digest of its files and of how they are prepared:

    images.npy     `(N, C, H, W)`, uint8
    index.json     names of the image files, files that could not be used, sizes and modes, fingerprint of the pixels,
                   and a digest of all this
    verified       the state in which a large images.npy was last verified

A file that could not be used is tried again when the cause may have gone: with other decoders, with another zip file,
and, if the failure may be one of the machine (memory, permission, input and output), each time. A failure is one of the
file only if it occurs again when the file is decoded alone, with enough memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..base.errors import DataError
from ..base.extras import require
from ..base.files import JSON_BYTES, TEMPORARY_PREFIX, open_regular, read_json, write_json, write_text
from ..base.versions import DATA
from .build import (
    HEADER_BYTES,
    decode_members,
    failure_lasts,
    fingerprint,
    image_shape,
    npy_header,
    npy_size,
    pixel_digest,
    write_images,
)
from .collection import Collection, Member
from .decode import Preparation, Tiling
from .formats import quiet_decoders
from .listing import OWN_PICTURE, check_complete
from .memmap import map_images
from .sources import Progress, check_folder, locked

INDEX_VERSION = 3
"""Raised when the content of the index changes, or when files of rare kinds are decoded differently. It is not one of
the versions of results, because the fingerprint of the pixels tells whether those of a set have changed.

Version 2: the index has a digest; 12-bit images and 32-bit images with small values are scaled, and transparent values
of grey and 16-bit PNG files are composited on white.
Version 3: failures of decoders for lack of memory are not remembered; 0 means white in all TIFF files that say so.
"""

VERIFIED_BYTES = 1 << 28
"""The pixels of files up to this size are verified by their fingerprint each time, which takes about 0.1 seconds; those
of larger ones if the file has changed since it was last verified."""


@dataclass(frozen=True)
class PreparedImages:
    """The images made from a collection.

    Attributes:
        images: `(N, C, H, W)`, uint8, mapped from the cache (see `memmap`).
        names: the image file of each image, in the images' order; one that was cut into tiles is repeated.
        broken: files that could not be used, each with the reason.
        own: files that were written by this program, and are therefore not used.
        sizes: number of image files by size, written `WIDTHxHEIGHT`.
        modes: number of image files by pixel format (Pillow's mode).
        fingerprint: digest of the pixels.
        notes: sentences for the user, about what the images do not show of their files and about the cache.
    """

    images: Tensor
    names: list[str]
    broken: list[tuple[str, str]]
    own: list[str]
    sizes: dict[str, int]
    modes: dict[str, int]
    fingerprint: str
    notes: tuple[str, ...] = ()


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
    left_out: Sequence[tuple[str, str]] = (),
    *,
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
        left_out: entries of the collection that cannot be used, each with the reason; an error names them too.
        progress: called with the number of files decoded.

    Raises:
        DataError: no file can be used; or the cache cannot be written or is too small.
    """
    if not members:
        raise DataError(f"{collection.path} holds no image files")
    check_folder(cache, "the cache of prepared images", "set LOGCOSH_VAE_CACHE to a folder")
    folder = cache / cache_key(members, preparation)
    index, damaged = _read_index(folder, preparation)  # without the lock, which a read-only disk does not have
    if index is None or _may_have_changed(index, collection, members, preparation):
        try:
            with locked(cache / f".{folder.name}.lock"):
                index, damaged = _read_index(folder, preparation)
                if index is None or _may_have_changed(index, collection, members, preparation):
                    index = _build(collection, members, preparation, folder, progress)
        except OSError as error:
            if index is None:
                found = f"{folder} is damaged, and new images" if damaged else f"{cache}: prepared images"
                raise DataError(
                    f"{found} cannot be stored there ({error.strerror or error}); set LOGCOSH_VAE_CACHE to a writable "
                    "folder with enough space"
                ) from None
    broken = [(name, reason) for name, reason in index["broken"] if reason != OWN_PICTURE]
    if not index["names"]:
        check_complete(collection.path, [*left_out, *broken], strict=False)
    notes = [f"the cache entry {folder} was damaged; the images were prepared anew"] if damaged else []
    return PreparedImages(
        map_images(folder / "images.npy"),
        index["names"],
        broken,
        [name for name, reason in index["broken"] if reason == OWN_PICTURE],
        index["sizes"],
        index["modes"],
        index["fingerprint"],
        (*index["notes"], *notes),
    )


def _decoders() -> str:
    """Return the versions of everything that decodes image files."""
    from PIL import __version__, features

    found = {name: features.version(name) for name in (*features.modules, *features.codecs, *features.features)}
    return f"Python {platform.python_version()}, Pillow {__version__}, {sorted(map(str, found.items()))}"


def _cause(collection: Collection) -> str:
    """Return a digest that changes when files that could not be used may have become usable."""
    return hashlib.sha256(f"{_decoders()}\n{collection.stamp()}".encode()).hexdigest()[:16]


def _may_have_changed(
    index: dict[str, Any], collection: Collection, members: Sequence[Member], preparation: Preparation | Tiling
) -> bool:
    """Return whether a file that could not be used when the index was written can be used now."""
    if not index["broken"]:
        return False
    require("decoding image files", "PIL")
    if index["cause"] != _cause(collection):
        return True
    passing = set(index["passing"])
    with quiet_decoders():
        return any(_decides(collection, member, preparation) for member in members if member.name in passing)


def _decides(collection: Collection, member: Member, preparation: Preparation | Tiling) -> bool:
    """Return whether decoding a file shows that it can be used, or that it never can."""
    chunk = decode_members(collection, [member], preparation)
    if not chunk.broken or chunk.passing:
        return not chunk.broken
    return failure_lasts(collection, member, preparation, chunk.broken[0][1])


def _digest(index: dict[str, Any]) -> str:
    content = {key: value for key, value in index.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_index(folder: Path, preparation: Preparation | Tiling) -> tuple[dict[str, Any] | None, bool]:
    """Return the index of a complete set, or None; and whether the set is damaged."""
    try:
        index = read_json(folder / "index.json", JSON_BYTES)
        if index.get("version") != INDEX_VERSION and "fingerprint" in index:
            return None, False
        if (
            index["key"] == folder.name
            and index["digest"] == _digest(index)
            and _has_pixels(folder, index, preparation)
        ):
            return index, False
    except FileNotFoundError:
        return None, folder.exists()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None, True


def _has_pixels(folder: Path, index: dict[str, Any], preparation: Preparation | Tiling) -> bool:
    """Return whether the pixels of a set are complete, and those that its fingerprint stands for."""
    count = len(index["names"])
    size = npy_size(count, preparation)
    with open_regular(folder / "images.npy", follow=True) as file:
        state = os.fstat(file.fileno())
        if state.st_size != size or file.read(HEADER_BYTES) != npy_header((count, *image_shape(preparation))):
            return False
        stamp = f"{index['fingerprint']} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}\n"
        verified = folder / "verified"
        if size > VERIFIED_BYTES and verified.is_file() and verified.read_text(encoding="utf-8") == stamp:
            return True
        digest = pixel_digest(preparation)
        while block := file.read(1 << 20):
            digest.update(block)
        if fingerprint(digest) != index["fingerprint"]:
            return False
    if size > VERIFIED_BYTES:
        with suppress(OSError):  # a read-only cache is verified each time
            write_text(verified, stamp)
    return True


def _build(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Prepare a set in a temporary folder, rename it to `folder` when it is complete, and return its index."""
    require("decoding image files", "PIL")
    _remove_leftovers(folder)
    _check_space(folder.parent, len(members), preparation)
    temporary = folder.with_name(f"{TEMPORARY_PREFIX}{folder.name}-{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        index = write_images(collection, members, preparation, temporary / "images.npy", progress)
        index |= {"version": INDEX_VERSION, "key": folder.name, "cause": _cause(collection)}
        index["digest"] = _digest(index)
        write_json(temporary / "index.json", index)
        if folder.exists():  # a process that uses its files keeps them open
            folder.replace(temporary.with_name(f"{temporary.name}-former"))
        temporary.replace(folder)
    finally:
        for leftover in folder.parent.glob(f"{temporary.name}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    return index


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left of any set; the lock of the set `folder` is held."""
    for leftover in folder.parent.glob(f"{TEMPORARY_PREFIX}*-*"):
        key = leftover.name.removeprefix(TEMPORARY_PREFIX).partition("-")[0]
        with suppress(OSError):  # another process prepares that set: its lock is held
            if key == folder.name:
                shutil.rmtree(leftover)
            elif (lock := folder.with_name(f".{key}.lock")).is_file():
                with locked(lock).acquire(timeout=0):
                    shutil.rmtree(leftover)


def _check_space(cache: Path, count: int, preparation: Preparation | Tiling) -> None:
    """Check that the disk has room for the images of `count` files; how many tiles a file gives is not known.

    Raises:
        DataError: it has not.
    """
    needed, free = npy_size(count, preparation), shutil.disk_usage(cache).free
    if isinstance(preparation, Preparation) and needed > free:
        raise DataError(
            f"{cache}: {count:,} prepared images take {needed:,} bytes, and {free:,} are free; choose a smaller size, "
            "or set LOGCOSH_VAE_CACHE to a folder with enough space"
        )
