"""What a picture file holds beside its pixels: reading it, and storing it in a file of the same or another format.

Parts of JPEG and PNG files are copied byte by byte to a file of the same format. Other formats receive what `HOLDS`
lists for them; the rest is named in notes for the user.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from ..base.own_outputs import PREFIX
from ..data.orientation import exif_of, xmp_of
from . import containers
from .colour import SRGB_CHROMATICITIES, is_srgb
from .companions import without_companions
from .containers import Part
from .png_metadata import as_resource, damage_note, iptc_of_png, with_png
from .tags import (
    FILL_ORDER,
    IPTC_TAG,
    LAYERS_TAG,
    RESOURCES_TAG,
    STORAGE_TAGS,
    X_RESOLUTION,
    Directory,
    exif_of_tiff,
    read_tiff,
)

FORMATS: Mapping[str, str] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".bmp": "BMP",
    **dict.fromkeys((".ppm", ".pgm"), "PPM"),
}
"""The formats that can be written, by suffix."""

HOLDS: Mapping[str, frozenset[str]] = {
    "JPEG": frozenset({"EXIF", "XMP", "colour profile", "resolution", "comment", "IPTC", "extended XMP"}),
    "PNG": frozenset({"EXIF", "XMP", "colour profile", "resolution", "comment", "text", "colour code points"}),
    "WEBP": frozenset({"EXIF", "XMP", "colour profile"}),
    "AVIF": frozenset({"EXIF", "XMP", "colour profile"}),
    "TIFF": frozenset({"EXIF", "XMP", "colour profile", "resolution", "IPTC"}),
    "BMP": frozenset({"resolution"}),
    "PPM": frozenset(),
}
"""What files of each format can hold beside the pixels; docs/restoration.md has it as a table."""

_JPEG_DROPPED = (b"MPF\0", b"urn:iso:std:iso:ts:21496", PREFIX)
"""Beginnings of segments that describe other images in a file, or how this package made it."""

_NEVER_KEPT = {LAYERS_TAG: ("layers", "its Photoshop layers"), 52545: ("credentials", "its content credentials (C2PA)")}
"""Fields of a TIFF file that would not be true of another picture, with a name and a description."""

_HEAD_BYTES = 1 << 22
_PPM_HEADER, _PPM_COMMENT = re.compile(rb"P\d(?:\s|#[^\n]*\n|\d)*"), re.compile(rb"#([^\n]*)\n")


@dataclass(frozen=True)
class Metadata:
    """What a file holds beside its pixels.

    Attributes:
        format: Pillow's name of the file's format; `JPEG` for all kinds of JPEG.
        exif: EXIF block without its header.
        xmp: XMP packet.
        icc: colour profile.
        gamma, chromaticities: of a PNG file's gAMA and cHRM chunks, if they apply.
        density: pixels per inch, horizontally and vertically.
        comment: comment of a JPEG or GIF file.
        iptc: Photoshop resources with IPTC fields.
        parts: segments or chunks, to be copied to a file of the same format.
        tags: fields of a TIFF file, to be copied to a TIFF file.
        other: properties that only some formats hold, with a description.
        damage: sentences about what is damaged and therefore not part of the metadata.
    """

    format: str = ""
    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    gamma: int | None = None
    chromaticities: tuple[int, ...] | None = None
    density: tuple[float, float] | None = None
    comment: bytes = b""
    iptc: bytes = b""
    parts: tuple[Part, ...] = ()
    tags: Directory = field(default_factory=Directory)
    other: Mapping[str, str] = field(default_factory=dict)
    damage: tuple[str, ...] = ()

    def losses(self, target: str) -> list[str]:
        """Return descriptions of what a file of the format `target` does not hold."""
        present = {
            "EXIF": self.exif,
            "XMP": self.xmp,
            "colour profile": self.icc,
            "resolution": self.density,
            "comment": self.comment,
            "IPTC": self.iptc,
        }
        names = [name for name, value in present.items() if value]
        lost = [name for name in names if name not in HOLDS[target]]
        if target == self.format == "TIFF":
            lost += [text for name, text in _NEVER_KEPT.values() if name in self.other]
        if "IPTC" in lost and target == self.format == "PNG":  # which holds it as text
            lost.remove("IPTC")
        if self.gamma and target != "PNG" and "colour profile" not in HOLDS[target]:
            lost.append(_colour_name(self.gamma, self.chromaticities or SRGB_CHROMATICITIES))
        if target != self.format:
            lost += [text for name, text in self.other.items() if name not in HOLDS[target] or name == "extended XMP"]
        return lost


def format_of(picture: Image.Image) -> str:
    """Return Pillow's name of a picture's format; `JPEG` for all kinds of JPEG."""
    return "JPEG" if picture.format == "MPO" else picture.format or ""


def complete_info(picture: Image.Image, path: Path) -> None:
    """Add to `picture.info`, before decoding, the metadata of some formats that Pillow does not read."""
    found: dict[str, bytes] = {}
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if picture.format == "BMP":
        found["icc_profile"] = containers.bmp_profile(head)
    elif picture.format == "PPM" and (header := _PPM_HEADER.match(head)):
        lines = [line.strip() for line in _PPM_COMMENT.findall(header[0])]
        found["comment"] = b"\n".join(line for line in lines if not line.startswith(PREFIX))
    elif picture.format == "GIF":
        extensions = containers.gif_extensions(path, (b"XMP DataXMP", b"ICCRGBG1012"))
        xmp, _, magic = extensions.get(b"XMP DataXMP", b"").partition(b"\1\xff\xfe")
        found["xmp"] = xmp if magic else b""
        found["icc_profile"] = containers.without_lengths(extensions.get(b"ICCRGBG1012", b""))
    elif picture.format == "JPEG2000":
        for kind, data in containers.iso_boxes(path, (b"colr", b"uuid")):
            if kind == b"colr" and data[:1] == b"\2":
                found["icc_profile"] = data[3:]
            elif kind == b"uuid" and data.startswith(bytes.fromhex("be7acfcb97a942e89c71999491e3afac")):
                found["xmp"] = data[16:]
            elif kind == b"uuid" and data.startswith(b"JpgTiffExif->JP2"):
                found["exif"] = data[16:].removeprefix(containers.EXIF_SEGMENT)
    picture.info.update({name: data for name, data in found.items() if data and not picture.info.get(name)})


def read_metadata(picture: Image.Image, path: Path) -> Metadata:
    """Return the metadata of a picture that is open; of a PNG file after decoding, of a TIFF file before."""
    kind = format_of(picture)
    icc = picture.info.get("icc_profile")
    dpi = picture.info.get("dpi")
    found = Metadata(
        kind,
        exif_of(picture),
        without_companions(xmp_of(picture)),
        icc if isinstance(icc, bytes) else b"",
        density=dpi if dpi and all(0 < value < math.inf for value in dpi) else None,
    )
    if kind == "JPEG":
        return _with_jpeg(found, picture, path)
    if kind == "PNG":
        return with_png(replace(found, iptc=iptc_of_png(picture.info)), path)
    if kind == "TIFF":
        tags = read_tiff(path)
        other = {name: text for tag, (name, text) in _NEVER_KEPT.items() if tag in tags.fields}
        exif, kept = exif_of_tiff(tags).block(), tags.without({*STORAGE_TAGS, *_NEVER_KEPT} - {FILL_ORDER})
        numbers = ", ".join(f"0x{tag:04x}" for tag in dict.fromkeys(tags.damaged[:4]))
        damage = (f"damaged fields of its TIFF directory (tag {numbers}) are not copied",) if numbers else ()
        density = found.density if X_RESOLUTION in tags.fields else None  # Pillow gives 1 where there is none
        found = replace(found, exif=exif, tags=kept, density=density)
        return replace(found, iptc=_iptc_of_tiff(tags), other=other, damage=damage)
    comment = picture.info.get("comment")
    return replace(found, comment=comment if isinstance(comment, bytes) else b"")


def _colour_name(gamma: int, chromaticities: Sequence[int]) -> str:
    """Return what of a PNG file's gamma and chromaticities is not that of sRGB."""
    if is_srgb(None, chromaticities):
        return "gamma"
    return "chromaticities" if is_srgb(gamma, SRGB_CHROMATICITIES) else "gamma and chromaticities"


def _iptc_of_tiff(tags: Directory) -> bytes:
    """Return the Photoshop resources of a TIFF file, or its IPTC record as such a resource."""
    return tags.data(RESOURCES_TAG) or as_resource(tags.data(IPTC_TAG))


def _with_jpeg(found: Metadata, picture: Image.Image, path: Path) -> Metadata:
    file = containers.jpeg_segments(path)
    parts = []
    for part in file.parts:
        if part.data.startswith(containers.XMP_SEGMENT):
            packet = without_companions(part.data[len(containers.XMP_SEGMENT) :])
            part = Part(part.kind, containers.XMP_SEGMENT + packet)
        kept = containers.APP0 <= part.marker <= 0xEF and part.marker not in (0xEB, 0xEE)
        if (kept or part.marker == containers.COM) and not part.data.startswith(_JPEG_DROPPED):
            parts.append(part)
    other = {}
    if any(part.data.startswith(containers.EXTENDED_XMP_SEGMENT) for part in parts):
        other["extended XMP"] = "the extended part of its XMP"
    known = (containers.EXIF_SEGMENT, b"http://ns.adobe.com/", containers.ICC_SEGMENT, containers.IPTC_SEGMENT)
    foreign = [part for part in parts if 0xE0 < part.marker < 0xF0 and not part.data.startswith(known)]
    unknown = [f"APP{part.marker - 0xE0}" for part in foreign]
    if unknown:
        other["segments"] = f"its data of other programs ({', '.join(dict.fromkeys(unknown))})"
    comments = [part.data for part in parts if part.marker == containers.COM]
    resources = [part.data for part in parts if part.data.startswith(containers.IPTC_SEGMENT)]
    return replace(
        found,
        density=found.density if picture.info.get("jfif_unit") else None,
        comment=b"\n".join(comments),
        iptc=b"".join(data.removeprefix(containers.IPTC_SEGMENT) for data in resources),
        parts=tuple(parts),
        other=other,
        damage=damage_note(file.damaged),
    )
