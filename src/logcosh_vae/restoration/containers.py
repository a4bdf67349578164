"""The parts of JPEG, PNG and ISO (AVIF, JPEG 2000) files beside the pixels, and a writer that adds such parts."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

EXIF_SEGMENT = b"Exif\0\0"
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP_SEGMENT = b"http://ns.adobe.com/xmp/extension/\0"
ICC_SEGMENT = b"ICC_PROFILE\0"
IPTC_SEGMENT = b"Photoshop 3.0\0"

MAX_SEGMENT_BYTES = 65533
"""Largest payload of a JPEG segment."""

MAX_METADATA_BYTES, PART_BYTES = 1 << 27, 256
"""Largest metadata of a file that are read: 128 MiB; and what each part counts in addition, for the memory it takes."""

SOF, SOS, EOI, APP0, COM = 0xC0, 0xDA, 0xD9, 0xE0, 0xFE
"""JPEG markers: baseline frame, scan, end of image, first application segment, comment."""

_NEXT_MARKER = re.compile(rb"\xff+(?![\x00\xff\xd0-\xd7])")
_GIF_APPLICATION = re.compile(rb"\x21\xff\x0b([ -~]{11})")
_HEAD_BYTES = 64
_MAX_PADDING_BYTES = 4096


class MetadataBudget:
    """Counts the bytes of a file's metadata, which are held in memory."""

    def __init__(self) -> None:
        self._left = MAX_METADATA_BYTES

    def take(self, count: int) -> None:
        """Count bytes before they are read.

        Raises:
            ValueError: they are more than `MAX_METADATA_BYTES` altogether.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError(f"its metadata has more than {MAX_METADATA_BYTES:,} bytes")


@dataclass(frozen=True)
class Part:
    """A segment of a JPEG file or a chunk of a PNG file.

    Attributes:
        kind: the marker of a segment (one byte), or the type of a chunk (four letters).
        data: its payload; empty for scans and pixels.
    """

    kind: bytes
    data: bytes

    @property
    def marker(self) -> int:
        """The marker of a JPEG segment."""
        return self.kind[0]


@dataclass(frozen=True)
class Parts:
    """The parts of a file beside its pixels, which are intact.

    Attributes:
        parts: segments or chunks.
        behind: number of bytes behind the end of the picture, without those of padding.
        video: number of these bytes from the start of a video, if there is one.
        damaged: names of damaged parts, without what follows them.
    """

    parts: tuple[Part, ...]
    behind: int = 0
    video: int = 0
    damaged: tuple[str, ...] = ()


def jpeg_segments(path: Path) -> Parts:
    """Return the segments of a JPEG file up to its end marker. What follows damage is left out."""
    segments, budget = list[Part](), MetadataBudget()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 2
        while found := _NEXT_MARKER.search(data, position):
            position = found.end()
            if position >= len(data):
                break
            marker, position = data[position], position + 1
            if marker == EOI:
                video, behind = data.find(b"ftyp", position + 4), len(data) - position
                if behind <= _MAX_PADDING_BYTES and not data[position:].strip(b"\0 \t\r\n"):
                    behind = 0
                return Parts(tuple(segments), behind, 0 if video < 0 else len(data) - video + 4)
            size = int.from_bytes(data[position : position + 2], "big")
            if size < 2 or position + size > len(data):
                return Parts(tuple(segments), damaged=(f"segment FF{marker:02X}",))
            budget.take(size + PART_BYTES)
            segments.append(Part(bytes([marker]), data[position + 2 : position + size]))
            position += size
    return Parts(tuple(segments))


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """Return a JPEG segment with its marker and length."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def png_chunks(path: Path) -> Parts:
    """Return the chunks of a PNG file without those of pixels. Damaged chunks are left out."""
    chunks, damaged, budget = list[Part](), list[str](), MetadataBudget()
    with path.open("rb") as file:
        file.seek(8)
        size_of_file = path.stat().st_size
        while len(header := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", header)
            if file.tell() + size > size_of_file or not kind.isalpha():
                damaged.append(kind.decode("latin-1") if kind.isalpha() else "without a name")
                break
            if kind in (b"IDAT", b"fdAT"):
                file.seek(size + 4, 1)
                continue
            budget.take(size + PART_BYTES)
            data = file.read(size)
            if file.read(4) == struct.pack(">I", zlib.crc32(kind + data)):
                chunks.append(Part(kind, data))
            else:
                damaged.append(kind.decode("latin-1"))
            if kind == b"IEND":
                return Parts(tuple(chunks), size_of_file - file.tell(), damaged=tuple(damaged))
    return Parts(tuple(chunks), damaged=tuple(damaged))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk with its length and checksum."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def iso_boxes(path: Path, kinds: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes of these types in an ISO file, and in its JPEG 2000 header."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position, budget = 0, MetadataBudget()
        while position + 16 <= len(data):
            size, kind = struct.unpack_from(">I4s", data, position)
            start = position + 8
            if size == 1:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            end = len(data) if size == 0 else position + size
            if end < start:
                return
            if kind in kinds:
                budget.take(min(end, len(data)) - start)
                yield kind, data[start:end]
            position = start if kind == b"jp2h" else end


def bmp_profile(data: bytes) -> bytes:
    """Return the colour profile in the first bytes of a BMP file; empty if it has none there."""
    if len(data) < 138 or int.from_bytes(data[14:18], "little") < 124 or data[70:74] != b"DEBM":
        return b""
    start, size = struct.unpack_from("<II", data, 126)
    return data[14 + start :][:size]


def gif_extensions(path: Path, names: Container[bytes]) -> dict[bytes, bytes]:
    """Return the content of the application extensions of a GIF file, by these names of applications.

    The length in front of each block of up to 255 bytes is a part of the content, as XMP needs it.
    """
    found: dict[bytes, bytes] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _GIF_APPLICATION.finditer(data):
            position, budget = match.end(), MetadataBudget()
            while match[1] in names and position < len(data) and data[position]:
                budget.take(1 + data[position])
                position += 1 + data[position]
            if position > match.end():
                found.setdefault(match[1], data[match.end() : position])
    return found


def without_lengths(content: bytes) -> bytes:
    """Return the bytes of a GIF extension without the length in front of each block."""
    result, position = bytearray(), 0
    while position < len(content):
        result += content[position + 1 : position + 1 + content[position]]
        position += 1 + content[position]
    return bytes(result)


class Writable(Protocol):
    """A file that can be written from beginning to end."""

    def write(self, data: bytes, /) -> int:
        """Write the bytes and return their number."""


class HeadEditor:
    """A file that an encoder writes from beginning to end, whose first bytes are edited on the way.

    It has no file descriptor, so that Pillow's encoders write through it.

    Args:
        file: receives the bytes.
        edit: returns the first bytes to write instead of those of the encoder.
    """

    def __init__(self, file: Writable, edit: Callable[[bytes], bytes]) -> None:
        self._file, self._edit, self._head = file, edit, bytearray()
        self._edited = False

    def write(self, data: bytes) -> int:
        """Write the bytes, or keep them until the head is complete."""
        if self._edited:
            return self._file.write(data)
        self._head += data
        if len(self._head) >= _HEAD_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Edit and write the bytes that are kept."""
        if not self._edited and len(self._head) >= _HEAD_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write the head, if the whole file is shorter than a head."""
        if not self._edited:
            self._edited = True
            self._file.write(self._edit(bytes(self._head)))
