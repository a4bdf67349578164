"""Read and write pictures of a user, with everything that a file holds beside the pixels.

A `Photograph` holds the upright pixels, the transparency, the metadata and the encoding of a file. `write` stores new
pixels with all of these, and returns notes about what the new file does not keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import DataError
from ..base.files import one_line
from ..base.text import visible
from ..data.formats import UNKNOWN_FORMAT, FormatError
from ..data.orientation import exif_orientation
from . import encoding, scratch
from .damage import without_damage
from .decoding import Pixels, decode, stored_view
from .finished import mark_result
from .jpeg import JpegEncoding
from .metadata import FORMATS, Metadata, complete_info, read_metadata
from .opening import WRITER_BYTES, check_bytes, file_notes, open_picture, quiet
from .previews import renew_previews
from .scratch import STRIP_ROWS
from .storage import prepare
from .targets import replacing

ALPHA_FORMATS = frozenset({"PNG", "WEBP", "AVIF", "TIFF"})
SIXTEEN_BIT = frozenset({".png", ".tif", ".tiff", ".pgm"})
ORIENTED = frozenset({"JPEG", "PNG", "WEBP", "TIFF"})
"""Formats with transparency, suffixes for 16 bits, and formats with an orientation."""

MAX_SIDE: Mapping[str, int] = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65536}
"""Largest width and height in pixels, by format."""

WRITABLE = frozenset(FORMATS)
"""Suffixes that `write` supports."""

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Photograph:
    """An upright picture, and what its file holds beside the pixels.

    Attributes:
        pixels: `(H, W, 3)`; uint8, or uint16 for 16-bit grey.
        alpha: `(H, W)`, uint8; None if the picture has no transparency.
        grey: whether the file holds grey values only.
        orientation: EXIF orientation of the stored picture, 1 by default.
        transparent_level: the level of 16-bit grey that means transparent, if there is one.
        metadata: EXIF, XMP, colour profile and so on.
        encoding: options of Pillow's `save` that store a picture with the quality of the original file.
        jpeg: quantization and sampling of a JPEG file.
        permissions: permission bits of the file; None if unknown.
        notes: sentences for the user about what no new file keeps.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    orientation: int = 1
    transparent_level: int | None = None
    metadata: Metadata = field(default_factory=Metadata)
    encoding: Mapping[str, Any] = field(default_factory=dict)
    jpeg: JpegEncoding | None = None
    permissions: int | None = None
    notes: tuple[str, ...] = ()


def read(path: Path) -> Photograph:
    """Read a picture file.

    Raises:
        DataError: the file is missing, damaged, not a regular file or not a picture, its pixel format is not supported,
            or decoding it takes too much memory.
    """
    return _read(path, _photograph)


def check_picture(path: Path) -> None:
    """Check, before all of a file is read, that it is a picture that can be decoded.

    Raises:
        DataError: it is not; see `read`.
    """
    _read(path, lambda *_: None)


def _read(path: Path, what: Callable[[Image.Image, Path], _Read]) -> _Read:
    """Open a picture file and return `what` of it; raise DataError for whatever fails."""
    try:
        with quiet(), open_picture(path) as picture:
            return what(picture, path)
    except FormatError as error:
        known = "" if str(error) == UNKNOWN_FORMAT else f": {error}"
        raise DataError(f"{path} is not a picture in a supported format{known}") from None
    except MemoryError:
        raise DataError(f"{path} cannot be read: there is not enough memory for its pixels") from None
    except Exception as error:  # decoders raise arbitrary exceptions for damaged files
        raise DataError(f"{path} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if str(error) == "decoder error -2":
        return "its pixels cannot be decoded, because the file is damaged"
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)


def _photograph(picture: Image.Image, path: Path) -> Photograph:
    notes = file_notes(picture, path)  # before decoding, which discards the tiles that it looks at
    complete_info(picture, path)
    options, jpeg = encoding.file_encoding(picture, path)
    decoded = decode(picture)
    metadata = without_damage(read_metadata(picture, path))
    stands_in_exif = exif_orientation(metadata.exif) is not None
    return Photograph(
        decoded.pixels,
        decoded.alpha,
        decoded.grey,
        decoded.orientation if stands_in_exif else 1,
        decoded.transparent_level,
        metadata,
        options,
        jpeg,
        path.stat().st_mode & 0o777,
        (*notes, *decoded.notes, *map(visible, metadata.damage)),
    )


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask: `(H, W)`, true where what is seen of the picture on black is closer to white than to black.

    That is where luminance times opacity is above one half, whatever the mode of the file.

    Raises:
        DataError: the file cannot be read, or it marks no pixel.
    """
    photograph = read(path)
    pixels, alpha = photograph.pixels, photograph.alpha
    mask = scratch.empty(pixels.shape[:2], bool)
    for top in range(0, len(mask), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        luminance = pixels[rows] @ _LUMINANCE / np.iinfo(pixels.dtype).max
        mask[rows] = (luminance if alpha is None else luminance * (alpha[rows] / np.float32(255))) > 0.5
        scratch.release(pixels, alpha, mask)
    if not mask.any():
        raise DataError(f"{path} marks no pixel: draw the parts that may change in white, on black or transparent")
    return mask


_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue, as in Pillow's mode L (ITU-R BT.601)."""


def check_writable(path: Path, photograph: Photograph) -> None:
    """Check that a file with the suffix of `path` can hold the picture.

    Raises:
        DataError: it cannot.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise DataError(f"{path}: unsupported suffix; pictures are written as {', '.join(sorted(WRITABLE))}")
    target = FORMATS[suffix]
    if photograph.alpha is not None and target not in ALPHA_FORMATS:
        raise DataError(f"{path} cannot hold the picture's transparency; use .png, .webp or .tif")
    height, width = photograph.pixels.shape[:2]
    limit = MAX_SIDE.get(target)
    if limit is not None and max(height, width) > limit:
        raise DataError(f"{path} cannot hold {width}x{height} pixels: at most {limit} on a side; use .png or .tif")
    try:
        check_bytes(WRITER_BYTES.get(target, 0) * height * width, (width, height))
    except ValueError as error:
        raise DataError(f"{path} cannot be written: {error}") from None


def write(photograph: Photograph, pixels: Pixels, path: Path, digest: str = "") -> tuple[str, ...]:
    """Write new pixels with the transparency, metadata and encoding of a photograph; atomically.

    A link is kept: the file that it points to is replaced. An existing file keeps its permissions, and a new one gets
    those of the photograph, as far as the user's mask allows. The file is marked as an output of this program.

    Args:
        photograph: as read.
        pixels: `(H, W, 3)`, upright, uint8 or uint16.
        path: its suffix determines the format.
        digest: what `finished.result_digest` returns, stored with the mark of the program's outputs.

    Returns:
        Sentences for the user about what the file does not keep.

    Raises:
        DataError: the format cannot hold the picture, or the file cannot be written.
    """
    check_writable(path, photograph)
    suffix, notes = path.suffix.lower(), list(photograph.notes)
    target = FORMATS[suffix]
    orientation = photograph.orientation if target in ORIENTED else 1
    stored = stored_view(pixels, orientation)
    alpha = None if photograph.alpha is None else stored_view(photograph.alpha, orientation)
    same = photograph.metadata.format == target
    options = dict(photograph.encoding if same and photograph.encoding else encoding.ENCODER_OPTIONS.get(target, {}))
    jpeg = photograph.jpeg if same else None
    try:
        with quiet(), replacing(path, photograph.permissions) as temporary:
            buffer: NDArray[Any] | None
            if _sixteen_bits(photograph, pixels, suffix):
                image, buffer = encoding.sixteen_bit_image(stored, alpha, photograph.transparent_level)
                if alpha is not None:
                    options["transparency"] = photograph.transparent_level
            else:
                if pixels.dtype == np.uint16:
                    notes.append("its 16 bits are reduced to 8")
                image, buffer = encoding.eight_bit_image(stored, alpha, photograph.grey)
            if jpeg is not None:
                jpeg = encoding.jpeg_for(jpeg, image.size, notes)
            metadata, left_out = renew_previews(photograph.metadata, target, image, orientation)
            notes += [left_out] if left_out else []
            scratch.release(buffer)
            storage = prepare(metadata, target, orientation, image.mode)
            encoding.save(image, target, temporary, storage, options, jpeg, buffer)
            mark_result(temporary, digest)
    except Exception as error:  # encoders raise arbitrary exceptions, for example on a full disk
        raise DataError(f"{path} cannot be written: {_reason(error)}") from None
    return (*notes, *storage.notes)


def _sixteen_bits(photograph: Photograph, pixels: Pixels, suffix: str) -> bool:
    """Return whether the file gets 16 bits: for grey, where the format can hold its transparency too."""
    if pixels.dtype != np.uint16 or not photograph.grey or suffix not in SIXTEEN_BIT:
        return False
    return photograph.alpha is None or (photograph.transparent_level is not None and suffix == ".png")
