"""Arrays for the pixels of large pictures: they lie in a temporary file, so that they do not fill the memory.

Small arrays are ordinary ones. A function that walks through a large array calls `release` from time to time, which
gives the memory of the pages back to the system; their content stays in the file.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MEMORY_BYTES = 256 << 20
"""Largest array that is kept in memory: about 85 megapixels of RGB."""

STRIP_ROWS = 256
"""Rows of a picture that are processed at once, to bound the memory for intermediate results."""


def empty(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array, in a temporary file if it has more than `MEMORY_BYTES`.

    The file has no name, so that it disappears with the array. `TMPDIR` determines its folder.

    Raises:
        OSError: the folder does not have enough space.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= MEMORY_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk would otherwise end the process when a page is written
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            text = f"{size:,} bytes do not fit in the folder of temporary files, {tempfile.gettempdir()}"
            raise OSError(error.errno, f"{text}; set TMPDIR to a folder with more space") from None
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)


def copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an array `(H, ...)`, as by `empty`."""
    result = empty(array.shape, array.dtype)
    for top in range(0, len(array), STRIP_ROWS):
        result[top : top + STRIP_ROWS] = array[top : top + STRIP_ROWS]
        release(array, result)
    return result


def release(*arrays: NDArray[Any] | None) -> None:
    """Give the memory of arrays that lie in a file back to the system; views count as well, other arrays stay."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview):
            base = base.obj
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


def changed_pixels(before: NDArray[Any], after: NDArray[Any]) -> int:
    """Return how many pixels of two pictures `(H, W, 3)` differ."""
    if before is after:
        return 0
    count = 0
    for top in range(0, len(before), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        count += int((before[rows] != after[rows]).any(axis=2).sum())
        release(before, after)
    return count
