"""Levels mean the same in every reader: white stored as 0, transparent values of few or many bits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.data.image_files import encoded

from logcosh_vae.data.decode import Preparation, decode
from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.containers import png_chunk

RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
EXPECTED = np.round(RAMP / 257).astype(np.uint8)


def with_white_as_zero(content: bytes, planar: bool = False) -> bytes:
    """Return a grey TIFF file whose values are 0 for white."""
    photometric = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert content.count(photometric) == 1
    content = content.replace(photometric, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    return content.replace(struct.pack("<HHIHH", 284, 3, 1, 1, 0), struct.pack("<HHIHH", 284, 3, 1, 1 + planar, 0))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_with_white_as_zero_is_not_restored_as_its_negative(
    tmp_path: Path, bits: int, compression: str, orientation: int
) -> None:
    values = 65535 - RAMP if bits == 16 else 255 - EXPECTED
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = with_white_as_zero(encoded(Image.fromarray(values), "TIFF", compression=compression, exif=exif))
    (tmp_path / "a.tif").write_bytes(content)
    expected = EXPECTED if orientation == 1 else np.rot90(EXPECTED, -1)
    photograph = photographs.read(tmp_path / "a.tif")
    photographs.write(photograph, photograph.pixels, tmp_path / "b.tif")
    for path in (tmp_path / "a.tif", tmp_path / "b.tif"):
        pixels = photographs.read(path).pixels
        assert pixels.dtype == f"u{bits // 8}"
        assert np.abs(pixels[..., 0] / (257 if bits == 16 else 1) - expected).max() < 1
        image, _, _ = decode(path.read_bytes(), Preparation(*expected.shape, 1))
        assert np.array_equal(image[0], expected)
    mask = photographs.read_mask(tmp_path / "a.tif")
    assert np.array_equal(mask, expected > 127)


def test_tiff_with_white_as_zero_and_one_plane_is_not_inverted(tmp_path: Path) -> None:
    content = with_white_as_zero(encoded(Image.fromarray(255 - EXPECTED), "TIFF", compression="raw"), planar=True)
    (tmp_path / "a.tif").write_bytes(content)
    assert np.array_equal(photographs.read(tmp_path / "a.tif").pixels[..., 0], EXPECTED)
    assert np.array_equal(decode(content, Preparation(48, 64, 1))[0][0], EXPECTED)


def png(bits: int, colour_type: int, pixels: NDArray[Any], transparent: tuple[int, ...]) -> bytes:
    """Return a PNG file with a transparent colour; `pixels` are the packed bytes of its 48 rows of 64 pixels."""
    header = struct.pack(">IIBBBBB", 64, 48, bits, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = (b"IHDR", header), (b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    content = b"".join(
        png_chunk(kind, data) for kind, data in (*chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + content


LEVELS = np.tile(np.repeat(np.arange(16, dtype=np.uint8), 4), (48, 1))
COLOURS = np.broadcast_to((RAMP // 4 * 4)[..., None], (48, 64, 3)).astype(">u2")
TRANSPARENT = {
    "1-bit grey": (png(1, 0, np.packbits(LEVELS > 7, axis=1), (1,)), LEVELS > 7),
    "2-bit grey": (
        png(2, 0, np.packbits(np.unpackbits((LEVELS // 4)[..., None], axis=2)[..., 6:].reshape(48, -1), axis=1), (2,)),
        LEVELS // 4 == 2,
    ),
    "4-bit grey": (png(4, 0, LEVELS[:, ::2] << 4 | LEVELS[:, 1::2], (5,)), LEVELS == 5),
    "8-bit grey": (png(8, 0, LEVELS, (5,)), LEVELS == 5),
    "16-bit grey": (png(16, 0, RAMP.astype(">u2"), (int(RAMP[0, 9]),)), RAMP[0, 9] == RAMP),
    "8-bit colours": (png(8, 2, np.repeat(LEVELS, 3, axis=1), (5, 5, 5)), LEVELS == 5),
    "16-bit colours": (png(16, 2, COLOURS, tuple(map(int, COLOURS[0, 9]))), COLOURS[..., 0] == COLOURS[0, 9, 0]),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_restored_png_keeps_its_transparent_colour(tmp_path: Path, kind: str) -> None:
    content, transparent = TRANSPARENT[kind]
    (tmp_path / "a.png").write_bytes(content)
    photograph = photographs.read(tmp_path / "a.png")
    assert photograph.alpha is not None
    assert np.array_equal(photograph.alpha == 0, transparent)
    assert np.array_equal(decode(content, Preparation(48, 64, 1))[0][0][transparent], np.full(transparent.sum(), 255))
    photographs.write(photograph, photograph.pixels, tmp_path / "b.png")
    alpha = photographs.read(tmp_path / "b.png").alpha
    assert alpha is not None
    assert np.array_equal(alpha == 0, transparent)
