"""A person's picture files: read with all that belongs to them, and written as they were but for the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..data import DataError
from ..data.collection import SUFFIXES
from ..data.decode import ORIENTATION
from ..files import brief, written_aside

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

OPAQUE = frozenset({".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"})
DEEP = frozenset({".png", ".tif", ".tiff"})
"""Suffixes of formats without transparency, and of those with 16 bits."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"quality": 95},
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
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    orientation: int = 1
    kept: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> Photograph:
    """Read a picture file.

    Raises:
        DataError: it is missing, no picture, damaged, or its pixels are floating-point numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _read(picture)
    except UnidentifiedImageError:
        raise DataError(f"{path} is no picture that can be read") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} has more pixels than are read; cut it into parts") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {brief(error)}") from None


def _read(picture: Image.Image) -> Photograph:
    orientation = picture.getexif().get(ORIENTATION, 1)
    names = ("exif", "icc_profile", "dpi")
    kept = {name: picture.info[name] for name in names if picture.info.get(name)}
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
        DataError: the format cannot hold the picture.
        OSError: the file cannot be written.
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
    if photograph.orientation in BACK:
        image = image.transpose(BACK[photograph.orientation])
    with written_aside(path) as aside:
        image.save(aside, **photograph.kept, **SETTINGS.get(suffix, {}))


def found(inputs: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Picture files that are named or lie in the folders that are named, and each one's place below what was named.

    A name that does not exist may be a pattern (`holiday/*.jpg`) that no shell has resolved.

    Raises:
        DataError: nothing stands at a path, or a folder holds no pictures.
    """
    for path in inputs:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not files:
                raise DataError(f"{path} holds no pictures")
            yield from ((file, file.relative_to(path)) for file in files)
        elif path.exists():
            yield path, Path(path.name)
        elif matched := sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))):
            yield from found(matched)
        else:
            raise DataError(f"{path} does not exist")
