"""What a PNG file holds beside its pixels: the chunks to copy, and what they mean for other formats."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.own_outputs import PREFIX
from ..data.orientation import raw_profile
from . import containers
from .colour import SRGB_CHROMATICITIES, SRGB_CODE_POINTS, SRGB_GAMMA, is_srgb, is_whole_profile
from .containers import Part

if TYPE_CHECKING:
    from .metadata import Metadata

_PNG_STRUCTURE = frozenset({b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"hIST"})
_PNG_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PNG_COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP")
_PNG_NAMES = {
    b"bKGD": "background colour (bKGD)",
    b"sBIT": "number of significant bits (sBIT)",
    b"tIME": "time of the last change (tIME)",
    b"sPLT": "suggested palette (sPLT)",
    b"oFFs": "offset on a page (oFFs)",
    b"vpAg": "page size (vpAg)",
}
"""What users may know of the content of chunks."""


def as_resource(record: bytes) -> bytes:
    """Return an IPTC record as a Photoshop resource; empty if it is empty."""
    resource = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(record)) + record + bytes(len(record) % 2)
    return resource if record else b""


def iptc_of_png(info: Mapping[Any, Any]) -> bytes:
    """Return the Photoshop resources or the IPTC record that ImageMagick has stored as text in a PNG file."""
    for kind in ("8bim", "iptc"):
        if data := raw_profile(dict(info), kind):
            return data if data.startswith(b"8BIM") else as_resource(data)
    return b""


def damage_note(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note about damaged parts of a file with these names; nothing if there are none."""
    if not names:
        return ()
    return (f"its {', '.join(dict.fromkeys(names[:4]))}, where the file is damaged, is not copied",)


def with_png(found: Metadata, path: Path) -> Metadata:
    """Return the metadata with what the chunks of a PNG file hold."""
    file = containers.png_chunks(path)
    palette = next((part.data for part in file.parts if part.kind == b"PLTE"), b"")
    parts = [part for part in file.parts if part.kind not in _PNG_STRUCTURE and PREFIX not in part.data]
    by_kind = {part.kind: part.data for part in parts}
    if not is_whole_profile(found.icc):
        by_kind.pop(b"iCCP", None)
    other = {}
    carriers = {b"XML:com.adobe.xmp"} if found.xmp else set()
    carriers |= {b"Raw profile type " + name for name in (b"exif", b"APP1") if found.exif or found.xmp}
    carriers |= {b"Raw profile type xmp"} if found.xmp else set()
    parts = [
        part
        for part in parts
        if part.kind != b"eXIf" and not (part.kind in _PNG_TEXT and part.data.partition(b"\0")[0] in carriers)
    ]
    names = [part.data.partition(b"\0")[0].decode("latin-1") for part in parts if part.kind in _PNG_TEXT]
    if found.iptc:
        names = [name for name in names if name not in ("Raw profile type iptc", "Raw profile type 8bim")]
    if names:
        listed = list(dict.fromkeys(names))
        more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
        other["text"] = f"its text ({', '.join(listed[:4])}{more})"
    if (code_points := by_kind.get(b"cICP", b"")) and tuple(code_points[:2]) != SRGB_CODE_POINTS:
        numbers = "-".join(map(str, code_points))
        other["colour code points"] = f"its colour space (code points {numbers}), so colours may look different"
    known = {*_PNG_TEXT, *_PNG_COLOUR, b"pHYs", b"IHDR"}
    kinds = dict.fromkeys(part.kind for part in parts if part.kind not in known)
    if kinds:
        other["chunks"] = f"its {', '.join(_PNG_NAMES.get(kind, f'{kind.decode()} chunk') for kind in kinds)}"
    gamma, chromaticities = _png_colour(by_kind)
    damage = damage_note([f"chunk {name}" for name in file.damaged])
    parts = [_as_colours(part, palette) if palette else part for part in parts]
    return replace(found, gamma=gamma, chromaticities=chromaticities, parts=tuple(parts), other=other, damage=damage)


def _as_colours(part: Part, palette: bytes) -> Part:
    """Return a chunk of a file with a palette as in a file of RGB pixels with 8 bits."""
    if part.kind == b"IHDR" and part.data[9:10] == b"\3":
        return Part(part.kind, part.data[:8] + b"\x08\2" + part.data[10:])
    if part.kind == b"bKGD" and len(part.data) == 1:
        colour = palette[3 * part.data[0] :][:3]
        return Part(part.kind, struct.pack(">3H", *colour) if len(colour) == 3 else b"")
    return part


def _png_colour(chunks: Mapping[bytes, bytes]) -> tuple[int | None, tuple[int, ...] | None]:
    """Return gamma and chromaticities, if they apply and are not those of sRGB."""
    if any(kind in chunks for kind in (b"iCCP", b"sRGB", b"cICP")):
        return None, None
    gamma = struct.unpack(">I", chunks[b"gAMA"])[0] if len(chunks.get(b"gAMA", b"")) == 4 else None
    points = struct.unpack(">8I", chunks[b"cHRM"]) if len(chunks.get(b"cHRM", b"")) == 32 else None
    if (not gamma and points is None) or is_srgb(gamma or None, points or SRGB_CHROMATICITIES):
        return None, None
    return gamma or SRGB_GAMMA, points or SRGB_CHROMATICITIES
