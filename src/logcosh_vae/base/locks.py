"""Locks between processes: `flock` on a descriptor, and a lock file in a folder.

The system releases a lock when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BUSY = (errno.EAGAIN, errno.EACCES)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file until its descriptor is closed, without waiting.

    Args:
        descriptor: of the open file.
        shared: allow other shared locks.

    Returns:
        False if another process holds it. True also where the system or the file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _BUSY
    return True


def is_same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


@contextmanager
def lock_file(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold a lock on the file `path` in the `with` block, without waiting; the file is created empty if missing.

    The file is never truncated, and links are not followed, because `path` may lie in a folder of somebody else.

    Args:
        path: the lock file.
        shared: allow other shared locks, and do without the lock if the file is missing and cannot be created.

    Yields:
        Whether the lock could be taken.

    Raises:
        OSError: the file cannot be opened, or is a link or a special file.
    """
    if fcntl is None:
        with _windows_lock(path) as taken:
            yield taken
        return
    descriptor = _open_lock(path, shared)
    if descriptor is None:
        yield True
        return
    try:
        yield try_lock(descriptor, shared=shared)
    finally:
        os.close(descriptor)


def _open_lock(path: Path, shared: bool) -> int | None:
    """Open a lock file; None if it is missing and only a shared lock in a read-only folder is wanted."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link; delete it", os.fspath(path)) from None
        if not shared or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        try:
            descriptor = os.open(path, os.O_RDONLY | flags)
        except (FileNotFoundError, PermissionError):
            return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file; delete it", os.fspath(path))
    return descriptor


@contextmanager
def _windows_lock(path: Path) -> Iterator[bool]:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    with lock:
        yield True
