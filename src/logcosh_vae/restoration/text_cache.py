"""The sheets of text that training cuts its windows from: drawn once on a machine, and shared by its processes."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL

from ..base.files import atomic_write, write_text
from ..base.versions import RESTORATION
from ..data import cache_root
from ..data.sources import locked
from .text import Sheet, Style, draw_sheet


def sheets(seed: int, count: int, side: int, style: Style) -> Sheet:
    """`(count, side, side)` of text as `draw_sheet` gives it, the same each time; not to be written to.

    Drawing takes seconds, so they are kept beside the prepared images, for as long as neither the version of
    restoration nor the libraries that draw them change. Where they cannot be kept they are drawn anew.
    """
    meaning = (RESTORATION, PIL.__version__, np.__version__, seed, count, side, style)
    name = "text-" + hashlib.sha256(repr(meaning).encode()).hexdigest()[:12]
    path = cache_root() / f"{name}.npy"
    found = None
    # two trainings that begin together draw once
    with suppress(OSError), locked(path.parent / f".{name}.lock"):
        found = _kept(path, (count, side, side))
        if found is None:
            found = _draw(seed, count, side, style)
            with atomic_write(path) as aside, aside.open("wb") as file:
                np.save(file, found)
            write_text(_digest_path(path), _digest(path))
    return _draw(seed, count, side, style) if found is None else found


def _kept(path: Path, shape: tuple[int, int, int]) -> Sheet | None:
    try:
        if _digest_path(path).read_text(encoding="ascii") != _digest(path):
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):  # of them, the last two are a damaged file's
        return None
    whole = isinstance(found, np.ndarray) and found.shape == shape and found.dtype == np.int64
    return found if whole else None


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _draw(seed: int, count: int, side: int, style: Style) -> Sheet:
    rng = np.random.default_rng(seed)
    return np.stack([draw_sheet(side, side, rng, style) for _ in range(count)])
