"""Zip files of images, read without unpacking them, and the names of their members."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..base.errors import DataError
from ..base.files import one_line
from ..base.own_outputs import may_end_with_mark
from .collection import Member, file_stamp, suffix_of
from .image_file import check_size
from .unpack import pieces


class Zip:
    """A zip file. The checksums it stores identify the content of its members, which are read by their entry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory raises many kinds of errors
            raise DataError(f"{path} cannot be read as a zip file ({one_line(error)})") from None

    def entries(self) -> Iterator[Member]:
        yield from _unique(self._member(item) for item in self._file.infolist() if not _is_folder(item))

    @staticmethod
    def _member(item: zipfile.ZipInfo) -> Member:
        name, problem, kind = _normalised(item) or "(no name)", "", stat.S_IFMT(item.external_attr >> 16)
        if item.create_system == 3 and kind not in (0, stat.S_IFREG):  # made on Unix
            problem = "a link, which is not followed" if kind == stat.S_IFLNK else "not a regular file"
        may_be_folder = kind == stat.S_IFLNK and bool(problem) and not suffix_of(name)  # its target may be missing
        return Member(name, f"{item.file_size}-{item.CRC:08x}", item.file_size, problem, may_be_folder, source=item)

    def read(self, member: Member) -> bytes:
        self._check(member)
        return b"".join(pieces(self._file, member.source))

    def ends(self, member: Member, count: int) -> tuple[bytes, bytes]:
        self._check(member)
        head, tail = b"", b""
        for piece in pieces(self._file, member.source):
            head = head if len(head) >= count else head + piece[: count - len(head)]
            if len(head) == count and not may_end_with_mark(head):
                return head, b""
            tail = (tail + piece)[-count:]
        return head, tail if may_end_with_mark(head) else b""

    @staticmethod
    def _check(member: Member) -> None:
        item = member.source
        if item.flag_bits & 1:
            raise ValueError("it is encrypted; pack it without a password")
        if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            raise ValueError(f"its compression (method {item.compress_type}) is not supported; pack it with deflate")
        check_size(item.file_size)

    def stamp(self) -> str:
        handle = self._file.fp
        return "" if handle is None else file_stamp(os.fstat(handle.fileno()))


def _is_folder(item: zipfile.ZipInfo) -> bool:
    return item.file_size == 0 and item.orig_filename.partition("\0")[0].endswith(("/", "\\"))


def _normalised(item: zipfile.ZipInfo) -> str:
    """Return a member's path with `/` between folders, relative, without `.` and `..`, as UTF-8 text if it is that."""
    name = item.orig_filename.partition("\0")[0]
    if not item.flag_bits & 0x800:  # zipfile takes names without this flag for code page 437; most are UTF-8
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    parts: list[str] = []
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", ".") and not (not parts and len(part) == 2 and part[0].isalpha() and part[1] == ":"):
            parts.append(part)
    return "/".join(parts)


def _unique(members: Iterable[Member]) -> Iterator[Member]:
    """Yield all members. If a name occurs again, the member gets another name, or a problem if its content is equal."""
    stamps: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for member in members:
        known = stamps.setdefault(member.name, set())
        if not known:
            known.add(member.stamp)
            yield member
            continue
        repeated = member.stamp in known
        known.add(member.stamp)
        path, name = PurePosixPath(member.name), member.name
        while name in stamps:
            counts[member.name] = counts.get(member.name, 1) + 1
            name = str(path.with_stem(f"{path.stem}~{counts[member.name]}"))
        stamps[name] = {member.stamp}
        problem = "repeats a member of the same name and content" if repeated else ""
        yield replace(member, name=name, problem=member.problem or problem)
