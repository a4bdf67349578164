"""Images in files that may be larger than memory: rows are read as they are needed, and read ahead where that helps.

Small files are mapped, and the system keeps what was touched. Of a large one that would fill memory: a touch maps up to
two megabytes around a row, and reads a window of which most is not needed. So rows of large files are read into
memory of their own, a step after the system was told to fetch them; the process holds no more than a batch, and the
system caches what it has room for.
"""

from __future__ import annotations

import mmap
import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LARGE = 1 << 30
"""Bytes of a file from which on it is read row by row."""


def _advise(descriptor: int, offset: int, length: int, advice: str) -> None:
    """Tell the system how a file will be read, where it can be told: it only saves time."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, length, getattr(os, f"POSIX_FADV_{advice}"))


class ImageFile:
    """A large file of images that a mapping stands for, as long as somebody holds the mapping."""

    def __init__(self, mapping: mmap.mmap, path: Path) -> None:
        self.mapping, self.size = weakref.ref(mapping), len(mapping)
        self._address = np.frombuffer(mapping, np.uint8).ctypes.data
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(mapping, os.close, self._descriptor)
        _advise(self._descriptor, 0, 0, "RANDOM")

    def holds(self, images: Tensor) -> bool:
        """Whether the images lie in the mapping."""
        return self.mapping() is not None and 0 <= images.data_ptr() - self._address < self.size

    def _places(self, images: Tensor, rows: Tensor) -> list[tuple[int, int]]:
        """Offset and length of each row in the file; of rows that follow each other, of all together."""
        length, begin = images[0].numel(), images.data_ptr() - self._address
        wanted = rows.tolist()
        if wanted == list(range(wanted[0], wanted[0] + len(wanted))):
            return [(begin + wanted[0] * length, len(wanted) * length)]
        return [(begin + row * length, length) for row in wanted]

    def expect(self, images: Tensor, rows: Tensor) -> None:
        """Have the system fetch these rows while something else is done."""
        if len(rows):
            for offset, length in self._places(images, rows):
                _advise(self._descriptor, offset, length, "WILLNEED")

    def take(self, images: Tensor, rows: Tensor) -> Tensor:
        """The rows, at least one, `(len(rows), C, H, W)` in memory of their own.

        Raises:
            OSError: the file is shorter than it was.
        """
        taken = images.new_empty((len(rows), *images.shape[1:]))
        into = taken.numpy().data.cast("B")
        for offset, length in self._places(images, rows):
            part, into = into[:length], into[length:]
            while len(part):
                count = os.preadv(self._descriptor, [part], offset)
                if count == 0:
                    raise OSError("prepared images were cut off while they were read")
                part, offset = part[count:], offset + count
        return taken


_FILES: list[ImageFile] = []


def look_after(array: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Know the array mapped from `path` by its memory from now on, if the file is large; the array itself."""
    mapping = getattr(array, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and len(mapping) >= LARGE:
        _FILES[:] = [known for known in _FILES if known.mapping() is not None]
        _FILES.append(ImageFile(mapping, path))
    return array


def file_of(images: Tensor) -> ImageFile | None:
    """The large file that images lie in; None where they are to be used as they are."""
    if images.device.type != "cpu":
        return None
    return next((file for file in _FILES if file.holds(images)), None)
