"""Find images that are embedded in metadata: JPEG and PNG streams, also as base64 text, whatever field holds them."""

from __future__ import annotations

import re

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = re.compile(rb"(?s).\xd8\xff[\xc0-\xfe]")
"""Some cameras change the first byte of a preview, so that other programs do not take it for the picture."""
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_NEXT_MARKER = re.compile(rb"\xff+(?![\x00\xff\xd0-\xd7])")
_SCAN, _END = 0xDA, 0xD9

BASE64_IMAGE = re.compile(
    r"(?:/9j/[w-z0-9+/]|iVBORw0KGgo|R0lGODlh|UklGR)(?:[A-Za-z0-9+/=\s]|&#x?[0-9A-Fa-f]{1,4};){60,}"
)
"""A JPEG, PNG, GIF or WebP file as base64, with line breaks as XML may write them."""


def jpeg_ranges(data: bytes) -> list[tuple[int, int]]:
    """Return begin and end of the JPEG streams in `data`; one that is cut off ends with `data`."""
    found, position = list[tuple[int, int]](), 0
    while match := _JPEG_START.search(data, position):
        end = _jpeg_end(data, match.start())
        if end:
            found.append((match.start(), end))
        position = end or match.start() + 1
    return found


def _jpeg_end(data: bytes, start: int) -> int:
    """Return the end of the JPEG stream at `start`; 0 if its segments do not lead to a frame."""
    position, has_frame = start + 2, False
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return 0
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _END:
            return position + 2 if has_frame else 0
        has_frame = has_frame or marker in _JPEG_FRAMES
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _SCAN:
            following = _NEXT_MARKER.search(data, position)
            if following is None:
                break
            position = following.end() - 1
            if data[position + 1 : position + 2] == bytes([_END]):
                return position + 2
    return len(data) if has_frame else 0


def blank_jpegs(data: bytes) -> tuple[bytes, bool]:
    """Return `data` with zeros in the place of JPEG streams, and whether there were any; nothing moves."""
    ranges = jpeg_ranges(data)
    if not ranges:
        return data, False
    blanked = bytearray(data)
    for begin, end in ranges:
        blanked[begin:end] = bytes(end - begin)
    return bytes(blanked), True


def holds_image(data: bytes) -> bool:
    """Whether `data` holds an image file, also as base64."""
    return (
        _PNG_SIGNATURE in data
        or bool(jpeg_ranges(data))
        or BASE64_IMAGE.search(data.decode("latin-1").replace("\0", "")) is not None
    )
