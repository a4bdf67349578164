"""Errors that libtiff reports while Pillow decodes TIFF files.

libtiff prints them to standard error, without the name of the file, and Pillow uses the pixels of some damaged files
without raising an error. Here they are counted instead. Where the library cannot be found, because it is part of
another one as in Pillow for Windows, nothing changes.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_errors = threading.local()


def _count(module: bytes, text: bytes, arguments: int) -> None:  # noqa: ARG001 - the signature is libtiff's
    _errors.count = getattr(_errors, "count", 0) + 1


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_count)


def take_errors() -> int:
    """Return the number of errors that were reported in this thread since the last call."""
    count: int = getattr(_errors, "count", 0)
    _errors.count = 0
    return count


@cache
def _set_handler() -> Callable[[Any], Any] | None:
    """Return libtiff's `TIFFSetErrorHandler`; None if the library that Pillow uses cannot be found."""
    with suppress(Exception):
        import PIL._imaging

        maps, bundled = Path("/proc/self/maps"), Path(PIL._imaging.__file__).parent / ".dylibs"
        if maps.exists():
            loaded = [line.rpartition(" ")[2] for line in maps.read_text(errors="surrogateescape").splitlines()]
        else:
            loaded = [str(path) for path in bundled.iterdir()]  # macOS
        path = next(path for path in loaded if Path(path).name.startswith("libtiff"))
        function = ctypes.CDLL(path).TIFFSetErrorHandler
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
        return function
    return None


@contextmanager
def errors_counted() -> Iterator[None]:
    """Count the errors of all threads inside the `with` block, see `take_errors`, instead of printing them."""
    set_handler = _set_handler()
    if set_handler is None:
        yield
        return
    former = set_handler(ctypes.cast(_HANDLER, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(former)
