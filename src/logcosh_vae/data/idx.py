"""The idx file format of MNIST and similar sets: reading (gzipped or not), writing and checksums."""

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
from ..base.files import open_regular

MAX_BYTES = 1 << 30
"""A header that announces more data than this is treated as damaged."""

BLOCK_BYTES = 1 << 20
UNSIGNED_BYTES = 0x08


class DamagedError(DataError):
    """A file is damaged or has the wrong content.

    Attributes:
        problem: what is wrong, without the name of the file.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.problem = problem


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, gzipped or not (recognised by its first bytes, not by its name).

    The decompressed content of the file equals `idx_bytes` of the result. Memory is used only for data that is present,
    so neither a false header nor a gzip bomb exhausts it.

    Returns:
        An array of one to four dimensions, uint8.

    Raises:
        DamagedError: the file is truncated, too long, a damaged gzip file, or not an idx file of unsigned bytes.
        DataError: the file cannot be read.

    Example:
        read_idx(Path("t10k-images-idx3-ubyte.gz")).shape  # (10000, 28, 28)
    """
    try:
        with open_regular(path, follow=True) as raw:
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
    """Read the array from the decompressed content of `path`."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
        raise DamagedError(path, "not an idx file of unsigned bytes")
    if magic[2] != UNSIGNED_BYTES:
        raise DamagedError(path, f"not an idx file of unsigned bytes (its data type is 0x{magic[2]:02x}, not 0x08)")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DamagedError(path, f"truncated: its header has {4 + len(sizes)} of {4 + 4 * magic[3]} bytes")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    expected = math.prod(shape)
    if expected > MAX_BYTES:
        raise DamagedError(path, f"damaged: its header announces {expected} bytes of data")
    content = bytearray()
    # ask for one byte more than expected: this detects excess data, and makes gzip verify its checksum at the end
    while block := file.read(min(BLOCK_BYTES, expected + 1 - len(content))):
        content += block
    if len(content) < expected:
        raise DamagedError(
            path, f"truncated: it has {len(content)} of the {expected} bytes of data that its header announces"
        )
    if len(content) > expected:
        raise DamagedError(path, f"too long: it has more data than the {expected} bytes that its header announces")
    return np.frombuffer(content, np.uint8).reshape(shape)


def idx_header(array: NDArray[np.uint8]) -> bytes:
    """Return the header of the idx file of an array: data type, number of dimensions and their sizes."""
    return bytes([0, 0, UNSIGNED_BYTES, array.ndim]) + np.array(array.shape, ">u4").tobytes()


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """Return the content of the (uncompressed) idx file of an array."""
    return idx_header(array) + array.tobytes()


def idx_md5(array: NDArray[np.uint8]) -> str:
    """Return the md5 of `idx_bytes(array)` without copying the array."""
    digest = hashlib.md5(idx_header(array), usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
