"""TIFF directories: the structure of EXIF blocks and of TIFF files.

Fields are copied as they are stored, so that nothing depends on what a program knows about them.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ..data.orientation import ORIENTATION
from .containers import MetadataBudget

Order = Literal["<", ">"]
"""Byte order: little-endian or big-endian."""

XMP_TAG, IPTC_TAG, RESOURCES_TAG, ICC_TAG, LAYERS_TAG = 700, 33723, 34377, 34675, 37724
"""Tags of TIFF files: XMP packet, IPTC record, Photoshop resources, colour profile, Photoshop layers."""

POINTERS = {0x8769, 0x8825, 0xA005}
"""Tags whose value is the offset of another directory: EXIF, GPS and interoperability."""

FILL_ORDER, X_RESOLUTION = 266, 282
"""Tags of TIFF files: order of the bits in a byte, pixels per unit of length."""

MAKER_NOTE, _LONG = 0x927C, 4

STORAGE_TAGS = frozenset(
    {*range(254, 269), *range(273, 282), ORIENTATION, 284, *range(288, 296), 317, *range(320, 337), *range(338, 348)}
    | {*range(512, 533), 33421, 33422, LAYERS_TAG}
)
"""Tags of TIFF files that describe how the pixels are stored, or hold further pixels."""

_UNITS = {1: (1, 2, 6, 7, 129), 2: (3, 8), 4: (4, 5, 9, 10, 11, 13), 8: (12, 16, 17, 18)}
UNIT_SIZES = {kind: size for size, kinds in _UNITS.items() for kind in kinds}
UNITS_PER_VALUE = {5: 2, 10: 2}
"""Bytes of a unit of each type, and units of a value where there are two."""


@dataclass(frozen=True)
class Field:
    """One field of a directory.

    Attributes:
        kind: TIFF's number of the type.
        count: number of values.
        data: the values, in the byte order of the directory.
        child: the directory that the value points to, for the tags in `POINTERS`.
    """

    kind: int
    count: int
    data: bytes
    child: Directory | None = None


@dataclass(frozen=True)
class Directory:
    """Fields by tag, with their byte order, and the tags of damaged fields, which were left out."""

    fields: Mapping[int, Field] = field(default_factory=dict)
    order: Order = "<"
    damaged: tuple[int, ...] = ()

    def without(self, tags: Iterable[int]) -> Directory:
        """Return the directory without these tags."""
        dropped = set(tags)
        return Directory({tag: value for tag, value in self.fields.items() if tag not in dropped}, self.order)

    def with_bytes(self, tag: int, data: bytes, kind: int = 7) -> Directory:
        """Return the directory with a field of bytes; without it if there are none."""
        rest = self.without([tag])
        return Directory({**rest.fields, tag: Field(kind, len(data), data)}, self.order) if data else rest

    def data(self, tag: int) -> bytes:
        """Return the bytes of a field; empty if there is none."""
        return self.fields[tag].data if tag in self.fields else b""

    def reordered(self, order: Order) -> Directory:
        """Return the same fields in another byte order."""
        fields = {
            tag: Field(
                value.kind,
                value.count,
                _swapped(value, self.order, order),
                None if value.child is None else value.child.reordered(order),
            )
            for tag, value in self.fields.items()
        }
        return Directory(fields, order)

    def encode(self, offset: int) -> bytes:
        """Return the bytes of the directory and of everything it points to, for a place in a file or block."""
        order = self.order
        table_size = 2 + 12 * len(self.fields) + 4
        table, body = struct.pack(order + "H", len(self.fields)), b""
        for tag, value in sorted(self.fields.items()):
            kind, count, data = value.kind, value.count, value.data
            if value.child is not None:
                body += bytes(len(body) % 2)
                kind, count, data = _LONG, 1, struct.pack(order + "I", offset + table_size + len(body))
                body += value.child.encode(offset + table_size + len(body))
            elif len(data) > 4:
                body += bytes(len(body) % 2)
                position = offset + table_size + len(body)
                body, data = body + data, struct.pack(order + "I", position)
            table += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
        return table + bytes(4) + body

    def block(self) -> bytes:
        """Return an EXIF block with the fields; empty if there are none."""
        mark = b"II" if self.order == "<" else b"MM"
        return mark + struct.pack(self.order + "HI", 42, 8) + self.encode(8) if self.fields else b""


def _swapped(value: Field, before: Order, after: Order) -> bytes:
    size = UNIT_SIZES.get(value.kind, 1)
    if before == after or size == 1:
        return value.data
    return np.frombuffer(value.data, f"u{size}").byteswap().tobytes()


def parse(data: bytes | mmap.mmap) -> Directory:
    """Return the first directory of an EXIF block or TIFF file. Damaged fields are left out.

    Raises:
        ValueError: the bytes are not such a block.
    """
    orders: dict[bytes, Order] = {b"II": "<", b"MM": ">"}
    order = orders.get(data[:2])
    if order is None or len(data) < 8:
        raise ValueError("it is not a TIFF structure")
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    try:
        start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
        return _directory(data, start, order, big, POINTERS, MetadataBudget())
    except struct.error:
        raise ValueError("its directory is cut off") from None


def _directory(
    data: bytes | mmap.mmap, start: int, order: Order, big: bool, pointers: set[int], budget: MetadataBudget
) -> Directory:
    """Parse the directory at `start`; children may only use the pointers that were not yet followed."""
    count_format, entry_format, inline = ("Q", "HHQ8s", 8) if big else ("H", "HHI4s", 4)
    (count,) = struct.unpack_from(order + count_format, data, start)
    first, size = start + struct.calcsize(order + count_format), struct.calcsize(order + entry_format)
    fields: dict[int, Field] = {}
    damaged: list[int] = []
    for index in range(min(count, 4096)):
        if first + (index + 1) * size > len(data):
            damaged.append(0)
            break
        tag, kind, values, short = struct.unpack_from(order + entry_format, data, first + index * size)
        length = UNIT_SIZES.get(kind, 0) * UNITS_PER_VALUE.get(kind, 1) * values
        if not 0 < length <= len(data):
            damaged += [tag] if (tag, kind, values) != (0, 0, 0) and (values or kind not in UNIT_SIZES) else []
            continue
        if tag == LAYERS_TAG:  # never copied, and may have gigabytes
            fields[tag] = Field(kind, values, b"")
            continue
        budget.take(length)
        position = int.from_bytes(short, "little" if order == "<" else "big")
        content = short[:length] if length <= inline else data[position : position + length]
        if len(content) < length:
            damaged.append(tag)
            continue
        child = None
        if tag in pointers:
            target = int.from_bytes(content, "little" if order == "<" else "big")
            try:
                child = _directory(data, target, order, big, pointers - {tag}, budget)
            except struct.error:
                damaged.append(tag)
                continue
            damaged += child.damaged
        fields[tag] = Field(kind, values, bytes(content), child)
    return Directory(fields, order, tuple(damaged))


def read_tiff(path: Path) -> Directory:
    """Return the first directory of a TIFF file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return parse(data)


def exif_of_tiff(tags: Directory) -> Directory:
    """Return the fields of a TIFF file that an EXIF block may hold."""
    private = [tag for tag in tags.fields if tag >= 0x8000 and tag not in (0x8298, *POINTERS)]
    return tags.without({*STORAGE_TAGS, XMP_TAG, *private})


def shorten_exif(exif: bytes, limit: int) -> tuple[bytes, str]:
    """Shorten an EXIF block to at most `limit` bytes.

    The preview is left out first, then the largest field, until the rest fits.

    Returns:
        The block, and a description of what was left out; both empty if nothing fits or nothing was left out.
    """
    if len(exif) <= limit:
        return exif, ""
    try:
        directory = parse(exif)
    except ValueError:
        return b"", "all of it, which is damaged,"
    dropped = []
    while len(block := directory.block()) > limit:
        sizes = {(0, tag): len(value.data) for tag, value in directory.fields.items() if value.child is None}
        children = {tag: value.child for tag, value in directory.fields.items() if value.child is not None}
        for parent, child in children.items():
            sizes |= {(parent, tag): len(value.data) for tag, value in child.fields.items()}
        parent, tag = max(sizes, key=lambda place: sizes[place])
        dropped.append("maker note" if tag == MAKER_NOTE else f"tag 0x{tag:04x}")
        if parent:
            value = Field(_LONG, 1, b"", children[parent].without([tag]))
            directory = Directory({**directory.fields, parent: value}, directory.order)
        else:
            directory = directory.without([tag])
    return block, ", ".join(dropped[:5]) + (f" and {len(dropped) - 5} more" if len(dropped) > 5 else "") or "preview"


def add_to_tiff(path: Path, tags: Directory) -> None:
    """Add fields to the first directory of a TIFF file; fields that it has already stay as they are.

    The new directory is appended to the file.
    """
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            stored = parse(data)
        added = tags.reordered(stored.order).fields
        offset = file.seek(0, 2)
        if offset % 2:
            offset += file.write(b"\0")
        file.write(Directory({**added, **stored.fields}, stored.order).encode(offset))
        file.seek(4)
        file.write(struct.pack(stored.order + "I", offset))
