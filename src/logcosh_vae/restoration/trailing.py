"""Bytes behind the end of a picture file, which no program shows and a restored file does not keep."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

from PIL import Image

from ..base.own_outputs import END, PREFIX, WINDOW, own_output
from ..data.formats import HEAD_BYTES
from . import containers

_MAX_BLOCKS = 1 << 20
"""Most blocks of a file that are passed to find its end; the end of other files counts as that of the picture."""

_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B


def bytes_behind(picture: Image.Image, path: Path) -> int:
    """Return the number of bytes behind the end of a picture, apart from padding and a mark of this program.

    JPEG files are not looked into; `containers.jpeg_segments` gives their number.

    The picture is not decoded yet.
    """
    with path.open("rb") as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES)
        file.seek(max(0, size - WINDOW))
        tail = file.read()
    end = size
    first: tuple[str, Any, int, Any] = next(iter(getattr(picture, "tile", ())), ("", None, 0, None))
    decoder, _, offset, arguments = first
    if picture.format == "PNG":
        end = size - containers.png_chunks(path).behind
    elif picture.format == "WEBP":
        end = 8 + int.from_bytes(head[4:8], "little")
        end += end % 2
    elif picture.format == "BMP":
        end = int.from_bytes(head[2:6], "little") or size
        end = max(end, offset + arguments[1] * picture.height) if decoder == "raw" and end < size else end
    elif picture.format == "GIF":
        end = _gif_end(path)
    elif picture.format in ("AVIF", "JPEG2000") and head[4:8] in (b"ftyp", b"jP  "):
        end = _iso_end(path)
    elif picture.format == "PPM" and decoder in ("raw", "ppm"):
        deep = isinstance(arguments, tuple) and isinstance(arguments[-1], int) and arguments[-1] > 255
        deep = deep or ";16" in str(arguments)
        row = (picture.width + 7) // 8 if picture.mode == "1" else picture.width * len(picture.getbands()) * (1 + deep)
        end = offset + row * picture.height
    behind = max(0, size - end)
    if (found := own_output(b"", tail)) is not None and tail.endswith(mark := PREFIX + found.encode() + END):
        behind = max(0, behind - len(mark))
    is_padding = behind <= len(tail) and not tail[len(tail) - behind :].strip(b"\0 \t\r\n")
    return 0 if is_padding else behind


def _gif_end(path: Path) -> int:
    """Return the end of a GIF picture; the size of the file if it has none."""

    def table_bytes(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position, blocks = 13 + table_bytes(data[10]), 0
        while position + 10 < len(data) and data[position] in (_GIF_EXTENSION, _GIF_IMAGE):
            is_image = data[position] == _GIF_IMAGE
            position += 11 + table_bytes(data[position + 9]) if is_image else 2
            while position < len(data) and data[position] and blocks < _MAX_BLOCKS:
                position, blocks = position + 1 + data[position], blocks + 1
            position, blocks = position + 1, blocks + 1
            if blocks >= _MAX_BLOCKS:
                return len(data)
        found = position < len(data) and data[position] == _GIF_END
        return position + 1 if found else len(data)


def _iso_end(path: Path) -> int:
    """Return the end of the last whole box of an AVIF or JPEG 2000 file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position, blocks = 0, 0
        while position + 8 <= len(data):
            blocks += 1
            size = int.from_bytes(data[position : position + 4], "big")
            size = int.from_bytes(data[position + 8 : position + 16], "big") if size == 1 else size
            if size == 0 or blocks > _MAX_BLOCKS:  # 0: up to the end of the file
                return len(data)
            if size < 8 or position + size > len(data):
                break
            position += size
        return position
