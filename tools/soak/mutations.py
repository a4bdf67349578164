"""Damage to the bytes of files, as it happens on disks and in transfers, or as an attacker makes it."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]

BORDERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Values at the borders of integer types."""


def flip_bits(content: bytes, draw: random.Random) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def flip_header(content: bytes, draw: random.Random) -> bytes:
    """Change bytes among the first 64, where sizes and types stand."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        if changed:
            changed[draw.randrange(min(64, len(changed)))] = draw.randrange(256)
    return bytes(changed)


def truncate(content: bytes, draw: random.Random) -> bytes:
    """Cut the end off."""
    return content[: draw.randrange(len(content) + 1)]


def overwrite_number(content: bytes, draw: random.Random) -> bytes:
    """Write an integer from the border of its type somewhere, in either byte order."""
    size = draw.choice([1, 2, 4])
    if len(content) < size:
        return content
    value = draw.choice(BORDERS) & ((1 << 8 * size) - 1)
    start = draw.randrange(min(len(content), draw.choice([64, 1 << 20])) - size + 1) if len(content) > size else 0
    return content[:start] + value.to_bytes(size, draw.choice(["little", "big"])) + content[start + size :]


def splice(content: bytes, draw: random.Random) -> bytes:
    """Replace a part by zeros, by noise, by copies of another part, or by nothing."""
    start, other = draw.randrange(len(content) + 1), draw.randrange(len(content) + 1)
    removed, size = draw.choice([0, 1, 64, 4096]), draw.choice([0, 1, 4, 64, 1024])
    copied = content[other : other + size] * draw.choice([1, 1, 50])
    return content[:start] + draw.choice([bytes(size), draw.randbytes(size), copied]) + content[start + removed :]


def zero(content: bytes, draw: random.Random) -> bytes:
    """Replace a part by as many zeros, as a disk does after a power cut."""
    start = draw.randrange(len(content) + 1)
    end = min(len(content), start + draw.choice([1, 64, 4096]))
    return content[:start] + bytes(end - start) + content[end:]


BYTES: tuple[Mutation, ...] = (flip_bits, flip_header, truncate, overwrite_number, zero, splice, splice)
"""Damage to any file."""


def mutate(content: bytes, draw: random.Random, kinds: tuple[Mutation, ...] = BYTES) -> tuple[bytes, str]:
    """Apply one to three mutations; return the bytes and the mutations' names."""
    names = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        kind = draw.choice(kinds)
        content = kind(content, draw)
        names.append(kind.__name__)
    return content, "+".join(names)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the type and the data of each chunk of a PNG file."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of chunks, with correct checksums."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def png_surgery(content: bytes, draw: random.Random) -> bytes:
    """Change, remove, repeat or exchange chunks of a PNG file and make the checksums correct again."""
    chunks = png_chunks(content)
    if not chunks:
        return content
    index = draw.randrange(len(chunks))
    kind, data = chunks[index]
    action = draw.randrange(6)
    if action == 0:
        chunks[index] = kind, mutate(data, draw)[0]
    elif action == 1:
        chunks.pop(index)
    elif action == 2:
        chunks.insert(draw.randrange(len(chunks) + 1), chunks[index])
    elif action == 3:
        other = draw.randrange(len(chunks))
        chunks[index], chunks[other] = chunks[other], chunks[index]
    elif action == 4:  # other sizes, depths and colour types
        place = draw.randrange(13)
        head = bytearray(chunks[0][1].ljust(13, b"\0"))
        head[place] = draw.choice([0, 1, 2, 3, 4, 6, 8, 16, 32, 255])
        chunks[0] = chunks[0][0], bytes(head)
    else:
        chunks.insert(
            1,
            (draw.choice([b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"zTXt", b"iTXt", b"acTL", b"gAMA"]), draw.randbytes(20)),
        )
    return png_of(chunks)


def tiff_surgery(content: bytes, draw: random.Random) -> bytes:
    """Change the type, the count or the value of an entry in the first directory of a TIFF file."""
    if len(content) < 8 or content[:2] not in (b"II", b"MM"):
        return content
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", content[4:8])
    if start + 2 > len(content):
        return content
    (count,) = struct.unpack(order + "H", content[start : start + 2])
    entry = start + 2 + 12 * draw.randrange(max(1, count))
    where, size = draw.choice([(0, 2), (2, 2), (4, 4), (8, 4), (8, 4)])
    value = draw.choice([*BORDERS, draw.randrange(1 << 16)]) & ((1 << 8 * size) - 1)
    new = value.to_bytes(size, "little" if order == "<" else "big")
    return content[: entry + where] + new + content[entry + where + size :]
