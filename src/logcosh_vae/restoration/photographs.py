"""A person's picture files: read with all that belongs to them, and written as they were but for the pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from ..base.errors import DataError
from ..base.files import atomic_write, one_line
from ..data.collection import SUFFIXES, is_image_file
from ..data.decode import ORIENTATION

Pixels = NDArray[np.unsignedinteger]

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""From an upright picture back to how it lies in a file of that EXIF orientation."""

JPEG = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
OPAQUE = JPEG | {".bmp", ".ppm", ".pgm"}
DEEP = frozenset({".png", ".tif", ".tiff", ".pgm"})
"""Suffixes of JPEG, of formats without transparency, and of those with 16 bits."""

TURNING = JPEG | {".png", ".webp", ".avif", ".tif", ".tiff"}
"""Suffixes of formats that say how their picture is turned."""

DESCRIBING = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""EXIF's description, make, model, software, date, artist and copyright."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    **{suffix: {"quality": 95, "subsampling": 0} for suffix in JPEG},
    ".webp": {"quality": 95},
    ".avif": {"quality": 90},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
}
WRITABLE = SUFFIXES - {".gif", ".jp2"}


@dataclass(frozen=True)
class Photograph:
    """A picture as a person sees it, and what its file says about it.

    Attributes:
        pixels: `(H, W, 3)`, upright, uint8, or uint16 for grey of 16 bits.
        alpha: `(H, W)`, uint8, where the picture has transparency.
        grey: whether the file holds grey only.
        orientation: EXIF's, 1 where there is none.
        kept: EXIF, colour profile and resolution, for the file that is written.
        encoding: how its pixels are stored, for a file of the same format.
        suffixes: of that format, where there is an encoding to keep.
        lost: what of the file is not kept, for people.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    orientation: int = 1
    kept: Mapping[str, Any] = field(default_factory=dict)
    encoding: Mapping[str, Any] = field(default_factory=dict)
    suffixes: frozenset[str] = frozenset()
    lost: tuple[str, ...] = ()


def read(path: Path) -> Photograph:
    """Read a picture file.

    Raises:
        DataError: it is missing, no picture, damaged, or its pixels are floating-point numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                lost = _lost(picture)  # known before the pixels are loaded
                encoding, suffixes = _encoding(picture, path)
                return replace(_read(picture), encoding=encoding, suffixes=suffixes, lost=lost)
    except UnidentifiedImageError:
        raise DataError(f"{path} is no picture that can be read") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} has more pixels than are read; cut it into parts") from None
    except Exception as error:  # a damaged file can make decoders raise anything
        raise DataError(f"{path} cannot be read: {one_line(error)}") from None


def _described(exif: Image.Exif) -> Image.Exif:
    """What a TIFF's tags say of the picture, without those of how it is stored."""
    described = Image.Exif()
    described.update({tag: exif[tag] for tag in DESCRIBING if tag in exif})
    return described


def _lost(picture: Image.Image) -> tuple[str, ...]:
    lost = []
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        lost.append(f"of its {frames} frames or pages only the first is restored")
    if not picture.mode.startswith("I") and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        lost.append("its 16 bits a colour are read as 8")
    if picture.mode == "CMYK":
        lost.append("its inks are brought to RGB")
    return tuple(lost)


def _encoding(picture: Image.Image, path: Path) -> tuple[dict[str, Any], frozenset[str]]:
    """What to write the picture with so that it is stored as it was: pixels that stay the same lose next to nothing."""
    if isinstance(picture, JpegImageFile) and picture.mode != "CMYK":
        tables = {"qtables": picture.quantization, "subsampling": get_sampling(picture)}
        progressive = {"progressive": True} if picture.info.get("progressive") else {}
        comment = {"comment": picture.info["comment"]} if picture.info.get("comment") else {}
        return {**tables, **progressive, **comment}, JPEG
    if picture.format == "WEBP" and _is_lossless(path):
        return {"lossless": True, "exact": True}, frozenset({".webp"})
    return {}, frozenset()


def _is_lossless(path: Path) -> bool:
    """Whether a WebP file's picture is coded without loss."""
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            kind, size = header[:4], int.from_bytes(header[4:], "little")
            if kind in (b"VP8L", b"VP8 "):
                return kind == b"VP8L"
            file.seek(size + size % 2, 1)
    return False


def _read(picture: Image.Image) -> Photograph:
    orientation = picture.getexif().get(ORIENTATION, 1)
    names = ("exif", "icc_profile", "dpi")
    kept = {name: picture.info[name] for name in names if picture.info.get(name)}
    if picture.format == "TIFF":  # its pixels are turned as they are read, and its EXIF also says how they lay
        orientation, kept["exif"] = 1, _described(picture.getexif())
    if not all(0 < value < math.inf for value in kept.get("dpi", ())):
        del kept["dpi"]
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("F", "LAB", "HSV"):
        raise ValueError(f"pixels of the kind {upright.mode} are not supported")
    if upright.mode.startswith("I"):
        values = np.asarray(upright)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels are neither 8 nor 16 bit")
        deep = np.repeat(values.astype(np.uint16)[..., None], 3, axis=2)
        return Photograph(deep, None, True, orientation, kept)
    if upright.mode == "CMYK":
        kept.pop("icc_profile", None)  # it is of inks
    grey = upright.mode in ("1", "L", "LA", "La")
    alpha = None
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        alpha = np.array(upright.getchannel("A"))
    return Photograph(np.array(upright.convert("RGB")), alpha, grey, orientation, kept)


def check_writable(path: Path, photograph: Photograph) -> None:
    """Raise `DataError` where a file of that name cannot hold the picture."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise DataError(f"{path}: pictures are written as {', '.join(sorted(WRITABLE))}")
    if photograph.alpha is not None and suffix in OPAQUE:
        raise DataError(f"{path} cannot hold the picture's transparency; name a .png, .webp or .tif")


def write(photograph: Photograph, pixels: Pixels, path: Path) -> None:
    """Write other pixels of the same picture, in one step.

    Args:
        photograph: where all but the pixels is taken from.
        pixels: `(H, W, 3)`, upright.
        path: its suffix says the format.

    Raises:
        DataError: the format cannot hold the picture, or the file cannot be written.
    """
    check_writable(path, photograph)
    suffix = path.suffix.lower()
    if photograph.grey:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32)).astype(pixels.dtype)
    if pixels.dtype == np.uint16 and suffix not in DEEP:
        pixels = np.rint(pixels / 257.0).astype(np.uint8)
    image = Image.fromarray(pixels)
    if photograph.alpha is not None:
        image.putalpha(Image.fromarray(photograph.alpha))
    if photograph.orientation in BACK and suffix in TURNING:
        image = image.transpose(BACK[photograph.orientation])
    encoding = photograph.encoding if suffix in photograph.suffixes else SETTINGS.get(suffix, {})
    try:
        with atomic_write(path) as aside:
            image.save(aside, **photograph.kept, **encoding)
    except Exception as error:  # a full disk makes encoders raise anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise DataError(f"{path} cannot be written: {reason}") from None


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Which pixels `(H, W)` of a mask are nearer to white than to black.

    Raises:
        DataError: it cannot be read.
    """
    pixels = read(path).pixels
    return np.asarray(pixels.mean(axis=2) > np.iinfo(pixels.dtype).max / 2)


def found(inputs: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Picture files that are named or lie in the folders that are named, and each one's place below what was named.

    A name that does not exist may be a pattern (`holiday/*.jpg`) that no shell has resolved.

    Raises:
        DataError: nothing stands at a path, or a folder holds no pictures.
    """
    for path in inputs:
        if path.is_dir():
            files = sorted(
                file for file in path.rglob("*") if is_image_file(file.relative_to(path).as_posix()) and file.is_file()
            )
            if not files:
                raise DataError(f"{path} holds no pictures")
            yield from ((file, file.relative_to(path)) for file in files)
        elif path.exists():
            yield path, Path(path.name)
        elif matched := sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))):
            yield from found(matched)
        else:
            raise DataError(f"{path} does not exist")
