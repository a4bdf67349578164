"""Pictures decoded once into a memory-mapped file of bytes, kept under a name of what went into it.

images.npy     `(N, C, H, W)`, uint8
index.json     names, broken files, sizes and modes of the pictures, digest of the pixels
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.devices import usable_cores
from ..base.errors import DataError
from ..base.extras import require
from ..base.files import TEMPORARY_PREFIX, one_line, read_json, write_json
from ..base.versions import DATA
from .collection import Collection, Member
from .decode import Preparation, Tiling, decode, decode_tiles
from .memmap import look_after
from .sources import Progress, locked

HEADER = 128
"""Bytes before the pixels in `images.npy`."""

CHUNK = 64
CHUNK_BYTES = 1 << 24
"""Pictures decoded by one task: so many, fewer where the images are large."""

SHOWN = 3
"""Broken files named in a message."""

CHECKED = 1 << 28
"""Bytes of prepared images up to which their digest is compared each time: a good tenth of a second."""


@dataclass(frozen=True)
class Prepared:
    """What was made of a collection.

    Attributes:
        images: `(N, C, H, W)`, uint8, mapped from its file.
        names: of the pictures, in the images' order; those cut into squares stand once for each.
        broken: names of files that could not be used, and why.
        sizes: how many pictures have which `WIDTHxHEIGHT`; modes: which pixel format.
        fingerprint: digest of the pixels.
    """

    images: NDArray[np.uint8]
    names: list[str]
    broken: list[tuple[str, str]]
    sizes: dict[str, int]
    modes: dict[str, int]
    fingerprint: str


@dataclass
class _Chunk:
    """Members decoded by one task."""

    images: NDArray[np.uint8]
    names: list[str]
    broken: list[tuple[str, str]]
    sizes: Counter[str]
    modes: Counter[str]


def key(members: Sequence[Member], preparation: Preparation | Tiling) -> str:
    """A name for what `prepared` makes of these pictures; another version of it prepares them anew."""
    content = hashlib.sha256(json.dumps([DATA, asdict(preparation)]).encode())
    for member in members:
        content.update(f"\n{member.name}\0{member.stamp}".encode("utf-8", "surrogateescape"))
    return content.hexdigest()[:16]


def prepared(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    cache: Path,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """The members as images, made now or taken from `cache`.

    Decoding runs on all cores and memory does not grow with the collection. Of two processes that ask for the same, one
    makes it and the other waits; one that is killed leaves nothing that would be taken for a whole.

    Args:
        collection: where the members are read.
        members: pictures to use, in the order of the images.
        preparation: size, channels and crop, or how they are cut into squares.
        cache: folder of what was prepared.
        strict: a broken file is an error; else it is left out and named in the result.
        progress: called with the number of pictures done.

    Raises:
        DataError: no picture can be used; or one cannot, with `strict`; or the cache cannot be written.
    """
    if not members:
        raise DataError(f"{collection.path} holds no pictures")
    folder = cache / key(members, preparation)
    try:
        with locked(cache / f".{folder.name}.lock"):
            if not _is_whole(folder, preparation):
                _build(collection, members, preparation, folder, progress)
    except OSError as error:
        raise DataError(
            f"{cache}: prepared images cannot be kept there ({error.strerror or error}); "
            "set LOGCOSH_VAE_CACHE to a folder that can be written and has space"
        ) from None
    index = read_json(folder / "index.json")
    broken = [(name, why) for name, why in index["broken"]]
    if (broken and strict) or not index["names"]:
        shown = "; ".join(f"{name}: {why}" for name, why in broken[:SHOWN])
        more = f"; and {len(broken) - SHOWN:,} more" if len(broken) > SHOWN else ""
        raise DataError(f"{collection.path}: {len(broken):,} pictures cannot be used: {shown}{more}")
    # copy on write: nobody writes, but torch warns of arrays that cannot be written
    images = look_after(np.load(folder / "images.npy", mmap_mode="c"), folder / "images.npy")
    return Prepared(images, index["names"], broken, index["sizes"], index["modes"], index["fingerprint"])


def _is_whole(folder: Path, preparation: Preparation | Tiling) -> bool:
    """Whether what was prepared is there, with all its pixels, and of sets that are soon read, with the same ones."""
    shape = (preparation.channels, preparation.height, preparation.width)
    try:
        index = read_json(folder / "index.json")
        known = index.keys() >= {"names", "broken", "sizes", "modes", "fingerprint"}
        size = HEADER + len(index["names"]) * math.prod(shape)
        with (folder / "images.npy").open("rb") as file:
            if not known or os.fstat(file.fileno()).st_size != size:
                return False
            header = io.BytesIO()
            _write_header(header, (len(index["names"]), *shape))
            if file.read(HEADER) != header.getvalue():
                return False
            if size > CHECKED:
                return True
            pixels = hashlib.sha256(str(shape).encode())
            while content := file.read(1 << 20):
                pixels.update(content)
            return bool(pixels.hexdigest()[:12] == index["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _decode_chunk(collection: Collection, members: Iterable[Member], preparation: Preparation | Tiling) -> _Chunk:
    images, chunk = [], _Chunk(np.empty(0, np.uint8), [], [], Counter(), Counter())
    for member in members:
        try:
            content = collection.read(member.name)
            if isinstance(preparation, Tiling):
                squares, (width, height), mode = decode_tiles(content, preparation)
            else:
                image, (width, height), mode = decode(content, preparation)
                squares = image[None]
        except Exception as error:  # decoders raise what they like for a damaged file
            chunk.broken.append((member.name, one_line(error)))
            continue
        images.append(squares)
        chunk.names += [member.name] * len(squares)
        chunk.sizes[f"{width}x{height}"] += 1
        chunk.modes[mode] += 1
    if images:
        chunk.images = np.concatenate(images)
    return chunk


def _build(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    folder: Path,
    progress: Progress | None,
) -> None:
    require("decoding pictures", "PIL")
    for left_over in folder.parent.glob(f"{TEMPORARY_PREFIX}{folder.name}-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{folder.name}-", dir=folder.parent))
    try:
        index = _write_images(collection, members, preparation, aside / "images.npy", progress)
        write_json(aside / "index.json", index)
        aside.chmod(0o755)
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_images(
    collection: Collection,
    members: Sequence[Member],
    preparation: Preparation | Tiling,
    path: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the pixels in the members' order, a chunk at a time; what `index.json` holds."""
    names: list[str] = []
    broken: list[tuple[str, str]] = []
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    done = 0
    shape = (preparation.channels, preparation.height, preparation.width)
    pixels = hashlib.sha256(str(shape).encode())
    with path.open("wb") as file:
        _write_header(file, (0, *shape))
        for chunk in _in_order(collection, members, preparation):
            content = chunk.images.tobytes()
            file.write(content)
            pixels.update(content)
            names += chunk.names
            broken += chunk.broken
            sizes += chunk.sizes
            modes += chunk.modes
            if progress is not None:
                done += sum(chunk.sizes.values()) + len(chunk.broken)
                progress(collection.path.name, done, len(members), "images")
        file.seek(0)
        _write_header(file, (len(names), *shape))
        file.flush()
        os.fsync(file.fileno())
    return {
        "preparation": asdict(preparation),
        "source": str(collection.path),
        "names": names,
        "broken": broken,
        "sizes": dict(sizes.most_common()),
        "modes": dict(modes.most_common()),
        "fingerprint": pixels.hexdigest()[:12],
    }


def _in_order(collection: Collection, members: Sequence[Member], preparation: Preparation | Tiling) -> Iterable[_Chunk]:
    """Chunks decoded on all cores, in order; only a few wait to be written."""
    workers = usable_cores()
    with ThreadPoolExecutor(workers) as pool:  # the decoders run without the interpreter's lock
        waiting: list[Future[_Chunk]] = []
        count = max(1, min(CHUNK, CHUNK_BYTES // preparation.most_bytes))
        for start in range(0, len(members), count):
            part = members[start : start + count]
            waiting.append(pool.submit(_decode_chunk, collection, part, preparation))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def _write_header(file: Any, shape: tuple[int, ...]) -> None:
    """The header of a .npy file, padded so that it has the same length for any number of images."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    file.write(b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + header.ljust(HEADER - 11).encode() + b"\n")
