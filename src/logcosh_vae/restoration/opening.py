"""Open picture files of a user: regular files only, in formats that are decided by content, within a memory limit."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ..data.formats import HEAD_BYTES, decoding_takes, identify, kind_of, quiet_decoders, webp_size
from ..data.image_file import check_size, open_image_file
from ..data.orientation import ORIENTATION, xmp_of
from . import containers
from .colour import SRGB_CODE_POINTS
from .decoding import PIXEL_BYTES, decodes_in_pieces
from .trailing import bytes_behind

MEMORY_LIMIT, RESERVED_MEMORY = 2 << 30, 450 << 20
"""Largest memory of the command in bytes, and the part of it that is not for pixels of the picture."""

_LARGE_FILES = frozenset(f"a {name} image" for name in ("JPEG", "PNG", "TIFF", "BigTIFF", "BMP", "PPM"))
"""Kinds of files whose decoders do not read the whole file into memory, as `kind_of` returns them."""

MAX_PIXEL_BYTES = 8
"""Most bytes of a pixel in a file that is not compressed: 16 bits for each of four channels."""

MAX_EXPANSION = {"zip": 1032, "raw": 1, "ppm": 1, "ppm_plain": 1}
"""Most bytes of pixels for each byte of a file, by Pillow's decoder, where there is such a limit (zip: deflate)."""

_LEAST_BITS = {"1": 1, "L": 1, "P": 1}
"""Fewest bits of a pixel in a file, by Pillow's mode; 8 for all others."""

_DECODER_BYTES = {"WEBP": 8, "AVIF": 9, "JPEG2000": 16, "GIF": 4}
"""Further bytes for a pixel that decoders use, by format."""

WRITER_BYTES = {"WEBP": 16, "AVIF": 24, "TIFF": 4}
"""Bytes for a pixel that encoders use, by format; the others write large pictures piece by piece."""

_UNMARKED_CODE_POINTS = {SRGB_CODE_POINTS, (1, 1), (1, 2), (1, 6), (2, 2), (2, 13)}


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress what decoders print, and Pillow's limit of pixels; `check_memory` has another."""
    limit = Image.MAX_IMAGE_PIXELS
    with quiet_decoders():
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture file without decoding it, and check that it can be decoded.

    A file may have the bytes of an image file of a set and, beside these, those of its pixels without compression.

    Raises:
        FormatError: it is not a picture in one of `formats.FORMATS`.
        ValueError: it is not a regular file, it is too long, or decoding it takes too much memory.
        OSError: it cannot be opened.
    """
    with open_image_file(path) as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES)
        if (kind := kind_of(head)) not in _LARGE_FILES:
            check_size(size)
        if kind == "a PNG image" and size > containers.MAX_METADATA_BYTES:
            containers.png_chunks(path)  # Pillow would read chunks of any size
        if (pixels := webp_size(head)) is not None:  # opening it allocates two images
            check_bytes(_DECODER_BYTES["WEBP"] * pixels[0] * pixels[1], pixels)
        with identify(file) as picture:
            check_size(size, MAX_PIXEL_BYTES * picture.width * picture.height)
            check_memory(picture, size)
            yield picture


def check_memory(picture: Image.Image, file_size: int) -> None:
    """Check that a picture can be decoded within `MEMORY_LIMIT`, and that its file can hold its pixels.

    Raises:
        ValueError: it cannot.
    """
    pixels, own = picture.width * picture.height, PIXEL_BYTES.get(picture.mode, 4)
    decoder = next((str(tile[0]) for tile in getattr(picture, "tile", ())), "")
    stored = pixels * _LEAST_BITS.get(picture.mode, 8) // 8
    if picture.format in ("PNG", "BMP", "PPM") and stored > file_size * MAX_EXPANSION.get(decoder, stored):
        raise ValueError(
            f"{decoding_takes(picture.size, own * pixels)}, more than a file of {file_size:,} bytes can describe; "
            "it is damaged"
        )
    if decodes_in_pieces(picture):
        own = 0
    elif picture.format == "TIFF" and picture.getexif().get(ORIENTATION, 1) != 1:
        own *= 2  # Pillow turns it upright
    extra = float(_DECODER_BYTES.get(picture.format or "", 0))
    if isinstance(picture, JpegImageFile) and picture.info.get("progressive"):
        factors = [(layer[1], layer[2]) for layer in picture.layer]
        most = max(across for across, _ in factors) * max(down for _, down in factors)
        extra = 2 * sum(across * down for across, down in factors) / most
    check_bytes((own + extra) * pixels, picture.size)


def check_bytes(needed: float, size: tuple[int, int]) -> None:
    """Check that `needed` bytes for the pixels of a picture of this width and height are within `MEMORY_LIMIT`.

    Raises:
        ValueError: they are not.
    """
    needed += RESERVED_MEMORY
    if needed > MEMORY_LIMIT:
        raise ValueError(
            f"its {size[0]}x{size[1]} pixels need {needed / 2**30:.1f} GiB of memory in this format, more than the "
            f"limit of {MEMORY_LIMIT >> 30} GiB; use PNG or baseline JPEG, which have no limit"
        )


def file_notes(picture: Image.Image, path: Path) -> tuple[str, ...]:
    """Return what a restored file will not keep, whatever its format. The picture is not decoded yet."""
    notes = []
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        notes.append(f"only the first of its {frames} frames or pages is restored")
    if not picture.mode.startswith("I") and _bits(picture, path) > 8:
        notes.append(f"its {_bits(picture, path)} bits per colour are reduced to 8")
    if picture.mode == "CMYK":
        notes.append("its CMYK colours (inks) are converted to RGB")
    if isinstance(picture, JpegImageFile):
        notes += _jpeg_notes(picture, path, frames)
    elif behind := bytes_behind(picture, path):
        notes.append(f"{behind:,} bytes behind the picture are not kept")
    if picture.format == "AVIF":
        notes += _avif_notes(path)
    return tuple(notes)


def _bits(picture: Image.Image, path: Path) -> int:
    """Return the number of bits per colour in the file, as far as they matter; 8 if there are no more."""
    for tile in getattr(picture, "tile", ()):
        if ";16" in str(tile[3]):
            return 16
        if picture.format == "PPM" and isinstance(tile[3], tuple) and isinstance(tile[3][-1], int):
            return max(8, int(tile[3][-1]).bit_length())
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if picture.format == "JPEG2000" and (size := head.find(b"\xff\x4f\xff\x51")) >= 0:
        return max(8, (head[size + 42] & 0x7F) + 1) if len(head) > size + 42 else 8
    if picture.format == "AVIF" and (config := head.find(b"av1C")) >= 0:
        flags = head[config + 6] if len(head) > config + 6 else 0
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    return 8


def _jpeg_notes(picture: JpegImageFile, path: Path, frames: int) -> list[str]:
    file = containers.jpeg_segments(path)
    beginnings = [part.data[:40] for part in file.parts if part.marker in (0xE1, 0xE2, 0xEB)]
    gain_map = any(start.startswith(b"urn:iso:std:iso:ts:21496") for start in beginnings)
    xmp = xmp_of(picture)
    notes = []
    if gain_map or b"hdrgm:" in xmp or b"hdr-gain-map" in xmp.lower() or b"hdrgainmap" in xmp.lower():
        notes.append("its HDR gain map is not kept")
    elif any(start.startswith(b"MPF\0") for start in beginnings) and frames == 1:
        notes.append("its further images (MPF) are not kept")
    elif file.behind and not file.video and frames == 1:
        notes.append(f"{file.behind:,} bytes behind the picture are not kept")
    if file.video:
        notes.append(f"a video of {file.video:,} bytes behind the picture is not kept")
    if any(part.marker == 0xEB for part in file.parts):
        notes.append("its content credentials or JPEG XT layers (APP11) are not kept")
    return notes


def _avif_notes(path: Path) -> list[str]:
    with path.open("rb") as file:
        head = file.read(1 << 16)
    notes = []
    if (colour := head.find(b"colrnclx")) >= 0 and len(head) >= colour + 12:
        code_points = struct.unpack_from(">HH", head, colour + 8)
        if code_points not in _UNMARKED_CODE_POINTS:
            numbers = "-".join(map(str, code_points))
            notes.append(f"its colour space (code points {numbers}) is not kept, so colours may look different")
    if b"tmap" in head:
        notes.append("its HDR gain map is not kept")
    return notes
