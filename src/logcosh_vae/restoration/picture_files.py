"""Restore picture files and folders. Metadata is kept, and existing files are replaced only on request.

restore = partial(restore_picture, network, task=task)
for result in restore_files(plan_outputs([Path("holiday")], Path("cleaned")), restore):
    print(result.error or result.target)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..base.errors import ConfigError, DataError, RegionError
from ..data.collection import is_image_file
from .photographs import WRITABLE, Pixels, check_writable, read, write

if TYPE_CHECKING:
    from .tiling import Progress

RESULT_SUFFIX = "-restored"
"""Appended to a file's stem for a result in the same folder."""

REPLACE_HINT = "pass --overwrite (in Python overwrite=True) to replace it"


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
    """

    source: Path
    target: Path
    notes: tuple[str, ...] = ()
    error: DataError | None = None


def find_pictures(inputs: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield the picture files among the inputs, and those below the folders among them, sorted by name.

    Args:
        inputs: files, folders, and patterns such as `holiday/*.jpg` that no shell has expanded.

    Yields:
        A file and its relative path for the output folder.

    Raises:
        DataError: an input does not exist, or a folder holds no pictures.
    """
    for path in inputs:
        if path.is_dir():
            files = sorted(
                file for file in path.rglob("*") if is_image_file(file.relative_to(path).as_posix()) and file.is_file()
            )
            if not files:
                raise DataError(f"{path} holds no pictures")
            yield from ((file, file.relative_to(path)) for file in files)
        elif path.exists():
            yield path, Path(path.name)
        elif matches := sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))):
            yield from find_pictures(matches)
        else:
            raise DataError(f"{path} does not exist")


def plan_outputs(
    inputs: Sequence[Path], out: Path | None = None, *, overwrite: bool = False
) -> list[tuple[Path, Path]]:
    """Choose the file for the result of each picture. Results of earlier runs in input folders are left out.

    Args:
        inputs: see `find_pictures`.
        out: a file for a single input file, else a folder, in which the structure of input folders is kept. By default
            each result lies beside its picture, with `RESULT_SUFFIX`.
        overwrite: whether results may exist already.

    Returns:
        Pairs of a picture and the file for its result. A suffix that cannot be written becomes `.png`.

    Raises:
        DataError: see `find_pictures`.
        ConfigError: `out` does not suit the inputs, two results would have the same name, or a result exists.
    """
    pairs = _beside_inputs(inputs) if out is None else _within_output(inputs, out)
    pairs = [
        (source, target if target.suffix.lower() in WRITABLE or target == out else target.with_suffix(".png"))
        for source, target in pairs
    ]
    sources: dict[Path, Path] = {}
    for source, target in pairs:
        if target in sources:
            raise ConfigError(
                f"{source} and {sources[target]} would both be written to {target}; restore them one at a time"
            )
        sources[target] = source
    existing = [target for _, target in pairs if target.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise ConfigError(f"{existing[0]}{more} already exists; {REPLACE_HINT}, or choose another output")
    return pairs


def _beside_inputs(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    files = [file for file, _ in find_pictures(inputs) if file in inputs or not file.stem.endswith(RESULT_SUFFIX)]
    if not files:
        raise ConfigError(
            f"all pictures there are results (…{RESULT_SUFFIX}); choose an output (-o) to restore them again"
        )
    return [(file, file.with_stem(file.stem + RESULT_SUFFIX)) for file in files]


def _within_output(inputs: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    pictures = [(file, place) for file, place in find_pictures(inputs) if not _is_earlier_result(file, out, inputs)]
    if len(inputs) == 1 and inputs[0].is_file() and not out.is_dir():
        if not out.suffix:
            raise ConfigError(f"output {out}: give a file name with a suffix such as .png, or a folder that exists")
        return [(pictures[0][0], out)]
    if out.suffix.lower() in WRITABLE and not out.is_dir():
        raise ConfigError(f"output {out}: several pictures need a folder, not a file name")
    return [(file, out / place) for file, place in pictures]


def _is_earlier_result(file: Path, out: Path, inputs: Sequence[Path]) -> bool:
    """Return whether the output folder lies within an input folder and holds this file."""
    folder = out.resolve()
    nested = any(path.is_dir() and path.resolve() in folder.parents for path in inputs)
    return nested and folder in file.resolve().parents


def restore_file(
    source: Path, target: Path, restore: RestorePixels, *, overwrite: bool = False, progress: Progress | None = None
) -> FileResult:
    """Restore one picture file; transparency, metadata and JPEG quality are kept.

    Args:
        source: the picture.
        target: file for the result; its suffix determines the format.
        restore: returns the restored pixels.
        overwrite: whether `target` may exist already.
        progress: passed on to `restore`.

    Raises:
        DataError: the source cannot be read, the target cannot be written or exists, or the region lies outside of the
            picture.
    """
    photograph = read(source)
    check_writable(target, photograph)
    try:
        pixels = restore(photograph.pixels, progress=progress)
    except RegionError as error:
        raise DataError(f"{source}: {error}") from None
    if target.exists() and not overwrite:
        raise DataError(f"{target} was created while {source} was being restored; {REPLACE_HINT}")
    write(photograph, pixels, target)
    return FileResult(source, target, photograph.notes)


def restore_files(
    pairs: Iterable[tuple[Path, Path]],
    restore: RestorePixels,
    *,
    overwrite: bool = False,
    progress: Callable[[Path], Progress] | None = None,
) -> Iterator[FileResult]:
    """Restore picture files one after another. A file that cannot be restored does not stop the others.

    Args:
        pairs: pictures and the files for their results, as returned by `plan_outputs`.
        restore, overwrite: see `restore_file`.
        progress: called with each picture; returns the `progress` of `restore_file`.

    Yields:
        The result of each file, when it is done.
    """
    for source, target in pairs:
        on_tile = None if progress is None else progress(source)
        try:
            result = restore_file(source, target, restore, overwrite=overwrite, progress=on_tile)
        except DataError as error:
            result = FileResult(source, target, error=error)
        yield result
