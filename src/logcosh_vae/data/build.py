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
from ..base.own_outputs import own_output
from ..base.text import counted, visible
from .collection import Collection, Member
from .decode import Preparation, Tiling, decode, decode_tiles
from .formats import MAX_DECODING_BYTES, READING, quiet_decoders
from .listing import OWN_PICTURE
from .sources import Progress

HEADER_BYTES = 128
"""Size of the header of the `.npy` file."""

CHUNK_FILES = 64
CHUNK_BYTES = 1 << 24
"""A task decodes `CHUNK_FILES` image files, or fewer if their images would exceed `CHUNK_BYTES`."""


WAITING_BYTES = 1 << 28
"""Chunks are decoded ahead of the file that is written as long as their images do not exceed this."""


@dataclass
class _Chunk:
    """The result of one task; the fields are those of `PreparedImages`, and `passing` names those of `broken` whose
    failure is not a property of the file."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    notes: list[tuple[str, str]] = field(default_factory=list)


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
        The content of `index.json`, see `prepare`.
    """
    total = _Chunk()
    digest = pixel_digest(preparation)
    with path.open("wb") as file, quiet_decoders():
        file.write(npy_header((0, *image_shape(preparation))))
        for chunk in _decode_in_order(collection, members, preparation):
            for images in chunk.images:
                file.write(images.data)
                digest.update(images.data)
            total.names += chunk.names
            total.broken += chunk.broken
            total.passing += chunk.passing
            total.sizes += chunk.sizes
            total.modes += chunk.modes
            total.notes += chunk.notes
            if progress is not None:
                progress(collection.path.name, total.sizes.total() + len(total.broken), len(members), "images")
        _try_again(collection, members, preparation, total)
        file.seek(0)
        file.write(npy_header((len(total.names), *image_shape(preparation))))
        file.flush()
        os.fsync(file.fileno())
    return {
        "preparation": preparation.cache_fields(),
        "source": str(collection.path),
        "names": total.names,
        "broken": total.broken,
        "passing": total.passing,
        "notes": _summarised(total.notes),
        "sizes": dict(total.sizes.most_common()),
        "modes": dict(total.modes.most_common()),
        "fingerprint": fingerprint(digest),
    }


def _summarised(notes: list[tuple[str, str]]) -> list[str]:
    """Return one sentence for each text among notes `(name, text)`, with the number of files and an example."""
    examples: dict[str, str] = {}
    for name, text in notes:
        examples.setdefault(text, name)
    counts = Counter(text for _, text in notes)
    return [
        f"{visible(name)}: {text}" + (f" (and {counted(counts[text] - 1, 'more file')})" if counts[text] > 1 else "")
        for text, name in examples.items()
    ]


def _decode_in_order(
    collection: Collection, members: Sequence[Member], preparation: Preparation | Tiling
) -> Iterable[_Chunk]:
    """Yield chunks decoded on all cores, in order; only a few are held at a time."""
    workers = usable_cores()
    count = max(1, min(CHUNK_FILES, CHUNK_BYTES // preparation.max_bytes))
    ahead = min(2 * workers, WAITING_BYTES // (count * preparation.max_bytes))
    with ThreadPoolExecutor(workers) as pool:  # threads suffice: the decoders release the interpreter lock
        waiting: list[Future[_Chunk]] = []
        for start in range(0, len(members), count):
            waiting.append(pool.submit(decode_members, collection, members[start : start + count], preparation))
            if len(waiting) > ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


def decode_members(collection: Collection, members: Iterable[Member], preparation: Preparation | Tiling) -> _Chunk:
    """Decode image files one after another."""
    chunk = _Chunk()
    for member in members:
        notes: list[str] = []
        try:
            images, (width, height), mode = _decode_member(collection, member, preparation, notes)
        except Exception as error:  # decoders raise many kinds of errors for a damaged file
            chunk.broken.append((member.name, _reason(error)))
            if is_passing(error):
                chunk.passing.append(member.name)
            continue
        chunk.images.append(images)
        chunk.names += [member.name] * len(images)
        chunk.sizes[f"{width}x{height}"] += 1
        chunk.modes[mode] += 1
        chunk.notes += [(member.name, note) for note in notes]
    return chunk


def _decode_member(
    collection: Collection, member: Member, preparation: Preparation | Tiling, notes: list[str]
) -> tuple[NDArray[np.uint8], tuple[int, int], str]:
    with READING.reserve(member.size):
        content = collection.read(member)
        if own_output(content, content):
            raise ValueError(OWN_PICTURE)
        if isinstance(preparation, Tiling):
            return decode_tiles(content, preparation, notes)
        image, size, mode = decode(content, preparation, notes)
        return image[None], size, mode


def _try_again(
    collection: Collection, members: Sequence[Member], preparation: Preparation | Tiling, chunk: _Chunk
) -> None:
    """Add to `chunk.passing` the files whose failure does not last. No other file is being decoded."""
    by_name = {member.name: member for member in members}
    for index, (name, reason) in enumerate(chunk.broken):
        if name in chunk.passing or reason == OWN_PICTURE:
            continue
        if not failure_lasts(collection, by_name[name], preparation, reason):
            chunk.passing.append(name)
            chunk.broken[index] = name, f"{reason} (perhaps for lack of memory; it is tried again next time)"


def failure_lasts(collection: Collection, member: Member, preparation: Preparation | Tiling, reason: str) -> bool:
    """Return whether decoding a file fails again for the same reason although there is enough memory.

    Decoders report a lack of memory in many ways, some of which read like damage of the file.
    """
    if not _has_memory(member):
        return False
    again = decode_members(collection, [member], preparation)
    return not again.passing and again.broken == [(member.name, reason)] and _has_memory(member)


def _has_memory(member: Member) -> bool:
    """Return whether the system grants the memory that decoding a file takes at most."""
    try:
        np.empty(MAX_DECODING_BYTES + member.size, np.uint8)  # pages that are not written take nothing
    except MemoryError:
        return False
    return True


def is_passing(error: Exception) -> bool:
    """Return whether a failure is one of the machine at this moment, and not a property of the file's content."""
    if isinstance(error, OSError | RuntimeError):  # decoders report a lack of memory as these
        text = str(error).lower()
        return getattr(error, "errno", None) is not None or "memory" in text or text == "decoder error -9"
    return isinstance(error, MemoryError | ImportError)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    return one_line(OSError(error.strerror)) if isinstance(error, OSError) and error.strerror else one_line(error)
