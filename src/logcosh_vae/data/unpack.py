"""Unpacking members of zip files piece by piece, up to the size that the zip file states.

`zipfile` unpacks everything before it cuts the content to that size, so that a member of 2 KB can take gigabytes.
"""

from __future__ import annotations

import bz2
import copy
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Protocol

PIECE_BYTES = 1 << 18
"""Largest piece of unpacked content."""

_READ_BYTES = 1 << 16


class _Unpacker(Protocol):
    """What `lzma` and `bz2` have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Deflate:
    """The interface of `_Unpacker` for deflate."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def needs_input(self) -> bool:
        return not self._unpacker.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._unpacker.decompress(self._unpacker.unconsumed_tail + data, max_length)


def pieces(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the content of a member in pieces of at most `PIECE_BYTES`. Several threads may read at the same time.

    Raises:
        ValueError: it has more or fewer bytes than the zip file states.
        zipfile.BadZipFile: it is damaged.
        Exception: what the decompressors raise for damaged content.
    """
    stored = copy.copy(item)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, item.compress_size
    del stored.CRC  # which is that of the unpacked content
    left, checksum = item.file_size, 0
    with archive.open(stored) as file:
        for piece in _unpacked(file, item):
            left -= len(piece)
            if left < 0:
                raise ValueError(f"its content has more than the {item.file_size:,} bytes that the zip file states")
            checksum = zlib.crc32(piece, checksum)
            yield piece
    if left:
        raise ValueError(f"its content is cut off: {left:,} of {item.file_size:,} bytes are missing")
    if checksum != item.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {item.orig_filename!r}")


def _unpacked(file: IO[bytes], item: zipfile.ZipInfo) -> Iterator[bytes]:
    if item.compress_type == zipfile.ZIP_STORED:
        while piece := file.read(PIECE_BYTES):
            yield piece
        return
    unpacker, ended = _unpacker(file, item), False
    while not unpacker.eof and not (ended and unpacker.needs_input):
        data = file.read(_READ_BYTES) if unpacker.needs_input else b""
        ended = ended or (not data and unpacker.needs_input)
        if piece := unpacker.decompress(data, PIECE_BYTES):
            yield piece


def _unpacker(file: IO[bytes], item: zipfile.ZipInfo) -> _Unpacker:
    if item.compress_type == zipfile.ZIP_DEFLATED:
        return _Deflate()
    if item.compress_type == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor()
    header = file.read(9)  # version, length of the properties, properties
    if len(header) < 9 or header[2:4] != b"\5\0" or header[4] >= 225:
        raise zipfile.BadZipFile("its LZMA header is damaged")
    (dictionary,) = struct.unpack_from("<I", header, 5)
    filters = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(4096, min(dictionary, item.file_size)),  # nothing refers to bytes before the first
        "lc": header[4] % 9,
        "lp": header[4] // 9 % 5,
        "pb": header[4] // 45,
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])
