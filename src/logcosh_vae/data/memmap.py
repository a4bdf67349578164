"""Reading images that may be larger than memory from prepared `.npy` files.

    images = map_images(path)            # (N, C, H, W), uint8: the file mapped into memory
    reader = reader_for(images[100:])    # None, unless the images are part of a large file
    batch = reader.read(rows)            # copies of these rows
    reader.prefetch(next_rows)           # the system loads these while the batch is used

A small file is used through its mapping, and the system keeps in memory what has been read. For a large file this is
slow, because reading one row through the mapping makes the system map up to 2 MB around it and read ahead a window of
the file that random batches do not need. Rows of a large file are therefore read with ordinary reads into new memory,
and the rows of the next batch are announced to the system one step ahead. The process then holds one batch at a time.

All views of a tensor share its storage. `map_images` attaches the open file to the storage, so `reader_for` works for
the tensor and for every slice of it.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

LARGE_FILE_BYTES = 1 << 30
"""Files of at least this size are read with a `MemmapReader`."""

_ATTRIBUTE = "logcosh_vae_file"


class _OpenFile:
    """A file that stays open as long as this object exists, also if it is deleted meanwhile.

    Attributes:
        pixels_offset: position of the first pixel, in bytes.
    """

    def __init__(self, path: Path, pixels_offset: int) -> None:
        self.pixels_offset = pixels_offset
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()  # seek and read belong together
        weakref.finalize(self, self._file.close)
        self._advise(0, 0, "RANDOM")

    def _advise(self, offset: int, length: int, advice: str) -> None:
        """Tell the system how the file will be read. Systems without `posix_fadvise` only read more slowly."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), offset, length, getattr(os, f"POSIX_FADV_{advice}"))

    def prefetch(self, offset: int, length: int) -> None:
        self._advise(offset, length, "WILLNEED")

    def read_into(self, target: memoryview, offset: int) -> None:
        with self._lock:
            self._file.seek(offset)
            while len(target):
                count = self._file.readinto(target)
                if not count:
                    raise OSError(f"{self._file.name} was truncated while it was read; start the command again")
                target = target[count:]


class MemmapReader:
    """Reads rows of images that are part of a large mapped file, without using the mapping."""

    def __init__(self, file: _OpenFile, images: Tensor) -> None:
        self._file = file
        self._image_shape = images.shape[1:]
        self._row_bytes = self._image_shape.numel()
        self._offset = file.pixels_offset + images.storage_offset()

    def _ranges(self, rows: Tensor) -> list[tuple[int, int]]:
        """Return offset and length in the file of each row; consecutive rows are one range."""
        indices = rows.tolist()
        if not indices:
            return []
        if indices == list(range(indices[0], indices[0] + len(indices))):
            return [(self._offset + indices[0] * self._row_bytes, len(indices) * self._row_bytes)]
        return [(self._offset + index * self._row_bytes, self._row_bytes) for index in indices]

    def prefetch(self, rows: Tensor) -> None:
        """Ask the system to load these rows in the background; returns at once."""
        for offset, length in self._ranges(rows):
            self._file.prefetch(offset, length)

    def read(self, rows: Tensor) -> Tensor:
        """Return copies of the rows with these indices.

        Args:
            rows: `(B,)`, int64.

        Returns:
            `(B, C, H, W)`, uint8.

        Raises:
            OSError: the file cannot be read or has become shorter.
        """
        images = torch.empty((len(rows), *self._image_shape), dtype=torch.uint8)
        target = images.view(-1).numpy().data
        for offset, length in self._ranges(rows):
            self._file.read_into(target[:length], offset)
            target = target[length:]
        return images


def map_images(path: Path) -> Tensor:
    """Map a `.npy` file of images into memory.

    Args:
        path: an array `(N, C, H, W)`, uint8, with at least one image.

    Returns:
        The array as a tensor. Memory is used only for the parts that are read.
    """
    array = np.load(path, mmap_mode="c")  # "c": torch warns about arrays that are not writable
    images = torch.from_numpy(array)
    if array.nbytes >= LARGE_FILE_BYTES:
        setattr(images.untyped_storage(), _ATTRIBUTE, _OpenFile(path, array.offset))
    return images


def reader_for(images: Tensor) -> MemmapReader | None:
    """Return a reader for images that are part of a large mapped file.

    Args:
        images: `(N, C, H, W)`: what `map_images` returned, a slice of it, or any other images.

    Returns:
        None if the images are to be indexed directly: they are in memory, on another device, in a small file, or
        not consecutive in the file.
    """
    file = getattr(images.untyped_storage(), _ATTRIBUTE, None)
    return MemmapReader(file, images) if file is not None and images.is_contiguous() else None
