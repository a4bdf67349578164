"""The orientation of a stored image: where EXIF and XMP hold it, how to read it, and how to change it in place.

A camera stores the pixels as its sensor delivers them, and a number from 1 to 8 that says how to turn them. EXIF takes
precedence over XMP, as in other programs. Damaged metadata counts as absent.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image

ORIENTATION = 0x0112
"""The EXIF tag of an image's orientation."""

TRANSPOSED = (5, 6, 7, 8)
"""Orientations for which width and height are exchanged when the image is turned upright."""

EXIF_HEADER = b"Exif\0\0"

_FIELD_SIZES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
"""EXIF field types that can hold an orientation, with the format and the size of a value."""

_NAMESPACE = re.compile(r"xmlns:([\w.-]+)\s*=\s*[\"']http://ns\.adobe\.com/tiff/1\.0/[\"']")


def _exif_field(exif: bytes) -> tuple[int, str, int] | None:
    """Return offset, format and value of the orientation in an EXIF block; None if it has none."""
    start = len(EXIF_HEADER) if exif.startswith(EXIF_HEADER) else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None:
        return None
    found = None
    try:
        directory = start + struct.unpack_from(order + "I", exif, start + 4)[0]
        for entry in range(struct.unpack_from(order + "H", exif, directory)[0]):
            offset = directory + 2 + 12 * entry
            tag, kind, _ = struct.unpack_from(order + "HHI", exif, offset)
            if tag == ORIENTATION and kind in _FIELD_SIZES:
                value_format = order + _FIELD_SIZES[kind][0]
                found = offset + 8, value_format, struct.unpack_from(value_format, exif, offset + 8)[0]
    except struct.error:  # the directory is damaged; what was read before the damage counts
        return found
    return found


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation in an EXIF block; None if it has none from 1 to 8."""
    field = _exif_field(exif)
    return field[2] if field is not None and 1 <= field[2] <= 8 else None


def with_exif_orientation(exif: bytes, orientation: int) -> bytes:
    """Return an EXIF block in which the orientation, if it has one, is replaced; nothing else moves."""
    field = _exif_field(exif)
    if field is None or field[2] == orientation:
        return exif
    offset, value_format, _ = field
    value = struct.pack(value_format, orientation)
    return exif[:offset] + value + exif[offset + len(value) :]


def xmp_text(xmp: bytes) -> tuple[str, str]:
    """Return the text of an XMP packet and its encoding: UTF-8, or UTF-16 as the specification allows."""
    encoding = "latin-1"  # every byte is one character, so that damaged UTF-8 survives; the names are ASCII
    if b"\0" in xmp[:64]:
        little = xmp[:2] == b"\xff\xfe" or xmp[1:2] == b"\0"
        encoding = "utf-16-le" if little else "utf-16-be"
    return xmp.decode(encoding, "surrogatepass"), encoding


def _xmp_pattern(text: str) -> re.Pattern[str]:
    declared = _NAMESPACE.search(text)
    name = re.escape(declared[1] if declared else "tiff") + ":Orientation"
    return re.compile(rf"((?:<|\s){name}(?:\s*=\s*[\"']|(?:\s[^<>]*)?>)\s*)([1-8])(?=\s*[\"'<])")


def xmp_orientation(xmp: bytes) -> int | None:
    """Return the orientation in an XMP packet; None if it has none from 1 to 8."""
    try:
        text, _ = xmp_text(xmp)
    except UnicodeDecodeError:
        return None
    found = _xmp_pattern(text).search(text)
    return int(found[2]) if found else None


def with_xmp_orientation(xmp: bytes, orientation: int) -> bytes:
    """Return an XMP packet in which the orientation, if it has one, is replaced; its length stays."""
    if xmp_orientation(xmp) in (None, orientation):
        return xmp
    text, encoding = xmp_text(xmp)
    return _xmp_pattern(text).sub(rf"\g<1>{orientation}", text).encode(encoding, "surrogatepass")


def raw_profile(info: dict[Any, Any], kind: str) -> bytes:
    """Return metadata that ImageMagick has stored as hexadecimal text in a PNG file; empty if there is none."""
    try:
        lines = str(info[f"Raw profile type {kind}"]).split("\n")
        return bytes.fromhex("".join(lines[3:]))
    except (KeyError, ValueError):
        return b""


def exif_of(image: Image.Image) -> bytes:
    """Return the EXIF block of an open image, without its header; empty if it has none."""
    exif = image.info.get("exif") or raw_profile(image.info, "exif") or raw_profile(image.info, "APP1")
    return exif.removeprefix(EXIF_HEADER) if isinstance(exif, bytes) and not _is_xmp(exif) else b""


def xmp_of(image: Image.Image) -> bytes:
    """Return the XMP packet of an open image; empty if it has none."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or raw_profile(image.info, "xmp")
    if not xmp and _is_xmp(profile := raw_profile(image.info, "APP1")):
        xmp = profile.partition(b"\0")[2]
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return xmp.rstrip(b"\0") if isinstance(xmp, bytes) else b""


def _is_xmp(profile: bytes) -> bool:
    return profile.startswith(b"http://ns.adobe.com/xap/1.0/\0")


def read_orientation(image: Image.Image) -> int:
    """Return how the pixels of an open image of its `size` are oriented: 1 if they are upright.

    PNG files may hold the orientation behind their pixels, which are then decoded first. For a TIFF file with an
    orientation tag, the result is 1, because Pillow gives the upright size and turns the pixels itself.
    """
    if image.format == "TIFF" and ORIENTATION in image.tag_v2:  # type: ignore[attr-defined]
        return 1
    if image.format == "PNG" and "exif" not in image.info:
        image.load()
    if (found := exif_orientation(exif_of(image))) is not None:
        return found
    if image.format == "AVIF":  # programs turn AVIF files by a property, which Pillow gives as EXIF, and never by XMP
        return 1
    return xmp_orientation(xmp_of(image)) or 1


def load(image: Image.Image) -> int:
    """Decode an open image, and return how its pixels are oriented then."""
    orientation = read_orientation(image)
    if image.format == "TIFF" and image.getexif().get(ORIENTATION, 1) != 1:
        orientation = 1  # Pillow also turns some TIFF files whose orientation stands in XMP
    image.load()
    return orientation


def upright(image: Image.Image) -> Image.Image:
    """Return an open image, decoded and turned upright."""
    from PIL import Image as PillowImage

    transpose = PillowImage.Transpose
    method = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_270,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_90,
    }.get(load(image))
    return image if method is None else image.transpose(method)
