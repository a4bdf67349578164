"""Which pictures are restored, and where each result is stored, before any of them is read."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from ..base.errors import OVERWRITE_IN_PYTHON, ConfigError, DataError, UserError
from ..base.file_names import fitting_name, longest_name
from ..base.own_outputs import own_output_in
from ..data.collection import Folder
from ..data.listing import OWN_PICTURE, Listing, first_reasons, list_images
from .photographs import WRITABLE

RESULT_SUFFIX = "-restored"
"""Appended to a file's stem for a result in the same folder."""

REPLACE_HINT = f"pass --overwrite{OVERWRITE_IN_PYTHON} to replace it"
CONTINUE_HINT = f"pass --overwrite{OVERWRITE_IN_PYTHON} to go on, which keeps the results of the same command"

_LONGEST_SUFFIX = 16
"""Largest length of a suffix in bytes; after the last dot of a longer one is no name of a format."""


def find_pictures(
    inputs: Iterable[Path], left_out: list[tuple[Path, str]] | None = None
) -> Iterator[tuple[Path, Path]]:
    """Yield the picture files among the inputs, and those below the folders among them, sorted by name.

    A folder is listed like an image set: what may be a picture and cannot be used is left out with a reason; files and
    run folders that this program has written, hidden files and files that are not pictures are ignored.

    Args:
        inputs: files, folders, and patterns such as `holiday/*.jpg` that no shell has expanded.
        left_out: receives what a folder holds that may be a picture but cannot be read, and the reason.

    Yields:
        A file and its relative path for the output folder.

    Raises:
        DataError: an input does not exist, or a folder holds no pictures.
        ConfigError: a folder holds only results of this program.
    """
    for path in inputs:
        if path.is_dir():
            listing = list_images(Folder(path))
            if left_out is not None:
                left_out += [(path / _native(name), reason) for name, reason in listing.left_out]
            if not listing.members:
                raise _nothing_found(path, listing)
            places = sorted(Path(member.source) for member in listing.members)
            yield from ((path / place, place) for place in places)
        elif path.exists():
            yield path, Path(path.name)
        elif matches := _matches(path):
            yield from find_pictures(matches, left_out)
        else:
            raise DataError(f"{path} does not exist")


def _matches(pattern: Path) -> list[Path]:
    try:
        return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except ValueError:  # not a pattern
        return []


def _native(name: str) -> str:
    """Return the path on this system of a name in a `Folder`."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def _nothing_found(folder: Path, listing: Listing) -> UserError:
    if OWN_PICTURE in listing.ignored and not listing.left_out:
        return ConfigError(
            f"{folder}: all pictures there are results of this program; name the files to restore them again"
        )
    reasons = [*listing.left_out, *((f"{len(names):,} entries", rule) for rule, names in listing.ignored.items())]
    more = f": {first_reasons(reasons)}" if reasons else ""
    return DataError(f"{folder} holds no pictures that can be read{more}")


def plan_outputs(
    inputs: Sequence[Path],
    out: Path | None = None,
    *,
    overwrite: bool = False,
    left_out: list[tuple[Path, str]] | None = None,
) -> list[tuple[Path, Path]]:
    """Choose the file for the result of each picture. Results of earlier runs in input folders are left out.

    Args:
        inputs: see `find_pictures`.
        out: a file for a single input file, else a folder, in which the structure of input folders is kept. By default
            each result lies beside its picture, with `RESULT_SUFFIX`.
        overwrite: whether results may exist already.
        left_out: see `find_pictures`.

    Returns:
        Pairs of a picture and the file for its result. A suffix that cannot be written becomes `.png`; where another
        picture has that result, `.png` is appended, or else a number.

    Raises:
        DataError: see `find_pictures`.
        ConfigError: `out` does not suit the inputs, a picture is named twice, or a result exists.
    """
    pairs = _beside_inputs(inputs, left_out) if out is None else _within_output(inputs, out, left_out)
    pairs = _unique(pairs, out)
    existing = [target for _, target in pairs if target.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        finished = (own_output_in(existing[0]) or "").startswith("restored=")
        hint = CONTINUE_HINT if finished and len(pairs) > 1 else REPLACE_HINT
        verb = "exist" if more else "exists"
        raise ConfigError(f"{existing[0]}{more} already {verb}; {hint}, or choose another output")
    return pairs


def _unique(pairs: list[tuple[Path, Path]], out: Path | None) -> list[tuple[Path, Path]]:
    """Give every picture a result of its own, in a format that can be written."""
    taken: dict[str, Path] = {}
    targets: dict[int, Path] = {}
    kept = [target == out or target.suffix.lower() in WRITABLE for _, target in pairs]
    # results with the name of their picture first, so that other pictures do not take it
    for index in sorted(range(len(pairs)), key=lambda index: not kept[index]):
        source, wanted = pairs[index]
        choices = [wanted if wanted == out else _renamed(wanted, wanted.stem, wanted.suffix)]
        if not kept[index]:
            stem, suffix = _stem_and_suffix(wanted)
            choices = [_renamed(wanted, stem, ".png"), _renamed(wanted, stem, suffix + ".png")]
        first = choices[0]
        numbered = (_renamed(first, first.stem, f"-{number}{first.suffix}") for number in count(2))
        target = next(choice for choice in chain(choices, numbered) if not _is_taken(choice, source, taken))
        taken[_name(target)], targets[index] = source, target
    return [(source, targets[index]) for index, (source, _) in enumerate(pairs)]


def _is_taken(target: Path, source: Path, taken: dict[str, Path]) -> bool:
    other = taken.get(_name(target))
    if other is not None and other.resolve() == source.resolve():
        raise ConfigError(f"{source} and {other} would both be written to {target}; name each picture once")
    return other is not None


def _name(target: Path) -> str:
    """Return a text that is equal for targets that some file systems take for the same file."""
    return unicodedata.normalize("NFC", str(target)).casefold()


def _beside_inputs(inputs: Sequence[Path], left_out: list[tuple[Path, str]] | None) -> list[tuple[Path, Path]]:
    pictures = list(find_pictures(inputs, left_out))
    present = {file for file, _ in pictures}
    files = [file for file, _ in pictures if file in inputs or not _is_unmarked_result(file, present)]
    names = [_stem_and_suffix(file) for file in files]
    return [
        (file, _renamed(file, stem, RESULT_SUFFIX + (suffix or ".png")))
        for file, (stem, suffix) in zip(files, names, strict=True)
    ]


def _renamed(path: Path, stem: str, end: str) -> Path:
    """Return the path with another name, whose stem is shortened if the system would not accept the name's length."""
    return path.with_name(fitting_name(stem, end, longest_name(path.parent)))


def _stem_and_suffix(path: Path) -> tuple[str, str]:
    """Split the name of a file; what follows its last dot is no suffix if it is very long."""
    is_suffix = len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX
    return (path.stem, path.suffix) if is_suffix else (path.name, "")


def _is_unmarked_result(file: Path, present: set[Path]) -> bool:
    """Return whether a file is named like the result of a picture beside it, as results of earlier versions are."""
    stem = file.stem.removesuffix(RESULT_SUFFIX)
    return stem != file.stem and any(other.parent == file.parent and other.stem == stem for other in present)


def _within_output(
    inputs: Sequence[Path], out: Path, left_out: list[tuple[Path, str]] | None
) -> list[tuple[Path, Path]]:
    found = find_pictures(inputs, left_out)
    pictures = [(file, place) for file, place in found if not _is_earlier_result(file, out, inputs)]
    if len(inputs) == 1 and inputs[0].exists() and not inputs[0].is_dir() and not out.is_dir():
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
