"""Opening image files: formats by content, bounded memory, all bit depths, and nothing printed by decoders."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.data.image_files import encoded, load_both, noise, write_set

from logcosh_vae.base.errors import ConfigError, DataError
from logcosh_vae.data import formats, load_images, load_tiles
from logcosh_vae.data.decode import Preparation, Tiling, decode, decode_tiles

READABLE = ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "GIF", "BMP", "JPEG2000", "PPM"]
GREY_WITH_TAIL = np.repeat([[20000, 1000]], [32, 32], axis=1).repeat(64, axis=0).astype(np.uint16)


def png(depth: int, colour: int, row: bytes, *chunks: tuple[bytes, bytes], size: tuple[int, int] = (64, 64)) -> bytes:
    """Return a PNG file of equal rows, of which `size` may say anything."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress((b"\0" + row) * 64)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@pytest.mark.parametrize("kind", READABLE)
def test_formats_are_recognised_by_content_and_checked_before_decoding(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(noise(size=(64, 64)), kind)
    assert decode(content, Preparation(8, 8))[0].shape == (3, 8, 8)
    monkeypatch.setattr(formats, "MAX_DECODING_BYTES", 64 * 64 - 1)
    for decoder in (lambda: decode(content, Preparation(32, 32)), lambda: decode_tiles(content, Tiling(8))):
        with pytest.raises(ValueError, match=r"decoding its 64x64 pixels takes [\d,]+ bytes of memory, more than"):
            decoder()


@pytest.mark.parametrize("kind", ["EPS", "TGA", "PCX", "ICO", "SGI", "PDF", "MSP", "XBM"])
def test_other_formats_are_never_tried(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(noise().convert("1" if kind in ("MSP", "XBM") else "RGB"), kind)
    monkeypatch.setattr(subprocess, "Popen", None)  # Pillow runs Ghostscript on PostScript files
    with pytest.raises(ValueError, match=r"it is (not an image in a known format|PostScript|a PDF document)"):
        decode(content, Preparation(8, 8))


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (0, 5)])
def test_false_sizes_are_refused(size: tuple[int, int]) -> None:
    for depth, colour in ((8, 2), (16, 0), (1, 0), (8, 6)):
        with pytest.raises((ValueError, OSError)):
            decode(png(depth, colour, bytes(600), size=size), Preparation(8, 8))


def test_tiles_of_a_long_thin_image_are_bounded() -> None:
    with pytest.raises(ValueError, match=r"its 1x400000 pixels make 782 tiles of 512x512, most of them padding"):
        decode_tiles(encoded(Image.new("L", (1, 400_000))), Tiling(512))


MEASURE = """
import os, resource, sys
from PIL import Image
from logcosh_vae.data import decode, formats
needed = []
formats_check = decode.check_memory
decode.check_memory = lambda size, count: needed.append(count)
for path in sys.argv[1:]:
    content = open(path, "rb").read()
    if not os.fork():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        decode.decode(content, decode.Preparation(8, 8))
        taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        print(path, taken, needed[-1], flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is measured on Linux")
def test_decoding_takes_no_more_memory_than_estimated(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey, colour = Image.new("L", (6000, 6000), 9), Image.new("RGB", (3500, 3500), (1, 2, 3))
    files: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (grey, "grey.png", {}),
        (colour, "turned.png", {"exif": exif}),
        (colour.convert("RGBA"), "transparent.png", {}),
        (colour.quantize(4), "palette.gif", {}),
        (colour, "progressive.jpg", {"progressive": True}),
        (colour, "turned.tif", {"exif": exif, "compression": "tiff_lzw"}),
        (colour, "lossless.webp", {"lossless": True, "method": 0}),
        (colour, "a.avif", {"speed": 10}),
        (colour, "a.jp2", {}),
        (Image.fromarray(np.full((5000, 5000), 9000, np.uint16)), "deep.png", {}),
    ]
    for image, name, options in files:
        image.save(tmp_path / name, **options)
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for _, name, _ in files)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert len(lines) == len(files)
    for line in lines:
        _, taken, needed = line.split()
        assert int(taken) < 1.1 * int(needed) + 2e7, line


@pytest.mark.parametrize(
    ("content", "kept", "transparent"),
    [
        (encoded(Image.fromarray(GREY_WITH_TAIL), transparency=1000), 78, 255),
        (encoded(Image.fromarray((GREY_WITH_TAIL // 200).astype(np.uint8)), transparency=5), 100, 255),
        (png(16, 2, struct.pack(">96H", *[20000] * 96) + struct.pack(">96H", *[1000] * 96)), 78, 3),
        (
            png(
                16,
                2,
                struct.pack(">96H", *[20000] * 96) + struct.pack(">96H", *[1000] * 96),
                (b"tRNS", struct.pack(">3H", 1000, 1000, 1000)),
            ),
            78,
            255,
        ),
        (png(4, 0, b"\x33" * 16 + b"\x55" * 16, (b"tRNS", b"\0\5")), 51, 255),
        (png(2, 0, b"\0" * 8 + b"\x55" * 8, (b"tRNS", b"\0\1")), 0, 255),
        (png(1, 0, b"\xff" * 4 + b"\0" * 4, (b"tRNS", b"\0\0")), 255, 255),
        (png(16, 4, struct.pack(">64H", *[20000, 65535] * 32) + struct.pack(">64H", *[1000, 0] * 32)), 78, 255),
        (png(8, 3, b"\0" * 32 + b"\1" * 32, (b"PLTE", bytes([9] * 3 + [8] * 3)), (b"tRNS", b"\xff\0")), 9, 255),
    ],
)
def test_transparent_pixels_of_every_kind_of_png_become_white(content: bytes, kept: int, transparent: int) -> None:
    for channels in (1, 3):
        image, _, _ = decode(content, Preparation(8, 8, channels))
        assert image.shape == (channels, 8, 8)
        assert (image[:, 4, 1] == kept).all()
        assert (image[:, 4, 6] == transparent).all()


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    return encoded(Image.fromarray(values), "TIFF", **options)


STEP = np.repeat([[255, 128]], [32, 32], axis=1).repeat(64, axis=0)


@pytest.mark.parametrize(
    ("content", "levels", "note"),
    [
        (tiff(STEP.astype(np.uint8)), (255, 128), None),
        (tiff((STEP * 257).astype(np.uint16)), (255, 128), None),
        (tiff((STEP * 16).astype(np.uint16), tiffinfo={281: 4080}), (255, 128), None),
        (tiff((STEP * 16).astype(np.uint16)), (16, 8), "at most 4095 of 65535 are nearly black"),
        (tiff(STEP.astype(np.int32)), (255, 128), "32-bit pixel values of at most 255 are taken as 8 bits"),
        (tiff((STEP * 257).astype(np.int32)), (255, 128), None),
        (b"P5 64 64 4095\n" + (STEP * 16).astype(">u2").tobytes(), (254, 128), None),
    ],
)
def test_images_of_other_bit_depths_are_scaled_or_the_user_is_told(
    content: bytes, levels: tuple[int, int], note: str | None
) -> None:
    notes: list[str] = []
    image, _, _ = decode(content, Preparation(8, 8, 1), notes)
    assert (image[0, 4, 1], image[0, 4, 6]) == levels
    assert notes == [] if note is None else note in notes[0]


@pytest.mark.parametrize("values", [STEP.astype(np.int32) * 400, STEP.astype(np.int32) - 200, STEP.astype(np.float32)])
def test_pixels_that_do_not_fit_16_bits_are_refused(values: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="with 8 or 16 bits per channel"):
        decode(tiff(values), Preparation(8, 8))


@pytest.mark.usefixtures("cache")
def test_decoders_print_nothing_and_what_matters_is_told_with_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "set")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # Pillow warns from here on
    broken_exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0"
    noise().save(folder / "exif.jpg", exif=broken_exif)
    noise(size=(64, 64)).convert("1").save(folder / "fax.tif", compression="group4")
    noise(size=(64, 64)).save(folder / "deflate.tif", compression="tiff_adobe_deflate")
    noise().save(folder / "pages.gif", save_all=True, append_images=[noise(1)])
    for name, position in (("fax.tif", 100), ("deflate.tif", 2000)):
        content = bytearray((folder / name).read_bytes())
        content[position : position + 40] = bytes(range(200, 240))
        (folder / name).write_bytes(content)
    train, _ = load_both(folder)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert train.left_out == (("deflate.tif", "its pixels cannot be decoded, because the file is damaged"),)
    assert sorted(train.notes) == [
        "fax.tif: it is damaged, and some of its pixels may be wrong",
        "pages.gif: only the first of its frames or pages is used",
    ]
    assert train.complaint is not None
    assert "\n" not in train.complaint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (100_000,)}, "30,000,000,000 bytes"),
        ({"size": (20_000, 20_000)}, "1,200,000,000 bytes"),
        ({"size": (10**20,)}, "choose a smaller one"),
        ({"size": (0, 8)}, "at least one pixel"),
        ({"channels": 2}, "channels must be 1 or 3"),
    ],
)
def test_sizes_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_images(str(tmp_path), "train", **options)
    for tile_size in (0, 10**6):
        with pytest.raises(ConfigError, match="tile_size"):
            load_tiles(tmp_path, "train", tile_size=tile_size)
    with pytest.raises(DataError, match="unknown image set"):
        load_images("x" * 5000, "train")
