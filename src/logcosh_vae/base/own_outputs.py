"""Marks in picture files that this program has written, so that they never become input by accident.

A mark is a short text in the first or the last 4096 bytes of a file, in a place that decoders ignore: a text chunk of
a PNG, an application segment of a JPEG, a `free` box of an AVIF or JPEG 2000, and the last bytes of other formats. It
is found under any file name. A run folder is recognised by its `config.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

PREFIX, END = b"logcosh-vae-output:", b";"
WINDOW = 4096
"""Number of bytes at the start and at the end of a file that are searched for a mark."""

RUN_CONFIG = "config.json"
RUN_KINDS = ("auto-encoder", "restoration", "features")
"""Values of `kind` in the `config.json` of run folders."""

_PATTERN = re.compile(re.escape(PREFIX) + rb"([a-z-]+(?:=[0-9a-f+]+)?)" + END)
_PNG = b"\x89PNG\r\n\x1a\n"
_END_OF_IHDR = 33
_JPEG_START, _JPEG_APP0, _JPEG_APP7 = b"\xff\xd8\xff", b"\xff\xd8\xff\xe0", b"\xff\xe7"


def mark(kind: str, digest: str = "") -> bytes:
    """Return the mark of a file.

    Args:
        kind: what the file is, in lower-case letters and hyphens, such as `restored` or `contact-sheet`.
        digest: hexadecimal digits that identify how the file was made; parts are joined by `+`.
    """
    return PREFIX + (f"{kind}={digest}" if digest else kind).encode() + END


def own_output(head: bytes, tail: bytes = b"") -> str | None:
    """Return the mark in the first and last bytes of a file, without its prefix; None if there is none.

    Args:
        head: the first `WINDOW` bytes of the file, or more.
        tail: the last `WINDOW` bytes of the file, or more.
    """
    found = _PATTERN.search(head[:WINDOW]) or _PATTERN.search(tail[-WINDOW:])
    return found[1].decode() if found else None


def own_output_in(path: Path) -> str | None:
    """Return the mark of a regular file, without its prefix; None if it has none or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(WINDOW)
            file.seek(max(0, file.seek(0, 2) - WINDOW))
            return own_output(head, file.read(WINDOW))
    except OSError:
        return None


def mark_picture(path: Path, kind: str, digest: str = "") -> None:
    """Mark a complete picture file as an output of this program; a marked file is left as it is.

    Raises:
        OSError: the file cannot be read or written.
    """
    if own_output_in(path) is not None:
        return
    content = mark(kind, digest)
    with path.open("r+b") as file:
        head = file.read(WINDOW)
        position, content = _insertion(head, content)
        if position is None:
            size = file.seek(0, 2) + file.write(content)
            if head.startswith(b"BM"):  # the header of a BMP file holds its size
                file.seek(2)
                file.write(struct.pack("<I", size))
            return
        with tempfile.TemporaryFile(dir=path.parent) as rest:
            file.seek(position)
            shutil.copyfileobj(file, rest)
            rest.seek(0)
            file.seek(position)
            file.write(content)
            shutil.copyfileobj(rest, file)


def content_digest(path: Path) -> str:
    """Return hexadecimal digits that identify the content of a picture file, apart from its mark.

    They are the same before and after `mark_picture`.

    Raises:
        OSError: the file cannot be read.
    """
    found, digest = own_output_in(path), hashlib.sha256()
    with path.open("rb") as file:
        head = file.read(WINDOW)
        start, content = _insertion(head, PREFIX + (found or "").encode() + END)
        size = file.seek(0, 2)
        start = size - len(content) if start is None else start
        file.seek(max(0, start))
        marked = found is not None and file.read(len(content)) == content
        end = start + len(content) if marked else start
        for first, last in ((0, start), (end, size)):
            file.seek(first)
            while first < last and (block := file.read(min(1 << 20, last - first))):
                if first == 0 and block.startswith(b"BM"):  # the header of a BMP file holds its size
                    block = block[:2] + bytes(4) + block[6:]
                digest.update(block)
                first += len(block)
    return digest.hexdigest()[:16]


def _insertion(head: bytes, text: bytes) -> tuple[int | None, bytes]:
    """Return where to insert a mark into a file with this start, or None for its end, and the bytes to insert."""
    if head.startswith(_PNG):
        body = b"tEXtSoftware\0" + text
        return _END_OF_IHDR, struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    if head.startswith(_JPEG_START):
        after_app0 = 4 + int.from_bytes(head[4:6], "big") if head.startswith(_JPEG_APP0) else 2
        return after_app0, _JPEG_APP7 + struct.pack(">H", len(text) + 2) + text
    if head[4:8] in (b"ftyp", b"jP  "):
        return None, struct.pack(">I", len(text) + 8) + b"free" + text
    return None, text


def is_run_config(content: bytes) -> bool:
    """Return whether `content` is that of a run folder's `config.json`."""
    try:
        values: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("kind") in RUN_KINDS and "train" in values
