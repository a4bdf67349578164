"""Image files of every format that the program reads, of some that it should not, and bombs; made at run time."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from .inputs import smooth_image
from .mutations import BYTES, Mutation, mutate, png_chunks, png_of, png_surgery, tiff_surgery

COLOUR = Image.fromarray(smooth_image(7, 20, 26))
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")


@dataclass(frozen=True)
class Sample:
    """An image file: its suffix, its bytes, and a name for messages."""

    suffix: str
    content: bytes
    name: str


def in_mode(mode: str) -> Image.Image:
    """Return the test image in a mode of Pillow."""
    if mode == "I;16":
        return Image.fromarray(smooth_image(8, 20, 26, 1).astype(np.uint16) * 257)
    if mode == "LAB":
        return Image.merge("LAB", COLOUR.split())
    if mode in ("LA", "RGBA"):
        image = COLOUR.convert(mode)
        image.putalpha(Image.fromarray(smooth_image(9, 20, 26, 1)))
        return image
    return COLOUR.convert(mode)


def make_corpus() -> list[Sample]:
    """Return files of each format in each mode and with each option that this Pillow can write."""
    return [*_plain(), *_with_options(), *_with_metadata(), *_handmade()]


def _saved(image: Image.Image, kind: str, suffix: str, name: str, **options: object) -> Iterator[Sample]:
    file = io.BytesIO()
    with suppress(OSError, ValueError, KeyError, SystemError, TypeError):  # not every format holds every mode
        image.save(file, kind, **options)
        yield Sample(suffix, file.getvalue(), f"{kind} {name}")


def _plain() -> Iterator[Sample]:
    suffixes = {
        "PNG": "png", "JPEG": "jpg", "BMP": "bmp", "GIF": "gif", "TIFF": "tif", "WEBP": "webp", "AVIF": "avif",
        "PPM": "ppm", "JPEG2000": "jp2",
    }  # fmt: skip
    for kind, suffix in suffixes.items():
        for mode in MODES:
            yield from _saved(in_mode(mode), kind, suffix, mode)
    others = "ICO TGA PCX SGI DDS QOI EPS PDF IM SPIDER ICNS XBM MSP BLP PALM"
    for kind in others.split():
        image = in_mode("P" if kind in ("BLP", "PALM") else "1" if kind in ("XBM", "MSP") else "RGB")
        yield from _saved(image, kind, "png", "named .png")


def _with_options() -> Iterator[Sample]:
    compressions = "raw tiff_lzw tiff_adobe_deflate packbits jpeg group3 group4 lzma zstd webp"
    for compression in compressions.split():
        for mode in ("1", "L", "RGB", "RGBA", "I;16"):
            yield from _saved(in_mode(mode), "TIFF", "tif", f"{mode} {compression}", compression=compression)
    pages = [COLOUR, COLOUR.rotate(90), COLOUR.transpose(Image.Transpose.ROTATE_180)]
    suffixes = {"GIF": "gif", "TIFF": "tif", "WEBP": "webp", "PNG": "png", "AVIF": "avif", "MPO": "jpg"}
    for kind, suffix in suffixes.items():
        yield from _saved(pages[0], kind, suffix, "several", save_all=True, append_images=pages[1:])
    for subsampling in (0, 1, 2):
        yield from _saved(
            COLOUR, "JPEG", "jpeg", f"progressive {subsampling}", progressive=True, subsampling=subsampling
        )
    yield from _saved(COLOUR, "WEBP", "webp", "lossless", lossless=True)
    yield from _saved(in_mode("I;16"), "JPEG2000", "jp2", "16 bits lossless", irreversible=False)
    yield from _saved(COLOUR, "JPEG2000", "jp2", "tiles", tile_size=(8, 8))
    yield from _saved(in_mode("P"), "PNG", "png", "tRNS", transparency=3)
    yield from _saved(in_mode("L"), "PNG", "png", "grey tRNS", transparency=100)
    yield from _saved(in_mode("P"), "PNG", "png", "4 bits", bits=4)


def _with_metadata() -> Iterator[Sample]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("AVIF", "avif")):
        yield from _saved(COLOUR, kind, suffix, "EXIF and profile", exif=exif, icc_profile=profile, dpi=(300, 300))
        yield from _saved(COLOUR, kind, suffix, "XMP", xmp=xmp)
    text = PngInfo()
    text.add_text("Title", "a title")
    text.add_itxt("Comment", "ü" * 20, zip=True)
    yield from _saved(COLOUR, "PNG", "png", "text", pnginfo=text)


def _handmade() -> Iterator[Sample]:
    """Formats that Pillow reads and does not write."""
    pixels = smooth_image(11, 6, 8)
    grey = pixels[..., 0]
    plain = " ".join(map(str, pixels.ravel()))
    yield Sample("ppm", f"P3 8 6 255\n{plain}\n".encode(), "PPM plain")
    yield Sample("ppm", b"P6 8 6 65535\n" + (pixels.astype(">u2") * 257).tobytes(), "PPM 16 bits")
    yield Sample("pgm", b"P5 8 6 4095\n" + (grey.astype(">u2") * 16).tobytes(), "PGM 12 bits")
    yield Sample("pgm", b"# a comment\nP2\n8 6\n255\n" + " ".join(map(str, grey.ravel())).encode(), "PGM plain")
    yield Sample("ppm", b"Pf\n8 6\n-1.0\n" + grey.astype("<f4").tobytes(), "PFM")
    head = struct.pack("<IiiHHIIiiII", 40, 8, 6, 1, 8, 1, 0, 2835, 2835, 256, 0)
    palette = b"".join(bytes([index, index, index, 0]) for index in range(256))
    runs = b"".join(bytes([8, int(row[0])]) + b"\0\0" for row in grey) + b"\0\1"
    offset = 14 + len(head) + len(palette)
    yield Sample(
        "bmp", struct.pack("<2sIHHI", b"BM", offset + len(runs), 0, 0, offset) + head + palette + runs, "BMP RLE"
    )
    yield Sample(
        "png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n", "PostScript named .png"
    )
    yield Sample("png", b"", "empty file")
    yield Sample("jpg", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "SVG named .jpg")
    yield Sample("png", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(200), "HEIC named .png")


def bomb(draw: random.Random) -> Sample:
    """Return a small file that takes much memory or time if it is decoded without a limit."""
    return draw.choice(_BOMBS)(draw)


def _png(width: int, height: int, depth: int, colour: int, lines: bytes, *more: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png_of([(b"IHDR", head), *more, (b"IDAT", lines), (b"IEND", b"")])


def _zeros(size: int) -> bytes:
    """Return `size` zeros, compressed."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(1 << 20, size - start))) for start in range(0, size, 1 << 20)]
    return b"".join([*parts, packer.flush()])


def _large_png(draw: random.Random) -> Sample:
    depth, colour, samples = draw.choice(
        [(1, 0, 1), (8, 0, 1), (8, 2, 3), (8, 6, 4), (16, 6, 4), (16, 0, 1), (8, 3, 1)]
    )
    width, height = draw.choice([(9_000, 9_000), (13_000, 13_000), (16_000, 11_000), (170_000_000, 1), (1, 1_000_000)])
    line = 1 + -(-width * depth * samples // 8)
    more = [(b"PLTE", bytes(768)), (b"tRNS", bytes(255))] if colour == 3 else []
    lines = _zeros(min(line * height, 300_000_000))
    return Sample(
        "png", _png(width, height, depth, colour, lines, *more), f"PNG {width}x{height} {depth} bits colour {colour}"
    )


def _wrong_size(draw: random.Random) -> Sample:
    """A header that promises more pixels than the file holds."""
    side = draw.choice([5_000, 13_000, 30_000, 65_535])
    gif = struct.pack("<6s7B", b"GIF89a", 0, 0, 0, 0, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02L\x01\0;"
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 154, 0, 0, 54, 40, side, -side, 1, 32, 0, 0, 0, 0, 0, 0)
    big = draw.choice([1 << 20, 1 << 28, 0x7FFFFFFF])
    suffix, content = draw.choice(
        [
            ("png", _png(side, side, 8, 6, zlib.compress(bytes(100)))),
            ("gif", gif + frame),
            ("ppm", f"P6 {side} {side} 255\n".encode() + bytes(100)),
            ("ppm", f"P3 {big} {big} 255\n1 2 3".encode()),
            ("bmp", head + bytes(100)),
            ("jpg", _patched_jpeg(side)),
        ]
    )
    return Sample(suffix, content, f"header of {suffix} that promises {side}x{side} or more")


def _patched_jpeg(side: int) -> bytes:
    file = io.BytesIO()
    COLOUR.save(file, "JPEG", progressive=True)
    content = file.getvalue()
    place = content.index(b"\xff\xc2") + 5
    return content[:place] + struct.pack(">HH", side, side) + content[place + 4 :]


def _metadata_bomb(draw: random.Random) -> Sample:
    """Compressed metadata that unpacks to hundreds of megabytes."""
    kind, head = draw.choice([(b"zTXt", b"Comment\0\0"), (b"iCCP", b"profile\0\0"), (b"iTXt", b"Comment\0\1\0\0\0")])
    file = io.BytesIO()
    COLOUR.save(file, "PNG")
    chunks = png_chunks(file.getvalue())
    chunks[1:1] = [(kind, head + _zeros(300_000_000))] * draw.choice([1, 3])
    return Sample("png", png_of(chunks), f"PNG {kind.decode()} bomb")


def _many_frames(draw: random.Random) -> Sample:
    count = draw.choice([200, 2_000])
    file = io.BytesIO()
    frames = [Image.new("P", (64, 64), index % 256) for index in range(count)]
    kind, suffix = draw.choice([("GIF", "gif"), ("TIFF", "tif")])
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return Sample(suffix, file.getvalue(), f"{kind} of {count} frames")


_BOMBS: tuple[Callable[[random.Random], Sample], ...] = (
    _large_png,
    _wrong_size,
    _wrong_size,
    _metadata_bomb,
    _many_frames,
)


def mutated(corpus: list[Sample], draw: random.Random) -> Sample:
    """Return a damaged file of the corpus, a splice of two, one with another format's suffix, or an undamaged one."""
    sample = draw.choice(corpus)
    action = draw.random()
    if action < 0.04:
        return sample
    if action < 0.08:
        return Sample(draw.choice(corpus).suffix, sample.content, f"{sample.name} with another suffix")
    if action < 0.16:
        other = draw.choice(corpus)
        cut, start = draw.randrange(len(sample.content) + 1), draw.randrange(len(other.content) + 1)
        return Sample(
            sample.suffix, sample.content[:cut] + other.content[start:], f"{sample.name} with the end of {other.name}"
        )
    kinds: tuple[Mutation, ...] = BYTES
    if sample.content.startswith(b"\x89PNG"):
        kinds = (*BYTES, *[png_surgery] * 8)
    elif sample.content[:2] in (b"II", b"MM"):
        kinds = (*BYTES, *[tiff_surgery] * 8)
    content, names = mutate(sample.content, draw, kinds)
    return Sample(sample.suffix, content, f"{sample.name}: {names}")
