"""Reading idx files, the format of MNIST and its relatives, gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..base.errors import DataError

LARGEST = 1 << 30
"""A header that claims more bytes than this is taken for damage."""

BLOCK = 1 << 20
UNSIGNED_BYTES = 0x08


class DamagedError(DataError):
    """A file is not what it should be; `what` says in which way, without the file's name."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.what = what


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, gzipped or not (by its first bytes, whatever its name).

    The content after decompression is `idx_bytes` of the array, bit for bit. No more is read than the header
    announces, and memory is taken only for what is there.

    Returns:
        Any shape of one to four dimensions; values 0 to 255.

    Raises:
        DamagedError: truncated, too long, damaged gzip, or no idx file of unsigned bytes.
        DataError: the file cannot be read.

    Example:
        read_idx(Path("t10k-images-idx3-ubyte.gz")).shape  # (10000, 28, 28)
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return _read_array(raw, path)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return _read_array(unzipped, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DamagedError(path, f"truncated or damaged gzip ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read_array(file: BinaryIO | gzip.GzipFile, path: Path) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
        raise DamagedError(path, "no idx file of unsigned bytes")
    if magic[2] != UNSIGNED_BYTES:
        raise DamagedError(path, f"no idx file of unsigned bytes (its data type is 0x{magic[2]:02x}, not 0x08)")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DamagedError(path, f"truncated in its header, {4 + len(sizes)} of {4 + 4 * magic[3]} bytes")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    expected = math.prod(shape)
    if expected > LARGEST:
        raise DamagedError(path, f"damaged, its header claims {expected} bytes")
    content = bytearray()
    # one byte more than expected, to notice what is too long and to reach the checksum at the end of a gzip
    while block := file.read(min(BLOCK, expected + 1 - len(content))):
        content += block
    if len(content) < expected:
        raise DamagedError(path, f"truncated, {len(content)} bytes of data where its header says {expected}")
    if len(content) > expected:
        raise DamagedError(path, f"too long, more bytes of data than the {expected} its header says")
    return np.frombuffer(content, np.uint8).reshape(shape)


def idx_header(array: NDArray[np.uint8]) -> bytes:
    """What stands before the data in an idx file: the type, and the size of each dimension."""
    return bytes([0, 0, UNSIGNED_BYTES, array.ndim]) + np.array(array.shape, ">u4").tobytes()


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An array of bytes as the content of an idx file."""
    return idx_header(array) + array.tobytes()


def idx_md5(array: NDArray[np.uint8]) -> str:
    """md5 of `idx_bytes`, without making a copy: what an idx file's published checksum is after decompression."""
    digest = hashlib.md5(idx_header(array), usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
