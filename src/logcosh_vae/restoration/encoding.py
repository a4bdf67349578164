"""Encoding the pixels of a picture: the image that is stored, and the options of its encoder."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from . import scratch
from .containers import HeadEditor
from .decoding import PIXEL_BYTES, Pixels, map_image
from .jpeg import JpegEncoding, jpeg_encoding, save_planes
from .scratch import STRIP_ROWS
from .storage import Storage

ENCODER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90},
    "TIFF": {"compression": "tiff_deflate"},
    "PNG": {"compress_level": 4},  # as small as the default, 6, in a third of the time
}
"""Options of Pillow's encoders by format, for a picture that came from another format."""

LOSSLESS_TIFF = frozenset({"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"})
"""Pillow's names of compressions of TIFF files that are kept."""

PROGRESSIVE_PIXELS = 64_000_000
"""Largest picture that is stored as a progressive JPEG, or with a sampling that Pillow does not support."""


def file_encoding(picture: Image.Image, path: Path) -> tuple[dict[str, Any], JpegEncoding | None]:
    """Return the options that encode a picture like its file, which is open.

    Storing a JPEG with its own quantization tables changes unchanged pixels hardly at all.
    """
    if isinstance(picture, JpegImageFile):
        return {}, jpeg_encoding(picture)
    if picture.format == "WEBP" and _is_lossless_webp(path):
        return {"lossless": True, "exact": True}, None
    if picture.format == "TIFF" and picture.info.get("compression") in LOSSLESS_TIFF:
        return {"compression": picture.info["compression"]}, None
    return {}, None


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


def eight_bit_image(
    stored: Pixels, alpha: NDArray[np.uint8] | None, grey: bool
) -> tuple[Image.Image, NDArray[np.uint8] | None]:
    """Return the image to store with 8 bits per colour, and the array of a temporary file in which a large one lies.

    Args:
        stored: `(H, W, 3)`, uint8 or uint16, with the orientation of the file.
        alpha: `(H, W)`; None without transparency.
        grey: whether the image has one channel for the colour; the mean is taken.
    """
    mode = ("L" if grey else "RGB") + ("" if alpha is None else "A")
    size, buffer = (stored.shape[1], stored.shape[0]), None
    if size[0] * size[1] * PIXEL_BYTES.get(mode, 4) > scratch.MEMORY_BYTES:
        core, buffer = map_image(mode, size)
        image = Image.Image()._new(core)
    else:
        image = Image.new(mode, size)
    for top in range(0, size[1], STRIP_ROWS):
        part = _grey_strip(stored, top) if grey else stored[top : top + STRIP_ROWS]
        if part.dtype == np.uint16:
            part = np.rint(part / 257.0).astype(np.uint8)
        if alpha is not None:
            part = np.dstack([part, alpha[top : top + STRIP_ROWS]])
        image.paste(Image.fromarray(np.ascontiguousarray(part)), (0, top))
        scratch.release(stored, alpha, buffer)
    return image, buffer


def sixteen_bit_image(
    stored: Pixels, alpha: NDArray[np.uint8] | None, level: int | None
) -> tuple[Image.Image, NDArray[np.uint16]]:
    """Return the grey image to store with 16 bits, and the array in which it lies.

    Args:
        stored: `(H, W, 3)`, uint16, with the orientation of the file; the mean of the channels is stored.
        alpha: `(H, W)`; None without transparency.
        level: means transparent. Pixels of this level that are not transparent are stored one level darker.
    """
    values = scratch.empty(stored.shape[:2], np.uint16)
    for top in range(0, len(values), STRIP_ROWS):
        part = _grey_strip(stored, top)
        if alpha is not None and level is not None:
            opaque = alpha[top : top + STRIP_ROWS] > 0
            part[(part == level) & opaque] = level - 1 if level else 1
            part[~opaque] = level
        values[top : top + STRIP_ROWS] = part
        scratch.release(stored, alpha, values)
    return Image.fromarray(values), values


def _grey_strip(stored: Pixels, top: int) -> NDArray[Any]:
    part = stored[top : top + STRIP_ROWS]
    grey: NDArray[Any] = np.rint(part.mean(axis=2, dtype=np.float32)).astype(part.dtype)
    return grey


def jpeg_for(encoding: JpegEncoding, size: tuple[int, int], notes: list[str]) -> JpegEncoding:
    """Return how to encode a JPEG file of this size; what has to differ from `encoding` is added to the notes."""
    planes = encoding.pillow_options is None
    full = ((1, 1),) * len(encoding.tables)
    if size[0] * size[1] > PROGRESSIVE_PIXELS and (encoding.progressive or planes):
        if encoding.progressive:
            notes.append("it is stored as a baseline instead of a progressive JPEG, because of its size")
        if not planes:
            return JpegEncoding(encoding.tables, encoding.factors, rgb=encoding.rgb)
        notes.append("it is stored without chroma subsampling, because of its size")
        return JpegEncoding(encoding.tables, full, rgb=encoding.rgb)
    if planes and not encoding.whole_ratios:
        notes.append("its chroma sampling is replaced by 4:4:4")
        return JpegEncoding(encoding.tables, full, encoding.progressive, encoding.rgb)
    return encoding


def save(
    image: Image.Image,
    target: str,
    path: Path,
    storage: Storage,
    options: Mapping[str, Any],
    jpeg: JpegEncoding | None = None,
    buffer: NDArray[Any] | None = None,
) -> None:
    """Encode an image into a file, with its metadata.

    Args:
        image: with the orientation of the file.
        target: Pillow's name of the format.
        path: the file; it is replaced.
        storage: the metadata.
        options: of Pillow's encoder.
        jpeg: quantization and sampling of a JPEG file, instead of options.
        buffer: the array in which the pixels of a large image lie.
    """
    with path.open("wb") as file:
        editor = HeadEditor(_Releasing(file, buffer), storage.edit or (lambda head: head))
        if jpeg is not None and jpeg.pillow_options is None:
            content = io.BytesIO()
            save_planes(image, jpeg, content)
            editor.write(content.getvalue())
        elif target == "TIFF":  # its encoder seeks
            with _reason_of_system(file):
                image.save(file, target, **storage.options, **options)
        else:
            chosen = options if jpeg is None else jpeg.pillow_options or {}
            image.save(editor, target, **storage.options, **chosen)  # type: ignore[arg-type]
        editor.finish()
    if storage.finish is not None:
        storage.finish(path)


@contextmanager
def _reason_of_system(file: IO[bytes]) -> Iterator[None]:
    """Let a failure to write raise the error of the system, such as a full disk, which libtiff hides."""
    try:
        yield
    except Exception:
        file.seek(0, os.SEEK_END)
        file.write(bytes(1 << 20))  # more than libtiff writes at once
        file.flush()
        raise


class _Releasing:
    """A file that releases the memory of an array whenever it is written."""

    def __init__(self, file: IO[bytes], buffer: NDArray[Any] | None) -> None:
        self._file, self._buffer = file, buffer

    def write(self, data: bytes) -> int:
        """Write the bytes."""
        scratch.release(self._buffer)
        return self._file.write(data)
