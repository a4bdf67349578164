"""Files written aside and renamed, so that a reader or a crash never meets half of one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import DamagedJsonError

TEMPORARY_PREFIX = ".aside-"
"""Names of files being written; one that stays was left by a process that was killed."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's text on one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it over `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by readable JSON in one step; NaN is an error."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(text: str, path: Path) -> Any:
    """The JSON value in `text`, which stands in `path`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedJsonError(f"{path} is damaged: it is not valid JSON ({error})") from None


def read_json(path: Path) -> Any:
    """The JSON value in `path`; a file that is no JSON is a `DamagedJsonError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedJsonError(f"{path} is damaged: it is not text ({error})") from None
    return parse_json(text, path)
