"""Storing metadata with a picture: options for Pillow's encoders, and what is added to the files that they write.

`prepare` decides what a file of a format receives, and names in notes for the user what it cannot hold.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..base.text import visible
from ..data.orientation import ORIENTATION, with_exif_orientation, with_xmp_orientation
from . import containers
from .colour import matrix_profile
from .containers import Part, jpeg_segment, png_chunk
from .metadata import HOLDS, Metadata
from .tags import (
    FILL_ORDER,
    ICC_TAG,
    RESOURCES_TAG,
    STORAGE_TAGS,
    XMP_TAG,
    Directory,
    Field,
    add_to_tiff,
    parse,
    shorten_exif,
)

FILE_NAMES = {"WEBP": "a WebP file", "AVIF": "an AVIF file"}
"""What files are called in notes, by format; others as their format."""

_UNSUITED_PROFILES = {b"GRAY": "grey pictures", b"CMYK": "inks", b"Lab ": "Lab colours"}
"""Colour spaces of profiles that do not suit RGB pixels, by their name in the profile."""

_HEADERS = {"L": b"\x08\0", "I;16": b"\x10\0", "RGB": b"\x08\2", "LA": b"\x08\4", "RGBA": b"\x08\6"}
"""Bit depth and colour type of PNG files, by Pillow's mode."""


@dataclass(frozen=True)
class Storage:
    """How to store metadata with a picture.

    Attributes:
        options: options of Pillow's `save`.
        edit: returns the first bytes of the file with what Pillow does not write; None if it writes everything.
        finish: adds to the written file what Pillow does not write.
        notes: sentences about what is not kept.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    edit: Callable[[bytes], bytes] | None = None
    finish: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()


def prepare(metadata: Metadata, target: str, orientation: int, mode: str) -> Storage:
    """Decide how to store metadata in a file of another or the same format.

    Args:
        metadata: as read.
        target: a format, value of `FORMATS`.
        orientation: of the pixels that are stored; EXIF and XMP will agree with it.
        mode: Pillow's mode of the image that is stored.
    """
    metadata = replace(
        metadata,
        exif=with_exif_orientation(metadata.exif, orientation),
        xmp=with_xmp_orientation(metadata.xmp, orientation),
    )
    lost = metadata.losses(target)
    grey = mode in ("L", "LA", "I;16")
    unsuited = _UNSUITED_PROFILES.get(metadata.icc[16:20])
    if unsuited and not (metadata.icc[16:20] == b"GRAY" and grey and target in ("JPEG", "PNG", "TIFF")):
        lost += [f"its colour profile, which is for {unsuited}"] if "colour profile" not in lost else []
        metadata = replace(metadata, icc=b"", parts=tuple(part for part in metadata.parts if part.kind != b"iCCP"))
    if target != "PNG" and "colour profile" in HOLDS[target] and metadata.gamma and metadata.chromaticities:
        try:
            icc = matrix_profile(metadata.gamma, metadata.chromaticities, grey and target in ("JPEG", "TIFF"))
            metadata = replace(metadata, icc=icc)
        except ValueError:
            lost.append("its chromaticities, which describe no colour space")
    if target == "JPEG":
        storage = _jpeg(metadata, orientation)
    elif target == "PNG":
        storage = _png(metadata, mode)
    elif target == "TIFF":
        storage = _tiff(metadata, orientation)
    else:
        storage = _options(metadata, target)
    sentence = [f"{FILE_NAMES.get(target, f'a {target} file')} does not keep {_listed(lost)}"] if lost else []
    return replace(storage, notes=tuple(map(visible, (*sentence, *storage.notes))))  # they quote text of the file


def _listed(names: list[str]) -> str:
    texts = [name if name.startswith(("its ", "the ")) else f"its {name}" for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _jpeg(metadata: Metadata, orientation: int) -> Storage:
    notes: tuple[str, ...] = ()
    density = b""
    if metadata.format == "JPEG":
        segments = []
        for part in metadata.parts:
            data = part.data
            if part.marker == containers.APP0:
                density = density or (data[7:12] if data.startswith(b"JFIF\0") and len(data) >= 12 else b"")
                continue
            if data.startswith(containers.EXIF_SEGMENT):
                data = with_exif_orientation(data, orientation)
            elif data.startswith(containers.XMP_SEGMENT):
                data = containers.XMP_SEGMENT + with_xmp_orientation(data[len(containers.XMP_SEGMENT) :], orientation)
            elif data.startswith(containers.ICC_SEGMENT) and not metadata.icc:
                continue
            segments.append(jpeg_segment(part.marker, data))
    else:
        segments, notes = _new_segments(metadata)

    def edit(head: bytes) -> bytes:
        if head[3] != containers.APP0:
            return head[:2] + b"".join(segments) + head[2:]
        end = 4 + int.from_bytes(head[4:6], "big")
        return head[:13] + (density or head[13:18]) + head[18:end] + b"".join(segments) + head[end:]

    options = {"dpi": metadata.density} if metadata.density and metadata.format != "JPEG" else {}
    return Storage(options, edit, notes=notes)


def _new_segments(metadata: Metadata) -> tuple[list[bytes], tuple[str, ...]]:
    """Return JPEG segments for metadata of another format, and notes about what is too long for them."""
    segments, notes = [], []
    if metadata.exif:
        exif, dropped = shorten_exif(metadata.exif, containers.MAX_SEGMENT_BYTES - len(containers.EXIF_SEGMENT))
        if dropped:
            notes.append(f"its EXIF is too long for a JPEG file and was shortened: {dropped} left out")
        if exif:
            segments.append(jpeg_segment(0xE1, containers.EXIF_SEGMENT + exif))
    if metadata.xmp:
        if len(metadata.xmp) <= containers.MAX_SEGMENT_BYTES - len(containers.XMP_SEGMENT):
            segments.append(jpeg_segment(0xE1, containers.XMP_SEGMENT + metadata.xmp))
        else:
            notes.append(f"its XMP of {len(metadata.xmp):,} bytes is too long for a JPEG file and was left out")
    long = ((0xE2, containers.ICC_SEGMENT, metadata.icc), (0xED, containers.IPTC_SEGMENT, metadata.iptc))
    for marker, header, data in long:
        step = containers.MAX_SEGMENT_BYTES - len(header) - 2
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        if len(pieces) > 255:
            notes.append("its colour profile is too long for a JPEG file and was left out")
            continue
        for number, piece in enumerate(pieces, start=1):
            counter = bytes([number, len(pieces)]) if marker == 0xE2 else b""
            segments.append(jpeg_segment(marker, header + counter + piece))
    if metadata.comment:
        comment = metadata.comment[: containers.MAX_SEGMENT_BYTES]
        if comment != metadata.comment:
            notes.append(f"its comment of {len(metadata.comment):,} bytes was cut to {len(comment):,} for a JPEG file")
        segments.append(jpeg_segment(containers.COM, comment))
    return segments, tuple(notes)


def _png(metadata: Metadata, mode: str) -> Storage:
    chunks, notes = [], []
    if metadata.format != "PNG" and metadata.icc:
        chunks.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    header = next((part.data for part in metadata.parts if part.kind == b"IHDR"), b"")
    for part in metadata.parts if metadata.format == "PNG" else ():
        data = part.data
        if part.kind in (b"bKGD", b"sBIT"):  # they hold levels of the pixel format
            data = data if header[8:10] == _HEADERS[mode] else _levels(part, header[8], header[9], mode)
            if not data:
                notes.append(f"its {part.kind.decode()} chunk is damaged and is not copied")
                continue
        if part.kind != b"IHDR":
            chunks.append(png_chunk(part.kind, data))
    if metadata.exif:
        chunks.append(png_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    if metadata.comment:
        chunks.append(png_chunk(b"iTXt", b"Comment\0\0\0\0\0" + _utf8(metadata.comment)))
    if metadata.density and metadata.format != "PNG":
        across, down = (max(1, round(value / 0.0254)) for value in metadata.density)
        chunks.append(png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    return Storage({}, lambda head: head[:33] + b"".join(chunks) + head[33:], notes=tuple(notes))


def _levels(part: Part, depth: int, colour_type: int, mode: str) -> bytes:
    """Return a bKGD or sBIT chunk of a PNG file for pixels of another kind; empty if it does not suit its header.

    Args:
        part: the chunk.
        depth, colour_type: of its header.
        mode: Pillow's mode of the new pixels.
    """
    bits, channels = (16 if mode == "I;16" else 8), 3 if mode.startswith("RGB") else 1
    given = 3 if colour_type & 2 else 1
    if part.kind == b"sBIT":
        if len(part.data) != given + (colour_type >> 2 & 1):
            return b""
        values = [min(value, bits) for value in part.data[:given]]
        alpha = bytes([min(part.data[given], 8) if len(part.data) > given else 8]) if mode.endswith("A") else b""
        return bytes(values if channels == given else [max(values)] * channels) + alpha
    if len(part.data) != 2 * given:
        return b""
    scale = ((1 << bits) - 1) / ((1 << depth) - 1)
    levels = [min(round(level * scale), (1 << bits) - 1) for level in struct.unpack(f">{given}H", part.data)]
    levels = levels if channels == given else [round(sum(levels) / given)] * channels
    return struct.pack(f">{channels}H", *levels)


def _utf8(text: bytes) -> bytes:
    try:
        return text.decode("utf-8").encode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()


def _tiff(metadata: Metadata, orientation: int) -> Storage:
    tags, notes = metadata.tags, []
    if metadata.format != "TIFF" and metadata.exif:
        try:
            tags = parse(metadata.exif).without(STORAGE_TAGS)
        except ValueError:
            notes.append("its EXIF is damaged and was left out")
    if metadata.format != "TIFF":
        tags = tags.with_bytes(RESOURCES_TAG, metadata.iptc)
    if FILL_ORDER in tags.fields:  # of the bits of the former file
        value = struct.pack(tags.order + "H", 1)
        tags = Directory({**tags.fields, FILL_ORDER: Field(3, 1, value)}, tags.order)
    tags = tags.with_bytes(XMP_TAG, metadata.xmp, 1).with_bytes(ICC_TAG, metadata.icc)
    if orientation != 1:
        value = struct.pack(tags.order + "H", orientation)
        tags = Directory({**tags.fields, ORIENTATION: Field(3, 1, value)}, tags.order)
    options = {"dpi": metadata.density} if metadata.density and metadata.format != "TIFF" else {}
    return Storage(options, finish=lambda path: add_to_tiff(path, tags), notes=tuple(notes))


def _options(metadata: Metadata, target: str) -> Storage:
    exif, notes = metadata.exif, tuple[str, ...]()
    if exif and target == "AVIF":  # Pillow parses it, and would fail after the work
        try:
            exif = parse(exif).block()
        except ValueError:
            exif, notes = b"", ("its EXIF is damaged and was left out",)
    options: dict[str, Any] = {"exif": containers.EXIF_SEGMENT + exif if exif else b"", "xmp": metadata.xmp}
    options["icc_profile"] = metadata.icc
    found = {name: value for name, value in options.items() if value}
    if metadata.density or target == "BMP":  # without a resolution, Pillow would store one of its own
        found["dpi"] = metadata.density or (0, 0)
    return Storage(found, notes=notes)
