"""Reading idx files, the format of MNIST and its relatives, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .images import DataError

LARGEST = 1 << 32
"""A header that claims more bytes than this is taken for damage."""


def read_idx(path: Path) -> tuple[NDArray[np.uint8], bytes]:
    """The array in an idx file of unsigned bytes, and the file's content after decompression.

    Raises:
        DataError: the file is missing, truncated, too long, not gzip though it says so, or no idx file of bytes.
    """
    content = read_content(path)
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise DataError(f"{path}: no idx file of unsigned bytes")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path}: truncated in its header, {len(content)} of {header} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        kind = "truncated" if len(content) < expected else "too long"
        raise DataError(f"{path}: {kind}, {len(content)} bytes where its header says {expected}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape), content


def read_content(path: Path) -> bytes:
    """The bytes of a file, decompressed if it is gzipped (by its first bytes, whatever its name)."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return raw.read(LARGEST)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return unzipped.read(LARGEST)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged gzip ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
