"""Files that survive a crash: atomic durable writes, bounded reads of regular files, JSON, and texts of exceptions.

`atomic_write` writes a temporary file beside the target and renames it. A process that is killed leaves its temporary
file behind; `remove_leftovers` deletes such files, which it recognises by their name and by their missing lock.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DamagedJsonError
from .locks import is_same_file, try_lock

TEMPORARY_PREFIX = ".tmp-logcosh-"
"""Prefix of files and folders that are being written."""

_LEFTOVER = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}(\.[^.]{1,16})?")
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM, errno.EBADF)
"""Errors of `fsync` on file systems and folders that cannot be synchronised."""

JSON_BYTES = 1 << 28
"""Largest file of records that is read, in bytes. Those of a very long training take some tens of megabytes."""

CONFIG_BYTES = 1 << 22
"""Largest config or card that is read, in bytes. Python's objects can take twenty times the memory of their JSON."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return an exception's text on one line of at most `limit` characters; its class name if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the block ends without an error.

    Readers therefore see the previous file or the complete new one, also after a crash or a power cut. A file that is
    replaced keeps its permissions. A link at `path` is replaced and not followed. The folder is created if it is
    missing; the temporary file is removed if the block raises.

    Args:
        path: the file to write.
        durable: wait until the disk holds the file and its name.

    Raises:
        OSError: the file cannot be written; names `path`, not the temporary file.
    """
    with _errors_naming(path):
        make_folder(path.parent)
        _clean_once(path.parent)
        permissions = _permissions(path)
        temporary, lock = _create_temporary(path, permissions)
    try:
        with _errors_naming(path, temporary):
            yield temporary
            if permissions is not None:
                with suppress(PermissionError):  # on file systems without permissions
                    temporary.chmod(permissions)
            if durable:
                _sync(temporary, os.O_RDWR)
            temporary.replace(path)
            if durable:
                sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def _permissions(path: Path) -> int | None:
    """Return the permission bits of an existing regular file; None if there is none at `path`."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    return mode & 0o777 if stat.S_ISREG(mode) else None


def named_by_user(path: Path) -> Path:
    """Return the file to write for a path that the user names: that which a link points to, so that the link stays.

    Links in folders that somebody else may have made are not to be followed; `atomic_write` replaces them.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() and path.exists() else path


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing, and wait until the disk holds their names."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for created in missing:
        sync_folder(created.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk holds the names of a folder; does nothing where folders cannot be synchronised."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(PermissionError):
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        with _errors_naming(path):
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _errors_naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Make errors of the system name `path` where they name no file or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (temporary is not None and error.filename not in (None, os.fspath(temporary))):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _create_temporary(path: Path, permissions: int | None = None) -> tuple[Path, int]:
    """Create and lock an empty temporary file beside `path`.

    Args:
        path: the file.
        permissions: of the file that is replaced; nobody else is allowed more until then.

    Returns:
        The path of the temporary file, and a descriptor that holds the lock.
    """
    mode = 0o666 if permissions is None else permissions & 0o666 | 0o600
    suffix = path.suffix if len(path.suffix) <= 16 else ""
    while True:
        temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{suffix}"
        with suppress(FileExistsError):
            lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, mode)
            try_lock(lock)
            if is_same_file(lock, temporary):  # else another process has just removed it as a leftover
                return temporary, lock
            os.close(lock)


def check_writable(folder: Path) -> None:
    """Check that files can be created in an existing folder; leaves none.

    Raises:
        OSError: they cannot.
    """
    temporary, lock = _create_temporary(folder / "file")
    temporary.unlink(missing_ok=True)
    os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files in `folder` whose writers were killed; files that are still being written stay."""
    with suppress(OSError):
        names = [entry.path for entry in os.scandir(folder) if _LEFTOVER.fullmatch(entry.name)]
        for name in names:
            with suppress(OSError), open_regular(Path(name), os.O_RDWR) as file:
                if try_lock(file.fileno()):
                    Path(name).unlink()


_cleaned: set[Path] = set()


def _clean_once(folder: Path) -> None:
    """Remove leftovers before this process writes to a folder for the first time."""
    if folder not in _cleaned:
        _cleaned.add(folder)
        remove_leftovers(folder)


def is_temporary(name: str) -> bool:
    """Whether a file of this name was made by `atomic_write`."""
    return _LEFTOVER.fullmatch(name) is not None


@contextmanager
def open_regular(path: Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> Iterator[BinaryIO]:
    """Open an existing regular file for reading, without waiting for a pipe.

    Args:
        path: the file.
        flags: `os.O_RDWR` to be able to lock it on network file systems.
        follow: accept a symbolic link to a regular file.

    Raises:
        OSError: it is missing, a link, a folder or a special file, or cannot be read; the error names it.
    """
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | (0 if follow else _NO_FOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link; replace it by the file itself", os.fspath(path)) from None
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
        yield file


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        OSError: see `open_regular`; or the file is larger, or grows meanwhile.
    """
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit:,} bytes", os.fspath(path))
        content = file.read(size + 1)
        if len(content) > size:
            raise OSError(errno.EBUSY, "grew while it was read", os.fspath(path))
        return content


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_write(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def json_text(value: Any) -> str:
    """Return `value` as the indented JSON that `write_json` writes.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write `value` to `path` atomically, as indented JSON.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    write_text(path, json_text(value), durable=durable)


def parse_json(text: str, path: Path) -> Any:
    """Return the JSON value in `text`, the content of `path`; a byte-order mark, which editors may add, is ignored.

    Raises:
        DamagedJsonError: it is not JSON.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise DamagedJsonError(f"{path} is damaged: it is not valid JSON ({one_line(error)})") from None


def read_json(path: Path, limit: int = CONFIG_BYTES, *, follow: bool = True) -> Any:
    """Return the JSON value in a regular file.

    Args:
        path: the file.
        limit: largest size in bytes; `JSON_BYTES` for files that only this program writes.
        follow: accept a link to a regular file.

    Raises:
        DamagedJsonError: the file is not JSON.
        OSError: the file cannot be read, or is a link or a special file.
    """
    try:
        text = read_regular(path, limit, follow=follow).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedJsonError(f"{path} is damaged: it is not text ({error})") from None
    return parse_json(text, path)
