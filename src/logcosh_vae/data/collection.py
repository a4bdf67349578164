"""Picture files in a folder or in a zip file, which is read in place."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ..base.errors import DataError

SUFFIXES = frozenset(
    f".{name}"
    for name in "jpg jpeg jpe jfif png bmp gif tif tiff webp avif ppm pgm jp2".split()  # noqa: SIM905 - short
)
LARGEST = 1 << 30
"""A member of a zip that claims more bytes than this is not unpacked."""


@dataclass(frozen=True)
class Member:
    """A picture file: its name inside the collection, and what changes when its content does."""

    name: str
    stamp: str


class Collection(Protocol):
    """Picture files under one path."""

    path: Path

    def members(self) -> list[Member]:
        """All picture files, sorted by name."""

    def read(self, name: str) -> bytes:
        """A file's bytes; may be called from several threads."""


def is_picture(name: str) -> bool:
    """Whether a file is taken for a picture: by its suffix, and not hidden."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


class Folder:
    """A folder with all that is below it; links to folders are not followed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        found = []
        for folder, folders, files in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                if not is_picture(file):
                    continue
                path = Path(folder) / file
                try:
                    state = path.stat()
                except OSError:
                    continue  # a link to nothing
                name = path.relative_to(self.path).as_posix()
                # the time of change, which no program can set as it can the time of modification
                found.append(Member(name, f"{state.st_size}-{state.st_ctime_ns}"))
        return sorted(found, key=lambda member: member.name)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Zip:
    """A zip file; its own checksums tell one content from another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} cannot be read as a zip file ({error})") from None

    def members(self) -> list[Member]:
        found = [
            Member(item.filename, f"{item.file_size}-{item.CRC:08x}")
            for item in self._file.infolist()
            if not item.is_dir() and is_picture(item.filename)
        ]
        return sorted(found, key=lambda member: member.name)

    def read(self, name: str) -> bytes:
        item = self._file.getinfo(name)
        if item.file_size > LARGEST:
            raise ValueError(f"it claims {item.file_size:,} bytes")
        return self._file.read(item)


def open_collection(path: Path) -> Collection:
    """The pictures at `path`.

    Raises:
        DataError: nothing stands there, or it is neither a folder nor a zip file.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; give a folder or a zip file of images")
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return Zip(path)
    raise DataError(f"{path} is neither a folder nor a zip file of images")
