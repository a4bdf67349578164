"""Damage in the metadata of a picture: it is not copied, because other programs would stumble over it, but named.

Damaged fields are taken out of an EXIF block, and everything else in it keeps its bytes and its place. Of a damaged
colour profile, XMP packet or list of Photoshop resources nothing is copied.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from xml.parsers import expat

from ..data.orientation import xmp_text
from . import containers
from .colour import is_whole_profile
from .metadata import Metadata
from .tags import RESOURCES_TAG, UNIT_SIZES, UNITS_PER_VALUE, XMP_TAG

_POINTERS = {0x8769, 0x8825, 0xA005}
"""Tags of EXIF blocks whose value is the offset of another directory."""

_IPTC_PARTS = (containers.IPTC_SEGMENT, b"Raw profile type iptc\0", b"Raw profile type 8bim\0")
_RESOURCE_SIGNATURES = (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR")


def without_damage(metadata: Metadata) -> Metadata:
    """Return the metadata without what is damaged, with notes about that."""
    notes, parts, tags = list(metadata.damage), list(metadata.parts), metadata.tags
    exif, xmp, icc, iptc = metadata.exif, metadata.xmp, metadata.icc, metadata.iptc
    if exif and metadata.format != "TIFF":  # whose fields have been checked when they were read
        exif, damaged = repair_exif(exif)
        notes += [exif_note(damaged)] if damaged or not exif else []
    if metadata.format == "JPEG":
        segments = []
        for part in parts:
            if part.data.startswith(containers.EXIF_SEGMENT):
                block, _ = repair_exif(part.data.removeprefix(containers.EXIF_SEGMENT))
                segments += [replace(part, data=containers.EXIF_SEGMENT + block)] if block else []
            else:
                segments.append(part)
        parts = segments
    if (icc and not is_whole_profile(icc)) or (not icc and any(part.kind == b"iCCP" for part in parts)):
        notes.append("its colour profile is damaged and is not copied, so colours may look different")
        icc, parts = b"", [part for part in parts if part.kind != b"iCCP"]
    if xmp and not is_whole_xmp(xmp):
        notes.append("its XMP is damaged and is not copied")
        xmp, parts = b"", [part for part in parts if not part.data.startswith(containers.XMP_SEGMENT)]
        tags = tags.without([XMP_TAG])
    if iptc and not are_whole_resources(iptc):
        notes.append("its IPTC is damaged and is not copied")
        iptc, parts = b"", [part for part in parts if not part.data.startswith(_IPTC_PARTS)]
        tags = tags.without([RESOURCES_TAG])
    return replace(metadata, exif=exif, xmp=xmp, icc=icc, iptc=iptc, parts=tuple(parts), tags=tags, damage=tuple(notes))


def exif_note(damaged: Sequence[int]) -> str:
    """Return a sentence about damaged fields with these tags; about the whole block if there are none."""
    if not damaged:
        return "its EXIF is damaged and is not copied"
    names = list(dict.fromkeys(f"0x{tag:04x}" for tag in damaged))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"damaged fields of its EXIF (tag {', '.join(names[:4])}{more}) are not copied"


def repair_exif(exif: bytes) -> tuple[bytes, list[int]]:
    """Return an EXIF block without damaged fields, and their tags. The block is empty if its directory is damaged.

    A field is damaged if its type is unknown, its value lies outside of the block, or it points to a directory that is
    not there. Maker notes and the directory of the thumbnail are not looked into.
    """
    orders = {b"II": "<", b"MM": ">"}
    order, data, damaged = orders.get(exif[:2], ""), bytearray(exif), list[int]()
    try:
        if not order or struct.unpack_from(order + "H", exif, 2)[0] != 42:
            return b"", []
        start = struct.unpack_from(order + "I", exif, 4)[0]
        if start < 8:
            return b"", []
        _repair_directory(data, start, order, _POINTERS, damaged)
    except (struct.error, ValueError):
        return b"", []
    return bytes(data), damaged


def _repair_directory(data: bytearray, start: int, order: str, pointers: set[int], damaged: list[int]) -> None:
    """Take damaged fields out of a directory, and out of those that it points to.

    Raises:
        ValueError, struct.error: the directory does not fit into the data.
    """
    (count,) = struct.unpack_from(order + "H", data, start)
    end = start + 2 + 12 * count
    if end > len(data):
        raise ValueError
    kept = b""
    for position in range(start + 2, end, 12):
        tag, kind, values, offset = struct.unpack_from(order + "HHII", data, position)
        size = UNIT_SIZES.get(kind, 0) * UNITS_PER_VALUE.get(kind, 1) * values
        is_padding = (tag, kind, values) == (0, 0, 0)
        whole = is_padding or (kind in UNIT_SIZES and (size <= 4 or offset + size <= len(data)))
        if whole and tag in pointers:
            try:
                _repair_directory(data, offset, order, pointers - {tag}, damaged)
            except (struct.error, ValueError):
                whole = False
        if whole:
            kept += data[position : position + 12]
        else:
            damaged.append(tag)
    link = data[end : end + 4]  # to the directory of the thumbnail
    if len(kept) < 12 * count:
        struct.pack_into(order + "H", data, start, len(kept) // 12)
        data[start + 2 : end + len(link)] = (kept + link).ljust(12 * count + len(link), b"\0")


def is_whole_xmp(xmp: bytes) -> bool:
    """Return whether an XMP packet is well-formed XML, without entities of its own."""
    parser = expat.ParserCreate("utf-8")

    def refuse(*_: object) -> None:
        raise ValueError

    parser.EntityDeclHandler = refuse
    try:
        text, _ = xmp_text(xmp)
        parser.Parse(text.strip("\0\ufeff \t\r\n").encode(errors="replace"), True)
    except (UnicodeDecodeError, expat.ExpatError, ValueError):
        return False
    return True


def are_whole_resources(resources: bytes) -> bool:
    """Return whether Photoshop resources follow each other up to the end, apart from padding."""
    position = 0
    while resources[position:].strip(b"\0"):
        if resources[position : position + 4] not in _RESOURCE_SIGNATURES or len(resources) < position + 12:
            return False
        header = 6 + (resources[position + 6] + 2) // 2 * 2 + 4
        size = int.from_bytes(resources[position + header - 4 : position + header], "big")
        if position + header + size > len(resources):
            return False
        position += header + size + size % 2
    return True
