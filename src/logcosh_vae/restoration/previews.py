"""Previews in the metadata of a picture, which would still show what restoration has removed.

An EXIF thumbnail is made anew from the restored picture. All other images in the metadata are left out and named:
thumbnails of Photoshop and of JFIF, images in XMP and maker notes, and segments, chunks and fields of other programs
that hold an image.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL import Image

from ..data.orientation import xmp_text
from . import containers
from .containers import Part
from .embedded import BASE64_IMAGE, blank_jpegs, holds_image
from .exif_thumbnail import renew_thumbnail
from .metadata import HOLDS, Metadata
from .tags import RESOURCES_TAG, XMP_TAG, Directory, Field

_THUMBNAIL_RESOURCES = (0x0409, 0x040C)
_XAP = re.compile(r"xmlns:([\w.-]+)\s*=\s*[\"']http://ns\.adobe\.com/xap/1\.0/[\"']")
_JFIF_SIZE = slice(12, 14)
_PNG_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PNG_DEPENDENT = frozenset(
    {b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"bKGD", b"sBIT", b"sPLT", b"pCAL", b"sCAL", b"tIME"}
    | {b"mDCV", b"cLLI", b"mDCv", b"cLLi"}
)
"""Chunks of the standard that may be copied although the capital at their end says that they depend on the pixels."""
_EXTENDED_HEADER = len(containers.EXTENDED_XMP_SEGMENT) + 40
"""Bytes before the content of a segment of extended XMP: its name, digest, length and offset."""
_EXTENSION_NOTE = re.compile(rb"\s[\w.-]+:HasExtendedXMP\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_MAX_TEXT_BYTES = 1 << 26
_FULL_EXIF = ("JPEG", "PNG", "WEBP")
"""Formats that take an EXIF block with its thumbnail; the others take its fields."""


def renew_previews(metadata: Metadata, target: str, picture: Image.Image, orientation: int) -> tuple[Metadata, str]:
    """Return metadata whose previews show `picture`, or that has none.

    Args:
        metadata: of the original.
        target: format of the new file.
        picture: as it is stored, with `orientation`.
        orientation: of the stored picture.

    Returns:
        The metadata, and a sentence about previews that are left out; empty if there are none.
    """
    lost: list[str] = []
    shown = picture if target in _FULL_EXIF else None
    exif, xmp, iptc, parts, tags = metadata.exif, metadata.xmp, metadata.iptc, metadata.parts, metadata.tags
    if metadata.format == target == "JPEG":  # which gets the parts and nothing else
        parts = tuple(_segments(parts, shown, orientation, lost))
        return replace(metadata, parts=parts), _sentence(lost)
    if metadata.format == target == "PNG":
        parts = tuple(_chunks(parts, lost))
    if metadata.format == target == "TIFF":
        tags = _fields(tags, lost)
    elif "EXIF" in HOLDS[target]:
        exif, names = renew_thumbnail(exif, shown, orientation)
        lost += names
    if "XMP" in HOLDS[target]:
        xmp = _without_images(xmp, lost)
    if "IPTC" in HOLDS[target]:
        iptc = _resources_without_images(iptc, lost)
    return replace(metadata, exif=exif, xmp=xmp, iptc=iptc, parts=parts, tags=tags), _sentence(lost)


def _sentence(lost: Sequence[str]) -> str:
    names = list(dict.fromkeys(lost))
    if len(names) < 2:
        return f"its {names[0]}, which may show it before restoration, is left out" if names else ""
    return f"its {', '.join(names[:-1])} and {names[-1]}, which may show it before restoration, are left out"


def _without_images(xmp: bytes, lost: list[str]) -> bytes:
    """Return an XMP packet without thumbnails and without other images in base64."""
    try:
        text, encoding = xmp_text(xmp)
    except UnicodeDecodeError:
        return xmp
    declared = _XAP.search(text)
    name = re.escape(declared[1] if declared else "xmp")
    shorter = re.sub(rf"(?s)<{name}:Thumbnails\b.*?</{name}:Thumbnails\s*>", "", text)
    shorter = BASE64_IMAGE.sub("", shorter)
    if shorter == text:
        return xmp
    lost.append("image in XMP")
    return shorter.encode(encoding, "surrogatepass")


def _resources_without_images(resources: bytes, lost: list[str]) -> bytes:
    """Return Photoshop resources without thumbnails and other images; what follows damage is left out if it has one."""
    kept, position = b"", 0
    while position < len(resources):
        name_length = resources[position + 6] if position + 7 <= len(resources) else 0
        header = 6 + (1 + name_length + 1) // 2 * 2 + 4
        block = resources[position:]
        if len(block) >= header:
            number, size = struct.unpack_from(">H", block, 4)[0], struct.unpack_from(">I", block, header - 4)[0]
            block = block[: header + size + size % 2]
            is_thumbnail = number in _THUMBNAIL_RESOURCES and block[:4] == b"8BIM"
        else:
            is_thumbnail = False
        if is_thumbnail or holds_image(block):
            lost.append("Photoshop thumbnail")
        else:
            kept += block
        position += len(block)
    return kept


def _segments(parts: Sequence[Part], picture: Image.Image | None, orientation: int, lost: list[str]) -> Iterator[Part]:
    """Yield the segments of a JPEG file for a new picture."""
    resources = [part for part in parts if part.data.startswith(containers.IPTC_SEGMENT)]
    joined = b"".join(part.data.removeprefix(containers.IPTC_SEGMENT) for part in resources)
    kept = _resources_without_images(joined, lost)
    dropped = _groups_with_images(parts)
    extended = any(data.startswith(containers.EXTENDED_XMP_SEGMENT[:-1]) for _, data in dropped)
    step = containers.MAX_SEGMENT_BYTES - len(containers.IPTC_SEGMENT)
    for part in parts:
        data = part.data
        if data.startswith(containers.EXIF_SEGMENT):
            exif, names = renew_thumbnail(data.removeprefix(containers.EXIF_SEGMENT), picture, orientation)
            lost += names
            yield Part(part.kind, containers.EXIF_SEGMENT + exif)
        elif data.startswith(containers.XMP_SEGMENT):
            packet = _without_images(data[len(containers.XMP_SEGMENT) :], lost)
            yield Part(part.kind, containers.XMP_SEGMENT + (_EXTENSION_NOTE.sub(b"", packet) if extended else packet))
        elif data.startswith(containers.IPTC_SEGMENT):
            if kept == joined:
                yield part
            elif part is resources[0]:
                for start in range(0, len(kept), step):
                    yield Part(part.kind, containers.IPTC_SEGMENT + kept[start : start + step])
        elif part.marker == containers.APP0:
            if data.startswith(b"JFXX") or any(data[_JFIF_SIZE]) or holds_image(data):
                lost.append("JFIF thumbnail")
            yield part  # of which only the resolution is used
        elif _group(part) in dropped:
            lost.append(_segment_name(part))
        else:
            yield part


def _groups_with_images(parts: Sequence[Part]) -> set[tuple[bytes, bytes]]:
    """Return the groups of segments that hold an image, which may begin in one segment and end in another."""
    joined: dict[tuple[bytes, bytes], bytearray] = {}
    for part in parts:
        extended = part.data.startswith(containers.EXTENDED_XMP_SEGMENT)
        joined.setdefault(_group(part), bytearray()).extend(part.data[_EXTENDED_HEADER if extended else 0 :])
    return {group for group, data in joined.items() if holds_image(bytes(data))}


def _group(part: Part) -> tuple[bytes, bytes]:
    """Return what the segments of one long piece of data have in common: the marker and the name of the data."""
    name, end, _ = part.data[: len(containers.EXTENDED_XMP_SEGMENT)].partition(b"\0")
    return part.kind, name if end else part.data[:4]


def _segment_name(part: Part) -> str:
    if part.data.startswith(containers.EXTENDED_XMP_SEGMENT):
        return "extended XMP with an image"
    if part.marker == containers.COM:
        return "comment with an image"
    return f"image in APP{part.marker - containers.APP0}"


def _chunks(parts: Sequence[Part], lost: list[str]) -> Iterator[Part]:
    """Yield the chunks of a PNG file that do not hold images and do not depend on the former pixels."""
    for part in parts:
        depends = part.kind[3:].isupper() and part.kind not in _PNG_DEPENDENT
        content = _text_content(part.data, part.kind) if part.kind in _PNG_TEXT else part.data
        if depends or holds_image(content):
            lost.append(f"{part.kind.decode('latin-1')} chunk")
        else:
            yield part


def _text_content(data: bytes, kind: bytes) -> bytes:
    """Return the content of a text chunk, decompressed; the bytes of what ImageMagick stores as hexadecimal digits."""
    keyword, _, content = data.partition(b"\0")
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed, content = content[:1] == b"\1", content[2:].split(b"\0", 2)[-1]
    elif compressed:
        content = content[1:]
    if compressed:
        try:
            content = zlib.decompressobj().decompress(content, _MAX_TEXT_BYTES)
        except zlib.error:
            return b""
    if keyword.startswith(b"Raw profile type"):
        try:
            return bytes.fromhex("".join(content.decode("latin-1").split("\n")[3:]))
        except ValueError:
            return content
    return content


def _fields(tags: Directory, lost: list[str]) -> Directory:
    """Return the fields of a TIFF file without images: in Photoshop resources, and as streams in any other field."""
    fields = {}
    for tag, value in tags.fields.items():
        data = value.data
        if tag == RESOURCES_TAG:
            data = _resources_without_images(data, lost)
        elif tag != XMP_TAG and value.child is None:
            data, found = blank_jpegs(data)
            lost += ["EXIF preview"] if found else []
        child = None if value.child is None else _fields(value.child, lost)
        if data or not value.data:
            fields[tag] = Field(value.kind, value.count if len(data) == len(value.data) else len(data), data, child)
    return Directory(fields, tags.order)
