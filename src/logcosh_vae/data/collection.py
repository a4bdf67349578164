"""Collections of files, such as a folder; `archive` has zip files.

A collection lists every entry, also those that cannot be read, each with the reason; `listing` decides which of them
are the images of the set. Names are the same under any locale, and unique.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..base.errors import DataError
from ..base.own_outputs import may_end_with_mark
from .image_file import check_size, open_image_file, special_kind

_SUFFIXES = (
    "jpg jpeg jpe jfif jfi jif pjpeg pjp mpo png apng bmp gif tif tiff webp avif avifs "
    "ppm pgm pbm pnm jp2 j2k j2c jpc jpf jpx"
)
SUFFIXES = frozenset(f".{name}" for name in _SUFFIXES.split())
"""Suffixes of files that are used as images if their content is in a format that is read, whichever of them."""

HIDDEN_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
"""Names, in lower case, of files and folders that systems hide, beside names that start with a dot."""


@dataclass(frozen=True)
class Member:
    """An entry of a collection.

    Attributes:
        name: path inside the collection, with `/` between folders.
        stamp: a text that changes when the content changes: size and time of change of a file, or size and checksum of
            a member of a zip file.
        size: size of the content, in bytes.
        problem: why the entry cannot be read; empty if it is a regular file.
        is_folder: whether the entry is a folder, or a link that may lead to one, whose content is not listed.
        source: what the collection needs to read it.
    """

    name: str
    stamp: str
    size: int = 0
    problem: str = ""
    is_folder: bool = False
    source: Any = field(default=None, compare=False, repr=False)


class Collection(Protocol):
    """Files under one path. Several threads may read at the same time."""

    path: Path

    def entries(self) -> Iterator[Member]:
        """Yield every entry once, in any order; hidden folders are not opened.

        Raises:
            DataError: nothing can be listed.
        """

    def read(self, member: Member) -> bytes:
        """Return the content of a member.

        Raises:
            ValueError: its content cannot be read, or has more than `formats.MAX_FILE_BYTES`.
            OSError: reading failed.
            Exception: what `zipfile` raises for a damaged member.
        """

    def ends(self, member: Member, count: int) -> tuple[bytes, bytes]:
        """Return the first and the last `count` bytes of a member; the last are empty if no mark can be there.

        Raises:
            OSError, Exception: as `read`.
        """

    def stamp(self) -> str:
        """Return a text that changes whenever a member that could not be read may have become readable."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, by its name or that of a folder above it."""
    return any(part.startswith(".") or part in HIDDEN_NAMES for part in name.lower().split("/"))


def suffix_of(name: str) -> str:
    """Return the suffix of a name in a collection, in lower case and without its dot; empty if it has none."""
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")  # pathlib is too slow for a million names
    return suffix.lower() if stem else ""


def is_image_file(name: str) -> bool:
    """Return whether a file with this name is used as an image: its suffix is known and it is not hidden."""
    return f".{suffix_of(name)}" in SUFFIXES and not is_hidden(name)


class Folder:
    """A folder and its subfolders. Links to files are followed, links to folders are not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> Iterator[Member]:
        pending = [""]
        while pending:
            inside = pending.pop()
            try:
                with os.scandir(self.path / inside) as scanned:
                    items = list(scanned)
            except OSError as error:
                problem = f"the folder cannot be read ({error.strerror or error})"
                if not inside:
                    raise DataError(f"{self.path}: {problem}") from None
                yield Member(_portable(inside), "", problem=problem, is_folder=True, source=inside)
                continue
            for item in items:
                place = f"{inside}{os.sep}{item.name}" if inside else item.name
                if _is_subfolder(item) and not is_hidden(item.name):
                    pending.append(place)
                else:
                    yield self._entry(item, place)

    def _entry(self, item: os.DirEntry[str], place: str) -> Member:
        member = Member(_portable(place), "", source=place)
        try:
            state = item.stat()
        except OSError as error:
            reason = error.strerror or str(error)
            return replace(member, problem=f"a link that leads nowhere ({reason})" if item.is_symlink() else reason)
        if stat.S_ISDIR(state.st_mode):
            return replace(member, problem="a link to a folder, which is not followed", is_folder=True)
        if (kind := special_kind(state.st_mode)) is not None:
            return replace(member, problem=f"{kind}, not a regular file")
        return replace(member, stamp=file_stamp(state), size=state.st_size)

    def read(self, member: Member) -> bytes:
        with self._open(member) as file:
            state = os.fstat(file.fileno())
            check_size(state.st_size)
            content = file.read(state.st_size)
            if file_stamp(state) != member.stamp or file_stamp(os.fstat(file.fileno())) != member.stamp:
                raise OSError(0, "it changed while the set was being read")
        return content

    def ends(self, member: Member, count: int) -> tuple[bytes, bytes]:
        with self._open(member) as file:
            head = file.read(count)
            if not may_end_with_mark(head):
                return head, b""
            file.seek(max(0, member.size - count))
            return head, file.read(count)

    def _open(self, member: Member) -> BinaryIO:
        return open_image_file(self.path / (member.source or member.name))

    def stamp(self) -> str:
        return ""  # the stamp of every file is part of the set's key


def _is_subfolder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir(follow_symlinks=False)
    except OSError:
        return False


def file_stamp(state: os.stat_result) -> str:
    """Return a text that changes when the content of a file changes: its size and time of change."""
    # programs such as rsync and unzip set st_mtime to an older time; on Windows st_ctime never changes
    changed = state.st_mtime_ns if os.name == "nt" else state.st_ctime_ns
    return f"{state.st_size}-{changed}"


def _portable(place: str) -> str:
    """Return a file's name as UTF-8 text with `/` between folders, whatever the encoding of the locale is."""
    return os.fsencode(place.replace(os.sep, "/")).decode("utf-8", "surrogateescape")
