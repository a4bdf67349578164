"""Decoding image files on all cores into the `.npy` file of a prepared set."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.devices import usable_cores
from ..base.files import one_line
from .collection import Collection, Member
from .decode import Preparation, Tiling, decode, decode_tiles
from .sources import Progress

HEADER_BYTES = 128
"""Size of the header of the `.npy` file."""

CHUNK_FILES = 64
CHUNK_BYTES = 1 << 24
"""A task decodes `CHUNK_FILES` image files, or fewer if their images would exceed `CHUNK_BYTES`."""


@dataclass
class _Chunk:
    """The result of one task; the fields are those of `PreparedImages`."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)


def image_shape(preparation: Preparation | Tiling) -> tuple[int, int, int]:
    """Return `(C, H, W)` of the images."""
    return preparation.channels, preparation.height, preparation.width


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Return the header of a `.npy` file of bytes, padded to `HEADER_BYTES` for any number of images."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    size = (HEADER_BYTES - 10).to_bytes(2, "little")
    return b"\x93NUMPY\x01\x00" + size + header.ljust(HEADER_BYTES - 11).encode() + b"\n"


def npy_size(count: int, preparation: Preparation | Tiling) -> int:
    """Return the size in bytes of the `.npy` file of `count` images."""
    return HEADER_BYTES + count * math.prod(image_shape(preparation))


def pixel_digest(preparation: Preparation | Tiling) -> hashlib._Hash:
    """Return the digest of a set without images, to be updated with the pixels; see `fingerprint`."""
    return hashlib.sha256(str(image_shape(preparation)).encode())


def fingerprint(digest: hashlib._Hash) -> str:
    """Return the 12 hexadecimal digits that identify a prepared set by its shape and pixels."""
    return digest.hexdigest()[:12]


def write_images(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    path: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Decode image files and write their pixels to `path`, in the order of `members`.

    Returns:
        The content of `index.json`.
    """
    names: list[str] = []
    broken: list[tuple[str, str]] = []
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    digest = pixel_digest(preparation)
    with path.open("wb") as file:
        file.write(npy_header((0, *image_shape(preparation))))
        for chunk in _decode_in_order(collection, members, preparation):
            for images in chunk.images:
                file.write(images.data)
                digest.update(images.data)
            names += chunk.names
            broken += chunk.broken
            sizes += chunk.sizes
            modes += chunk.modes
            if progress is not None:
                progress(collection.path.name, sizes.total() + len(broken), len(members), "images")
        file.seek(0)
        file.write(npy_header((len(names), *image_shape(preparation))))
        file.flush()
        os.fsync(file.fileno())
    return {
        "preparation": preparation.cache_fields(),
        "source": str(collection.path),
        "names": names,
        "broken": broken,
        "sizes": dict(sizes.most_common()),
        "modes": dict(modes.most_common()),
        "fingerprint": fingerprint(digest),
    }


def _decode_in_order(
    collection: Collection, members: Sequence[Member], preparation: Preparation | Tiling
) -> Iterable[_Chunk]:
    """Yield chunks decoded on all cores, in order; only a few are held at a time."""
    workers = usable_cores()
    with ThreadPoolExecutor(workers) as pool:  # threads suffice: the decoders release the interpreter lock
        waiting: list[Future[_Chunk]] = []
        count = max(1, min(CHUNK_FILES, CHUNK_BYTES // preparation.max_bytes))
        for start in range(0, len(members), count):
            waiting.append(pool.submit(_decode_chunk, collection, members[start : start + count], preparation))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def _decode_chunk(collection: Collection, members: Iterable[Member], preparation: Preparation | Tiling) -> _Chunk:
    chunk = _Chunk()
    for member in members:
        try:
            content = collection.read(member.name)
            if isinstance(preparation, Tiling):
                images, (width, height), mode = decode_tiles(content, preparation)
            else:
                image, (width, height), mode = decode(content, preparation)
                images = image[None]
        except Exception as error:  # decoders raise many kinds of errors for a damaged file
            chunk.broken.append((member.name, one_line(error)))
            continue
        chunk.images.append(images)
        chunk.names += [member.name] * len(images)
        chunk.sizes[f"{width}x{height}"] += 1
        chunk.modes[mode] += 1
    return chunk
