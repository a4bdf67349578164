"""Collections of image files: a folder, or a zip file that is read without unpacking it."""

from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from ..base.errors import DataError

SUFFIXES = frozenset(
    f".{name}"
    for name in "jpg jpeg jpe jfif png bmp gif tif tiff webp avif ppm pgm jp2".split()  # noqa: SIM905 - short
)
MAX_MEMBER_BYTES = 1 << 30
"""Largest size of an unpacked member of a zip file, so that a zip bomb does not fill the memory."""


@dataclass(frozen=True)
class Member:
    """An image file of a collection.

    Attributes:
        name: path inside the collection, with `/` between folders.
        stamp: a text that changes when the content changes: size and time of change of a file, or size and checksum of
            a member of a zip file.
    """

    name: str
    stamp: str


class Collection(Protocol):
    """Image files under one path."""

    path: Path

    def members(self) -> list[Member]:
        """Return all image files, sorted by name."""

    def read(self, name: str) -> bytes:
        """Return the bytes of the named file. Several threads may call this at the same time."""


def is_image_file(name: str) -> bool:
    """Return whether a file with this name is used as an image: its suffix is known and it is not hidden."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


class Folder:
    """A folder and its subfolders. Links to folders are not followed, and hidden files and folders are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        found = []
        for folder, folders, files in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                if not is_image_file(file):
                    continue
                path = Path(folder) / file
                try:
                    state = path.stat()
                except OSError:
                    continue  # a broken link
                if not stat.S_ISREG(state.st_mode):
                    continue  # reading a named pipe or a device may never end
                name = path.relative_to(self.path).as_posix()
                # programs such as rsync and unzip set st_mtime to an older time; on Windows st_ctime never changes
                changed = state.st_mtime_ns if os.name == "nt" else state.st_ctime_ns
                found.append(Member(name, f"{state.st_size}-{changed}"))
        return sorted(found, key=lambda member: member.name)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Zip:
    """A zip file. The checksums it stores identify the content of its members."""

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
            if not item.is_dir() and is_image_file(item.filename)
        ]
        return sorted(found, key=lambda member: member.name)

    def read(self, name: str) -> bytes:
        item = self._file.getinfo(name)
        if item.file_size > MAX_MEMBER_BYTES:
            raise ValueError(f"its unpacked size of {item.file_size:,} bytes exceeds the limit of {MAX_MEMBER_BYTES:,}")
        return self._file.read(item)


def open_collection(path: Path) -> Collection:
    """Open the image files at `path`, a folder or a zip file.

    Raises:
        DataError: `path` does not exist, or is neither a folder nor a readable zip file.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; give a folder or a zip file of images")
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return Zip(path)
    raise DataError(f"{path} is neither a folder nor a zip file of images")
