"""Read and write pictures of a user, with everything that a file holds beside the pixels.

A `Photograph` holds the upright pixels, the transparency, the metadata and the encoding of a file. `write` stores new
pixels with all of these.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from ..base.errors import DataError
from ..base.files import atomic_write, one_line
from ..data.collection import SUFFIXES
from ..data.orientation import ORIENTATION

Pixels = NDArray[np.unsignedinteger]

FROM_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""The operation that turns an upright picture into the stored one, by EXIF orientation."""

JPEG = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
OPAQUE = JPEG | {".bmp", ".ppm", ".pgm"}
SIXTEEN_BIT = frozenset({".png", ".tif", ".tiff", ".pgm"})
ORIENTED = JPEG | {".png", ".webp", ".avif", ".tif", ".tiff"}
"""Suffixes of JPEG, of formats without transparency, of formats with 16 bits, and of formats with an orientation."""

DESCRIPTIVE_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""EXIF tags: description, make, model, software, date, artist and copyright."""

ENCODER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    **{suffix: {"quality": 95, "subsampling": 0} for suffix in JPEG},
    ".webp": {"quality": 95},
    ".avif": {"quality": 90},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
}
"""Options of Pillow's encoders by suffix, for a picture that came from another format."""

WRITABLE = SUFFIXES - {".gif", ".jp2"}
"""Suffixes that `write` supports."""


@dataclass(frozen=True)
class Photograph:
    """An upright picture, and what its file holds beside the pixels.

    Attributes:
        pixels: `(H, W, 3)`; uint8, or uint16 for 16-bit grey.
        alpha: `(H, W)`, uint8; None if the picture has no transparency.
        grey: whether the file holds grey values only.
        orientation: EXIF orientation of the stored picture, 1 by default.
        metadata: EXIF, colour profile and resolution, as options of Pillow's `save`.
        encoding: options of Pillow's `save` that store a picture with the quality of the original file.
        suffixes: suffixes of the format that `encoding` is for.
        notes: sentences for the user about what the new file does not keep.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    orientation: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict)
    encoding: Mapping[str, Any] = field(default_factory=dict)
    suffixes: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def read(path: Path) -> Photograph:
    """Read a picture file.

    Raises:
        DataError: the file is missing, damaged or not a picture, or its pixel format is not supported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                notes = _notes(picture)  # before decoding, which discards the tiles that it looks at
                encoding, suffixes = _encoding(picture, path)
                return replace(_decode(picture), encoding=encoding, suffixes=suffixes, notes=notes)
    except UnidentifiedImageError:
        raise DataError(f"{path} is not a picture in a supported format") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} has too many pixels to be read; cut it into parts") from None
    except Exception as error:  # decoders raise arbitrary exceptions for damaged files
        raise DataError(f"{path} cannot be read: {one_line(error)}") from None


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask: `(H, W)`, true where the picture is closer to white than to black.

    Raises:
        DataError: the file cannot be read.
    """
    pixels = read(path).pixels
    return np.asarray(pixels.mean(axis=2) > np.iinfo(pixels.dtype).max / 2)


def _notes(picture: Image.Image) -> tuple[str, ...]:
    """Return what the restored file will not keep."""
    notes = []
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        notes.append(f"only the first of its {frames} frames or pages is restored")
    if not picture.mode.startswith("I") and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        notes.append("its 16 bits per colour are reduced to 8")
    if picture.mode == "CMYK":
        notes.append("its CMYK colours (inks) are converted to RGB")
    return tuple(notes)


def _encoding(picture: Image.Image, path: Path) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the encoder options of the file and the suffixes they are for.

    Storing a JPEG with its own quantization tables changes unchanged pixels hardly at all.
    """
    if isinstance(picture, JpegImageFile) and picture.mode != "CMYK":
        tables = {"qtables": picture.quantization, "subsampling": get_sampling(picture)}
        progressive = {"progressive": True} if picture.info.get("progressive") else {}
        comment = {"comment": picture.info["comment"]} if picture.info.get("comment") else {}
        return {**tables, **progressive, **comment}, JPEG
    if picture.format == "WEBP" and _is_lossless_webp(path):
        return {"lossless": True, "exact": True}, frozenset({".webp"})
    return {}, frozenset()


def _is_lossless_webp(path: Path) -> bool:
    """Return whether the first image chunk of a WebP file is lossless."""
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            kind, size = header[:4], int.from_bytes(header[4:], "little")
            if kind in (b"VP8L", b"VP8 "):
                return kind == b"VP8L"
            file.seek(size + size % 2, 1)
    return False


def _decode(picture: Image.Image) -> Photograph:
    """Decode the pixels, the transparency and the metadata."""
    orientation = picture.getexif().get(ORIENTATION, 1)
    names = ("exif", "icc_profile", "dpi")
    metadata = {name: picture.info[name] for name in names if picture.info.get(name)}
    if picture.format == "TIFF":  # Pillow turns its pixels upright, and its EXIF also describes the old storage
        orientation, metadata["exif"] = 1, _descriptive_exif(picture.getexif())
    if not all(0 < value < math.inf for value in metadata.get("dpi", ())):
        del metadata["dpi"]
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("F", "LAB", "HSV"):
        raise ValueError(f"its pixel format {upright.mode} is not supported")
    if upright.mode.startswith("I"):
        values = np.asarray(upright)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels have more than 16 bits")
        pixels = np.repeat(values.astype(np.uint16)[..., None], 3, axis=2)
        return Photograph(pixels, None, True, orientation, metadata)
    if upright.mode == "CMYK":
        metadata.pop("icc_profile", None)  # it describes the inks, not RGB
    grey = upright.mode in ("1", "L", "LA", "La")
    alpha = None
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        alpha = np.array(upright.getchannel("A"))
    return Photograph(np.array(upright.convert("RGB")), alpha, grey, orientation, metadata)


def _descriptive_exif(exif: Image.Exif) -> Image.Exif:
    """Return the tags of a TIFF file that describe the picture, without those that describe its storage."""
    descriptive = Image.Exif()
    descriptive.update({tag: exif[tag] for tag in DESCRIPTIVE_TAGS if tag in exif})
    return descriptive


def check_writable(path: Path, photograph: Photograph) -> None:
    """Check that a file with the suffix of `path` can hold the picture.

    Raises:
        DataError: it cannot.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise DataError(f"{path}: unsupported suffix; pictures are written as {', '.join(sorted(WRITABLE))}")
    if photograph.alpha is not None and suffix in OPAQUE:
        raise DataError(f"{path} cannot hold the picture's transparency; use .png, .webp or .tif")


def write(photograph: Photograph, pixels: Pixels, path: Path) -> None:
    """Write new pixels with the transparency, metadata and encoding of a photograph; atomically.

    Args:
        photograph: as read.
        pixels: `(H, W, 3)`, upright, uint8 or uint16.
        path: its suffix determines the format.

    Raises:
        DataError: the format cannot hold the picture, or the file cannot be written.
    """
    check_writable(path, photograph)
    suffix = path.suffix.lower()
    if photograph.grey:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32)).astype(pixels.dtype)
    if pixels.dtype == np.uint16 and suffix not in SIXTEEN_BIT:
        pixels = np.rint(pixels / 257.0).astype(np.uint8)
    image = Image.fromarray(pixels)
    if photograph.alpha is not None:
        image.putalpha(Image.fromarray(photograph.alpha))
    if photograph.orientation in FROM_UPRIGHT and suffix in ORIENTED:
        image = image.transpose(FROM_UPRIGHT[photograph.orientation])
    encoding = photograph.encoding if suffix in photograph.suffixes else ENCODER_OPTIONS.get(suffix, {})
    try:
        with atomic_write(path) as temporary:
            image.save(temporary, **photograph.metadata, **encoding)
    except Exception as error:  # encoders raise arbitrary exceptions, for example on a full disk
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise DataError(f"{path} cannot be written: {reason}") from None
