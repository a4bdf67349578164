"""Restore picture files and folders. Metadata is kept, and existing files are replaced only on request.

    restore = partial(restore_picture, network, task=task)
    for result in restore_files(plan_outputs([Path("holiday")], Path("cleaned")), restore):
        print(result.error or result.target)

`planning` decides which pictures are restored and where the results are stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..base.errors import DataError, RegionError
from ..base.files import one_line
from . import scratch
from .decoding import Pixels
from .finished import is_finished, result_digest
from .metadata import FORMATS
from .photographs import check_picture, check_writable, read, write
from .planning import REPLACE_HINT, find_pictures, plan_outputs
from .targets import check_target, copy_file
from .transparency import restore_visible

if TYPE_CHECKING:
    from .tiling import Progress

__all__ = ["FileResult", "RestorePixels", "find_pictures", "plan_outputs", "restore_file", "restore_files"]


class RestorePixels(Protocol):
    """A function that restores pixels, such as `functools.partial(restore_picture, network, task=task)`."""

    def __call__(self, pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:
        """Return the restored pixels, in the same shape and type."""


@dataclass(frozen=True)
class FileResult:
    """The outcome for one file.

    Attributes:
        source, target: the picture and the file for its result.
        notes: sentences about what the result does not keep of the source, such as other pages.
        error: why there is no result; None if the file was restored.
        kept: whether the result is that of an earlier call, with the same picture and method.
        changed: number of pixels that the restoration has changed; None if there is no new result.
        seconds: time for reading, restoring and writing.
    """

    source: Path
    target: Path
    notes: tuple[str, ...] = ()
    error: DataError | None = None
    kept: bool = False
    changed: int | None = None
    seconds: float = 0.0


def restore_file(
    source: Path,
    target: Path,
    restore: RestorePixels,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    method: str = "",
    copy_unchanged: bool = False,
) -> FileResult:
    """Restore one picture file; transparency, metadata and JPEG quality are kept.

    Args:
        source: the picture.
        target: file for the result; its suffix determines the format.
        restore: returns the restored pixels.
        overwrite: whether `target` may exist already.
        progress: passed on to `restore`.
        method: identifies `restore`; see `finished.method_digest`. A result with the same picture and method is kept.
        copy_unchanged: if no pixel changes and the format stays, make the result an exact copy of the file.

    Raises:
        DataError: the source cannot be read, the target cannot be written or exists, or the region lies outside of the
            picture.
    """
    started = time.perf_counter()
    check_target(target)
    check_picture(source)
    digest = result_digest(source, method, target) if method else ""
    if overwrite and digest and is_finished(target, digest):
        return FileResult(source, target, kept=True)
    photograph = read(source)
    check_writable(target, photograph)
    try:
        pixels = restore_visible(photograph.pixels, photograph.alpha, partial(restore, progress=progress))
    except RegionError as error:
        raise DataError(f"{source}: {error}") from None
    except (OSError, MemoryError) as error:
        raise DataError(f"{source} cannot be restored: {one_line(error)}") from None
    if target.exists() and not overwrite:
        raise DataError(f"{target} was created while {source} was being restored; {REPLACE_HINT}")
    changed = scratch.changed_pixels(photograph.pixels, pixels)
    if copy_unchanged and changed == 0 and photograph.metadata.format == FORMATS[target.suffix.lower()]:
        copy_file(source, target, photograph.permissions)
        notes: tuple[str, ...] = ()
    else:
        photograph = replace(photograph, pixels=pixels)  # the memory of the old pixels is needed
        notes = write(photograph, pixels, target, digest)
    return FileResult(source, target, notes, changed=changed, seconds=time.perf_counter() - started)


def restore_files(
    pairs: Iterable[tuple[Path, Path]],
    restore: RestorePixels,
    *,
    overwrite: bool = False,
    progress: Callable[[Path], Progress] | None = None,
    method: str = "",
    copy_unchanged: bool = False,
) -> Iterator[FileResult]:
    """Restore picture files one after another. A file that cannot be restored does not stop the others.

    Args:
        pairs: pictures and the files for their results, as returned by `plan_outputs`.
        restore, overwrite, method, copy_unchanged: see `restore_file`.
        progress: called with each picture; returns the `progress` of `restore_file`.

    Yields:
        The result of each file, when it is done.
    """
    for source, target in pairs:
        on_tile = None if progress is None else progress(source)
        try:
            result = restore_file(
                source,
                target,
                restore,
                overwrite=overwrite,
                progress=on_tile,
                method=method,
                copy_unchanged=copy_unchanged,
            )
        except DataError as error:
            result = FileResult(source, target, error=error)
        yield result
