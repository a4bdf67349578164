"""Files for results: replaced as a whole, with their permissions, through links, and checked before the work."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..base.errors import DataError
from ..base.files import TEMPORARY_PREFIX, atomic_write
from ..data.image_file import special_kind


@contextmanager
def replacing(path: Path, permissions: int | None = None) -> Iterator[Path]:
    """Yield a temporary file, and put it in the place of `path` when the block ends without an error.

    A link stays: the file that it points to is replaced, in its own folder. An existing file keeps its permissions and,
    if the system allows it, its owner.

    Args:
        path: the file; its folder is created if it is missing.
        permissions: permission bits of a new file, before the user's mask is applied; by default those of any file.
    """
    real = _real(path)
    before = real.stat() if real.exists() else None
    if before is None:
        mask = os.umask(0)  # the only way to read the mask is to set it
        os.umask(mask)
        mode = (0o666 if permissions is None else permissions & 0o666 | 0o600) & ~mask
    else:
        mode = before.st_mode & 0o7777
    with atomic_write(real) as temporary:
        temporary.chmod(mode)  # before it has content, which others may not be allowed to read
        yield temporary
        if before is not None and hasattr(os, "chown"):
            with suppress(OSError):  # only an administrator may give files away
                os.chown(temporary, before.st_uid, before.st_gid)
        temporary.chmod(mode)  # a change of the owner removes some bits
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    if real.stat().st_mode & 0o7777 != mode:
        real.chmod(mode)


def copy_file(source: Path, target: Path, permissions: int | None = None) -> None:
    """Make a file an exact copy of another one, with the care that `replacing` takes.

    Raises:
        DataError: the file cannot be read or written.
    """
    try:
        with replacing(target, permissions) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}") from None


def check_target(path: Path) -> None:
    """Check that a file can be written, before the work.

    Raises:
        DataError: its folder cannot be created or written, or there is something else than a file.
    """
    real = _real(path)
    try:
        if path.is_symlink() and not real.exists():
            raise DataError(f"{path} cannot be written: it is a link to {real}, which does not exist")
        if real.exists() and (kind := special_kind(real.stat().st_mode)) is not None:
            raise DataError(f"{path} cannot be written: it is {kind}, not a regular file")
        real.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=real.parent):
            pass
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None


def check_folders(paths: Iterable[Path]) -> None:
    """Check that at least one of the folders of files can be written, before many files fail one by one.

    Raises:
        DataError: none can; the message names the first.
    """
    failure: DataError | None = None
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            check_target(folder / f"{TEMPORARY_PREFIX}check")
        except DataError as error:
            cause = error.__context__
            reason = cause.strerror if isinstance(cause, OSError) else error
            failure = failure or DataError(f"{folder} cannot be written to: {reason}; choose another output")
        else:
            return
    if failure is not None:
        raise failure


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path
