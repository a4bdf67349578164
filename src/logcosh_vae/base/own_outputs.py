"""Marks in picture files that this program has written, so that they never become input by accident.

A mark is a short text in the first or the last 4096 bytes of a file, in a place that other programs accept:

    PNG               text chunk             first bytes
    JPEG              application segment    first bytes
    PPM, PGM, PBM     comment                first bytes
    WebP              chunk                  last bytes
    GIF               application extension  last bytes
    AVIF, JPEG 2000   `free` box             last bytes
    TIFF, BMP         unused bytes           last bytes

It is found under any file name. A run folder is recognised by its `config.json`.
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
_END_OF_IHDR, _END_OF_MAGIC = 33, 3
_JPEG_START, _JPEG_APP0, _JPEG_APP7 = b"\xff\xd8\xff", b"\xff\xd8\xff\xe0", b"\xff\xe7"
_WEBP_CHUNK, _GIF_EXTENSION = b"lcva", b"\x21\xff\x0bLOGCOSH-VAE"

_ISO_TYPES = (b"ftyp", b"jP  ")
_MARKED_AT_END = (b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
        tail: the last `WINDOW` bytes of the file, or more; not needed unless `may_end_with_mark(head)`.
    """
    found = _PATTERN.search(head[:WINDOW])
    if found is None and may_end_with_mark(head):
        found = _PATTERN.search(tail[-WINDOW:])
    return found[1].decode() if found else None


def may_end_with_mark(head: bytes) -> bool:
    """Return whether the mark of a file with these first bytes may be in its last bytes."""
    return head.startswith(_MARKED_AT_END) or head[4:8] in _ISO_TYPES or _is_pnm(head)


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
    with path.open("r+b") as file:
        head, size = file.read(WINDOW), file.seek(0, 2)
        start, behind, content = _insertion(head, mark(kind, digest))
        start = size - behind if start is None else start
        with tempfile.TemporaryFile(dir=path.parent) as rest:
            file.seek(start)
            shutil.copyfileobj(file, rest)
            rest.seek(0)
            file.seek(start)
            file.write(content)
            shutil.copyfileobj(rest, file)
        if (field := _size_field(head)) is not None:
            file.seek(field.start)
            file.write(struct.pack("<I", size + len(content) - (8 if head.startswith(b"RIFF") else 0)))


def content_digest(path: Path) -> str:
    """Return hexadecimal digits that identify the content of a picture file, apart from its mark.

    They are the same before and after `mark_picture`.

    Raises:
        OSError: the file cannot be read.
    """
    found, digest = own_output_in(path), hashlib.sha256()
    with path.open("rb") as file:
        head, size = file.read(WINDOW), file.seek(0, 2)
        start, behind, content = _insertion(head, PREFIX + (found or "").encode() + END)
        start = max(0, size - behind - len(content)) if start is None else start
        file.seek(start)
        marked = found is not None and file.read(len(content)) == content
        end = start + len(content) if marked else start
        for first, last in ((0, start), (end, size)):
            file.seek(first)
            while first < last and (block := file.read(min(1 << 20, last - first))):
                if first == 0 and (field := _size_field(head)) is not None:
                    block = block[: field.start] + bytes(4) + block[field.stop :]
                digest.update(block)
                first += len(block)
    return digest.hexdigest()[:16]


def _size_field(head: bytes) -> slice | None:
    """Return where a file with this start holds its size; None if it does not."""
    return slice(2, 6) if head.startswith(b"BM") else slice(4, 8) if head.startswith(b"RIFF") else None


def _insertion(head: bytes, text: bytes) -> tuple[int | None, int, bytes]:
    """Return where and how a file with this start is marked.

    Returns:
        The position of the mark, or None if it is near the end; the number of bytes behind it in that case; and the
        bytes to insert.
    """
    if head.startswith(_PNG):
        body = b"tEXtSoftware\0" + text
        return _END_OF_IHDR, 0, struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    if head.startswith(_JPEG_START):
        after_app0 = 4 + int.from_bytes(head[4:6], "big") if head.startswith(_JPEG_APP0) else 2
        return after_app0, 0, _JPEG_APP7 + struct.pack(">H", len(text) + 2) + text
    if _is_pnm(head):
        return _END_OF_MAGIC, 0, b"#" + text + b"\n"
    if head.startswith(b"RIFF"):
        return None, 0, _WEBP_CHUNK + struct.pack("<I", len(text)) + text + bytes(len(text) % 2)
    if head.startswith(b"GIF8"):
        return None, 1, _GIF_EXTENSION + bytes([len(text)]) + text + b"\0"  # the last byte ends the file
    if head[4:8] in _ISO_TYPES:
        return None, 0, struct.pack(">I", len(text) + 8) + b"free" + text
    return None, 0, text


def _is_pnm(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()


def is_run_config(content: bytes) -> bool:
    """Return whether `content` is that of a run folder's `config.json`."""
    try:
        values: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("kind") in RUN_KINDS and "train" in values
