"""Opening image files: an explicit list of formats decided by content, limits on memory, and silent decoders."""

from __future__ import annotations

import importlib
import io
import logging
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from . import libtiff

if TYPE_CHECKING:  # digits and trained models are loaded without Pillow
    from PIL import Image

FORMATS = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
    "AVIF": "AvifImagePlugin",  # in Pillow 11.3 and later
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "PPM": "PpmImagePlugin",
}
"""The formats that are read, with Pillow's module for each. No other decoder is ever tried: Pillow would hand
PostScript to Ghostscript, which runs it as a program, whatever the name of the file."""

MAX_FILE_BYTES = 1 << 29
"""Largest size of an image file, unpacked: 512 MiB."""

MAX_DECODING_BYTES = 1 << 30
"""Largest memory that decoding an image file may take: 1 GiB."""

HEAD_BYTES = 32
"""Number of bytes at the start of a file that show its format."""

UNKNOWN_FORMAT = "it is not an image in a known format"

_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"II+\0", "a BigTIFF image"),
    (b"MM\0+", "a BigTIFF image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"8BPS", "a Photoshop image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"%!PS", "PostScript, which is a program and is not run"),
    (b"\xc5\xd0\xd3\xc6", "PostScript, which is a program and is not run"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"<svg", "an SVG drawing"),
    (b"<!DOCTYPE html", "an HTML page"),
    (b"<html", "an HTML page"),
)
_BRANDS = {b"avif": "an AVIF image", b"avis": "an AVIF image"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim"), "a HEIC image"
)

READ_KINDS = frozenset(
    {
        "an AVIF image",
        *(f"a {name} image" for name in ("JPEG", "PNG", "TIFF", "WebP", "GIF", "JPEG 2000", "BMP", "PPM")),
    }
)
"""Results of `kind_of` for the formats that are read."""


def kind_of(head: bytes) -> str | None:
    """Return what a file with these first bytes is, such as `a JPEG image`; None if that is not known."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124):
        return "a BMP image"
    if re.match(rb"P([456]\s|[123]\s+(#|\d+\s+))", head):  # P1 to P3 are text, as other files are
        return "a PPM image"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


class FormatError(ValueError):
    """The content of a file is not an image in one of `FORMATS`; the message says what it is, as far as known."""


def open_image(content: bytes) -> Image.Image:
    """Open the content of an image file without decoding its pixels.

    Raises:
        FormatError: see `identify`.
        ValueError: it is of a size that cannot be decoded.
        Exception: whatever Pillow raises for a damaged header.
    """
    size = webp_size(content[:HEAD_BYTES])  # opening a WebP image allocates two images
    if size is not None:
        check_memory(size, size[0] * size[1] * _DECODER_BYTES["WEBP"])
    return identify(io.BytesIO(content))


def identify(file: IO[bytes]) -> Image.Image:
    """Open an image file without decoding its pixels; its content decides the format.

    Unlike `PIL.Image.open`, this tries only `FORMATS`, and does not limit the number of pixels.

    Args:
        file: it has to be seekable, and stays open.

    Raises:
        FormatError: the content is empty or in no known format.
        Exception: whatever Pillow raises for a damaged header.
    """
    from PIL import Image

    file.seek(0)
    head, missing = file.read(HEAD_BYTES), ""
    if not head:
        raise FormatError("the file is empty")
    for name, module in FORMATS.items():
        with suppress(ImportError):
            importlib.import_module(f"PIL.{module}")
        factory, accept = Image.OPEN.get(name, (None, None))
        accepted = accept(head[:16]) if accept else False
        if isinstance(accepted, str):  # why this Pillow cannot read the format
            missing = f"; this installation of Pillow has no {name} decoder"
        elif accepted and factory:
            file.seek(0)
            with suppress(SyntaxError, IndexError, TypeError, struct.error):  # what Pillow takes for another format
                return factory(file, "")  # with a name, Pillow maps some oriented TIFF files wrongly
    raise FormatError(_why_not_read(head) + missing)


def _why_not_read(head: bytes) -> str:
    kind = kind_of(head)
    if kind is None:
        return UNKNOWN_FORMAT
    if not kind.endswith("image"):
        return f"it is {kind}"
    if kind in READ_KINDS:
        return f"it is {kind} that is damaged or of a kind that Pillow does not read"
    return unread_format(kind)


def unread_format(kind: str) -> str:
    """Return why an image of a kind such as `a HEIC image` cannot be used, and what to do."""
    return f"it is {kind}, which is not read; convert it to PNG or JPEG"


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height in the first `HEAD_BYTES` of a WebP file; None for other files."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


_DECODER_BYTES = {"WEBP": 12, "AVIF": 8, "JPEG2000": 16, "TIFF": 4, "GIF": 4}
"""Memory that a decoder takes beside Pillow's image, in bytes per pixel, measured with files of one colour."""


def decoding_bytes(source: Image.Image, full_size: tuple[int, int], *, turned: bool, converted: bool) -> int:
    """Return the memory that decoding an opened image takes, estimated from its header.

    Args:
        source: the image, after `draft`.
        full_size: its size before `draft`.
        turned: whether a turned copy of it is made.
        converted: whether a copy in another mode is made.
    """
    stored = 1 if source.mode in ("1", "L", "P") else 2 if source.mode.startswith("I;16") else 4
    per_pixel = stored * (2 if turned else 1) + (4 if converted else 0) + _DECODER_BYTES.get(source.format or "", 0)
    total = source.width * source.height * per_pixel
    if source.info.get("progressive"):  # the decoder keeps all coefficients, 2 bytes each, at full size
        total += full_size[0] * full_size[1] * 2 * len(source.getbands())
    return total


def check_memory(size: tuple[int, int], needed: int) -> None:
    """Check that an image of `size` `(width, height)` can be decoded in `MAX_DECODING_BYTES`.

    Raises:
        ValueError: it cannot.
    """
    if needed > MAX_DECODING_BYTES:
        raise ValueError(
            f"{decoding_takes(size, needed)} of memory, more than the limit of {MAX_DECODING_BYTES:,}; save it smaller"
        )


def decoding_takes(size: tuple[int, int], needed: int) -> str:
    """Return the beginning of a message about an image that is too large."""
    return f"decoding its {size[0]}x{size[1]} pixels takes {needed:,} bytes"


class MemoryBudget:
    """Limits the memory that all threads use for one purpose at the same time.

    A use that exceeds the budget waits until it is alone.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[None]:
        """Wait until this many bytes are free, and hold them inside the `with` block."""
        needed = min(needed, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()


READING = MemoryBudget(MAX_FILE_BYTES)
"""For the content of files, in all threads. It is reserved before `DECODING`, never after it."""

DECODING = MemoryBudget(1 << 29)
"""For decoding in all threads: 512 MiB, or up to `MAX_DECODING_BYTES` for one image alone."""


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep what decoders print, which names no file, away from the user inside the `with` block."""
    logger = logging.getLogger("PIL")
    if not logger.handlers:  # otherwise Python prints log messages that have no handler
        logger.addHandler(logging.NullHandler())
    with libtiff.errors_counted(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield
