"""Atomic file writes, JSON files, and one-line texts of exceptions."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import DamagedJsonError

TEMPORARY_PREFIX = ".tmp-"
"""Prefix of files that are being written. A process that is killed leaves its temporary file behind."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return an exception's text on one line of at most `limit` characters; its class name if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the block ends without an error.

    Readers therefore see the previous file or the complete new one, also after a crash. The folder is created if it is
    missing; the temporary file is removed if the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)  # the only way to read the mask is to set it
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp creates files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as indented JSON.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(text: str, path: Path) -> Any:
    """Return the JSON value in `text`, the content of `path`.

    Raises:
        DamagedJsonError: it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedJsonError(f"{path} is damaged: it is not valid JSON ({error})") from None


def read_json(path: Path) -> Any:
    """Return the JSON value in a file.

    Raises:
        DamagedJsonError: the file is not JSON.
        OSError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedJsonError(f"{path} is damaged: it is not text ({error})") from None
    return parse_json(text, path)
