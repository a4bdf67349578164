"""Opening files of a user that should be images: regular files only, within a limit of bytes.

Image sets and `restore` open files in this way; `formats` decides by the content what they are.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from .formats import MAX_FILE_BYTES

_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


def special_kind(mode: int) -> str | None:
    """Return what a file that is not regular is, such as `a named pipe`; None for a regular file.

    Args:
        mode: `st_mode` of the file.
    """
    return None if stat.S_ISREG(mode) else next((text for test, text in _KINDS.items() if test(mode)), "no file")


def open_image_file(path: Path) -> BinaryIO:
    """Open a regular file. A named pipe or a device is refused, because reading it may never end.

    Raises:
        ValueError: it is not a regular file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    if (kind := special_kind(path.stat().st_mode)) is None:
        file = os.fdopen(os.open(path, flags), "rb")
        kind = special_kind(os.fstat(file.fileno()).st_mode)  # it may have been replaced
        if kind is None:
            return file
        file.close()
    raise ValueError(f"it is {kind}, not a regular file")


def check_size(size: int, further: int = 0) -> None:
    """Check the size of a file before it is read.

    Args:
        size: in bytes.
        further: number of bytes that it may have beside `MAX_FILE_BYTES`.

    Raises:
        ValueError: it exceeds the limit.
    """
    limit = MAX_FILE_BYTES + further
    if size > limit:
        raise ValueError(f"it has {size:,} bytes; image files of at most {limit:,} are read")
