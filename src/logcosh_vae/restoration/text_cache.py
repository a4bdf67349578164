"""Cache of the text canvases for training: drawn once on a machine and shared by all processes."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL

from ..base.files import atomic_write, open_regular, read_regular, write_text
from ..base.versions import RESTORATION
from ..data import cache_root
from ..data.sources import locked
from .text import TextCanvas, TextStyle, draw_text_canvas

DIGEST_BYTES = 1000
"""Largest size of a file with a digest."""


def cached_text_canvases(seed: int, count: int, size: int, style: TextStyle) -> TextCanvas:
    """Return `count` canvases of `draw_text_canvas`, which depend only on the arguments.

    Drawing takes seconds, so the canvases are stored in the cache folder of prepared images. They are drawn again if
    the version of restoration, Pillow or NumPy changes, if the file is damaged, or if it cannot be written.

    Returns:
        `(count, size, size)`, int64; read-only, because it may be a memory-mapped file.
    """
    key = (RESTORATION, PIL.__version__, np.__version__, seed, count, size, style)
    name = "text-" + hashlib.sha256(repr(key).encode()).hexdigest()[:12]
    path = cache_root() / f"{name}.npy"
    canvases = None
    # the lock makes processes that start together draw only once
    with suppress(OSError), locked(path.parent / f".{name}.lock"):
        canvases = _load(path, (count, size, size))
        if canvases is None:
            canvases = _draw(seed, count, size, style)
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.save(file, canvases)
            write_text(_digest_path(path), _digest(path))
    return _draw(seed, count, size, style) if canvases is None else canvases


def _load(path: Path, shape: tuple[int, int, int]) -> TextCanvas | None:
    """Return the stored canvases, or None if the file is missing or damaged."""
    try:
        if read_regular(_digest_path(path), DIGEST_BYTES, follow=True).decode("ascii") != _digest(path):
            return None
        canvases = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):  # NumPy raises the last two for damaged files
        return None
    valid = isinstance(canvases, np.ndarray) and canvases.shape == shape and canvases.dtype == np.int64
    return canvases if valid else None


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path, follow=True) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _draw(seed: int, count: int, size: int, style: TextStyle) -> TextCanvas:
    rng = np.random.default_rng(seed)
    return np.stack([draw_text_canvas(size, size, rng, style) for _ in range(count)])
