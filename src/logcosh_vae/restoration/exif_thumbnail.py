"""The thumbnail of an EXIF block: replaced in place, or removed. Everything else keeps its bytes and its place.

A thumbnail lies in the second directory of the block, behind that of the picture. Maker notes point to places in the
block, so nothing may move.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from ..data.orientation import ORIENTATION
from .embedded import blank_jpegs

_WIDTH, _HEIGHT, _JPEG_OFFSET, _JPEG_LENGTH = 0x100, 0x101, 0x201, 0x202
_PIXELS = ((0x111, 0x117), (0x144, 0x145), (_JPEG_OFFSET, _JPEG_LENGTH))
"""Tags of the offsets and the lengths of pixels: strips, tiles, a JPEG stream."""
_SUB_DIRECTORIES = 0x14A
_MAX_DIRECTORIES = 8
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I"}
_QUALITIES = (85, 70, 50, 30, 15)


@dataclass(frozen=True)
class _Entry:
    """A field of a directory: where it stands, and its values if they are whole numbers."""

    position: int
    kind: int
    values: tuple[int, ...]


class _Block:
    """An EXIF block that is edited in place.

    Raises:
        ValueError, struct.error: it is not such a block, or cut off.
    """

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(exif)
        orders = {b"II": "<", b"MM": ">"}
        if exif[:2] not in orders:
            raise ValueError("not a TIFF structure")
        self._order = orders[exif[:2]]
        self.first: int = self._unpack("I", 4)[0]

    def _unpack(self, format: str, position: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + format, self.data, position)

    def link(self, directory: int) -> int:
        """Return the position of the offset of the next directory."""
        return directory + 2 + 12 * self._unpack("H", directory)[0]

    def next(self, directory: int) -> int:
        """Return the offset of the next directory; 0 for none."""
        position = self.link(directory)
        return self._unpack("I", position)[0] if position + 4 <= len(self.data) else 0

    def write(self, position: int, format: str, value: int) -> None:
        """Write a number."""
        struct.pack_into(self._order + format, self.data, position, value)

    def entries(self, directory: int) -> dict[int, _Entry]:
        """Return the fields of a directory by tag."""
        found = {}
        for index in range(self._unpack("H", directory)[0]):
            position = directory + 2 + 12 * index
            tag, kind = self._unpack("HH", position)
            count = self._unpack("I", position + 4)[0]
            values: tuple[int, ...] = ()
            if kind in _FORMATS and 0 < count <= len(self.data):
                format = f"{count}{_FORMATS[kind]}"
                short = struct.calcsize("<" + format) <= 4
                values = self._unpack(format, position + 8 if short else self._unpack("I", position + 8)[0])
            found[tag] = _Entry(position, kind, values)
        return found

    def set(self, entry: _Entry | None, value: int) -> None:
        """Change the only value of a field, if there is such a field."""
        if entry is not None and len(entry.values) == 1 and entry.kind in _FORMATS:
            self.write(entry.position + 8, _FORMATS[entry.kind], value)

    def previews(self) -> Iterator[int]:
        """Yield the directories of other images than the picture."""
        waiting = [self.next(self.first), *self._sub_directories(self.first)]
        seen = {0, self.first}
        while waiting:
            directory = waiting.pop(0)
            if directory not in seen:
                seen.add(directory)
                yield directory
                waiting += [self.next(directory), *self._sub_directories(directory)]

    def _sub_directories(self, directory: int) -> tuple[int, ...]:
        entry = self.entries(directory).get(_SUB_DIRECTORIES)
        return () if entry is None else entry.values

    def pixels(self, directory: int) -> Iterator[slice]:
        """Yield the places of the pixels of a directory."""
        entries = self.entries(directory)
        for offsets, lengths in _PIXELS:
            if offsets in entries and lengths in entries:
                for begin, length in zip(entries[offsets].values, entries[lengths].values, strict=False):
                    yield slice(begin, min(begin + length, len(self.data)))

    def blank(self, place: slice) -> None:
        """Write zeros."""
        self.data[place] = bytes(len(self.data[place]))


def renew_thumbnail(exif: bytes, picture: Image.Image | None, orientation: int = 1) -> tuple[bytes, list[str]]:
    """Replace the thumbnail of an EXIF block by one of another picture, and blank all other images in the block.

    Args:
        exif: the block without its header.
        picture: as it is stored, with `orientation`. None removes the thumbnail.
        orientation: of the picture and the new thumbnail.

    Returns:
        The block, which is not longer; and names of the previews that were removed.
    """
    try:
        block = _Block(exif)
        second = block.next(block.first)
    except (struct.error, ValueError):
        return _without_streams(exif, [])
    lost, new, place, entries = list[str](), b"", slice(0, 0), dict[int, _Entry]()
    try:
        if second:
            entries, place = block.entries(second), next(iter(block.pixels(second)), place)
            new = _thumbnail(bytes(block.data[place]), picture)
        directories = islice(block.previews(), _MAX_DIRECTORIES)
        for former in [former for directory in directories for former in block.pixels(directory)]:
            block.blank(former)
    except (struct.error, ValueError):  # damaged
        new = b""
    if second:
        block.write(block.link(second if new else block.first), "I", 0)
        lost += [] if new else ["EXIF thumbnail"]
    data, lost = _without_streams(bytes(block.data), lost)
    if not new:
        return data, lost
    block.data = bytearray(data)
    block.data[place] = new.ljust(place.stop - place.start, b"\0")
    with Image.open(io.BytesIO(new)) as small:
        values = {_JPEG_LENGTH: len(new), ORIENTATION: orientation, _WIDTH: small.width, _HEIGHT: small.height}
    for tag, value in values.items():
        block.set(entries.get(tag), value)
    at_end = place.stop == len(block.data)
    return bytes(block.data[: place.start + len(new)] if at_end else block.data), lost


def _without_streams(exif: bytes, lost: list[str]) -> tuple[bytes, list[str]]:
    """Blank the JPEG streams in a block without a thumbnail, such as those of maker notes."""
    data, found = blank_jpegs(exif)
    return data, [*lost, "EXIF preview"] if found else lost


def _thumbnail(old: bytes, picture: Image.Image | None) -> bytes:
    """Return a JPEG thumbnail of the size of an old one, in at most as many bytes; empty if it cannot be made."""
    if picture is None or picture.mode not in ("L", "RGB"):
        return b""
    try:
        with Image.open(io.BytesIO(old), formats=("JPEG",)) as former:
            side = max(former.size)
    except Exception:  # decoders raise arbitrary exceptions for damaged files
        return b""
    scale = min(1.0, side / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    for quality in _QUALITIES:
        content = io.BytesIO()
        small.save(content, "jpeg", quality=quality, optimize=True)
        if len(content.getvalue()) <= len(old):
            return content.getvalue()
    return b""
