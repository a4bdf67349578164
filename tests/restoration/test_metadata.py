"""What photographs hold beside the pixels is kept or its loss is told, for files that ImageMagick has made.

The table of docs/restoration.md is walked: every format that is read, every format that is written, every property.
"""

import io
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from logcosh_vae.restoration import metadata, photographs
from logcosh_vae.restoration.containers import png_chunk

CONVERT = shutil.which("convert")
needs_convert = pytest.mark.skipif(CONVERT is None, reason="ImageMagick is not installed")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "restoration.md"
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "AVIF": "avif", "TIFF": "tif", "BMP": "bmp", "PPM": "ppm"}
TIFF_NAMESPACE = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description {TIFF_NAMESPACE} tiff:Orientation="6" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'dc:format="hello"/></rdf:RDF></x:xmpmeta>'
)
IPTC = b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x5a\0\x03Ulm"
"""A Photoshop resource with the IPTC field of the city."""

SOURCES = {
    "jpg": {"EXIF", "XMP", "colour profile", "resolution", "comment", "IPTC"},
    "png": {"EXIF", "XMP", "colour profile", "resolution", "text"},
    "webp": {"EXIF", "colour profile"},
    "tif": {"EXIF", "XMP", "colour profile", "resolution", "IPTC"},
    "bmp": {"colour profile", "resolution"},
    "gif": {"colour profile", "comment"},
    "ppm": {"comment"},
}
"""What ImageMagick stores in files of each format."""


def table() -> dict[str, dict[str, str]]:
    """Return the table of the documentation: what becomes of each property, by format."""
    lines = DOCS.read_text(encoding="utf-8").split("### What a restored file keeps")[1].split("\n\n")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def convert(*arguments: str | Path) -> None:
    assert CONVERT is not None
    subprocess.run([CONVERT, *map(str, arguments)], check=True, timeout=60)


def coarse_picture(height: int = 48, width: int = 64) -> Image.Image:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8))
    return noise.resize((width, height), Image.Resampling.BICUBIC)


def rewritten(source: Path, target: Path) -> tuple[str, ...]:
    photograph = photographs.read(source)
    return photographs.write(photograph, photograph.pixels, target)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `a.jpg` that holds everything, and what ImageMagick makes of it in other formats."""
    folder, exif = tmp_path_factory.mktemp("originals"), Image.Exif()
    exif[0x010E], exif[0x0112] = "a picture", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, Any] = {"exif": exif, "xmp": XMP.encode(), "icc_profile": profile, "comment": b"a comment"}
    content = io.BytesIO()
    coarse_picture().save(content, "jpeg", quality=90, dpi=(300, 300), **options)
    data, body = content.getvalue(), b"Photoshop 3.0\0" + IPTC
    data = data[:20] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + data[20:]
    (folder / "a.jpg").write_bytes(data)
    for suffix in SOURCES.keys() - {"jpg"}:
        convert(folder / "a.jpg", folder / f"a.{suffix}")
    return folder


def properties(path: Path) -> set[str]:
    """Return which properties of `a.jpg` a file has."""
    with Image.open(path) as picture:
        info, exif = picture.info, picture.getexif()
        found = {
            "EXIF": exif.get(0x010E) in ("a picture", "a comment"),  # ImageMagick replaces it in TIFF files
            "XMP": b'dc:format="hello"' in path.read_bytes(),
            "colour profile": "icc_profile" in info,
            "resolution": abs(info.get("dpi", (0, 0))[0] - 300) < 1,
            "comment": b"a comment" in (info.get("comment"), str(info.get("Comment")).encode()),
            "IPTC": b"Ulm" in path.read_bytes(),
            "text": "date:create" in info,
        }
    return {name for name, present in found.items() if present}


@needs_convert
@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_property_is_kept_or_its_loss_is_told(originals: Path, tmp_path: Path, source: str, target: str) -> None:
    notes = " ".join(rewritten(originals / f"a.{source}", tmp_path / f"b.{SUFFIXES[target]}"))
    kept = {name for name, row in table().items() if row[target] == "kept"}
    assert properties(tmp_path / f"b.{SUFFIXES[target]}") & SOURCES[source] == SOURCES[source] & kept
    assert {name for name in SOURCES[source] if f"its {name}" in notes} == SOURCES[source] - kept, notes
    before, after = (photographs.read(path).pixels for path in (originals / f"a.{source}", next(tmp_path.glob("b.*"))))
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).mean() < (8 if source == "gif" else 3)  # a GIF file is dithered


def test_table_of_the_documentation_is_that_of_the_code() -> None:
    rows = table()
    for name, suffix in SUFFIXES.items():
        target = metadata.FORMATS[f".{suffix}"]
        stated = {row for row, cells in rows.items() if cells[name] == "kept"}
        names = stated & set().union(*metadata.HOLDS.values())
        assert names == metadata.HOLDS[target] & rows.keys()
        assert (rows["transparency"][name] == "kept") == (target in photographs.ALPHA_FORMATS)
    assert metadata.HOLDS.keys() == set(metadata.FORMATS.values())


@needs_convert
@pytest.mark.parametrize("target", SUFFIXES.values())
@pytest.mark.parametrize("source", ["jpg", "png"])
def test_orientation_in_xmp_alone_turns_the_picture(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "x.xmp").write_text(XMP, encoding="utf-8")
    coarse_picture().save(tmp_path / "p.png")
    convert(tmp_path / "p.png", "-profile", f"xmp:{tmp_path / 'x.xmp'}", tmp_path / f"a.{source}")
    rewritten(tmp_path / f"a.{source}", tmp_path / f"b.{target}")
    upright = np.asarray(coarse_picture().transpose(Image.Transpose.ROTATE_270)).astype(int)
    with Image.open(tmp_path / f"b.{target}") as written:  # by a program that does not read XMP
        assert np.abs(np.asarray(written.convert("RGB")) - upright).mean() < 6
    assert photographs.read(tmp_path / f"b.{target}").pixels.shape == upright.shape


@pytest.mark.parametrize("compression", ["raw", "tiff_deflate"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "I;16"])
def test_oriented_tiff_files_keep_their_pixels(tmp_path: Path, mode: str, compression: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (24, 31)).astype(np.uint8)
    picture = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    picture = picture if mode == "I;16" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.tif", exif=exif, compression=compression)
    rewritten(tmp_path / "a.tif", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as written:
        upright = np.asarray(picture.convert(written.mode).transpose(Image.Transpose.ROTATE_270))
        np.testing.assert_array_equal(np.asarray(written), upright)


@pytest.mark.parametrize("source", ["png", "webp"])
def test_exif_too_long_for_a_jpeg_is_shortened_and_told(tmp_path: Path, source: str) -> None:
    exif = Image.Exif()
    exif[0x010E], exif.get_ifd(0x8769)[0x927C] = "a picture", bytes(range(256)) * 300
    coarse_picture().save(tmp_path / f"a.{source}", exif=exif)
    for target, note in (("jpg", "shortened: maker note left out"), ("png", "")):
        notes = rewritten(tmp_path / f"a.{source}", tmp_path / f"b.{target}")
        assert note in " ".join(notes)
        with Image.open(tmp_path / f"b.{target}") as written:
            assert written.getexif()[0x010E] == "a picture"
            assert (0x927C in written.getexif().get_ifd(0x8769)) == (not note)


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
def test_gamma_and_chromaticities_give_the_same_look(tmp_path: Path, target: str) -> None:
    coarse_picture().save(tmp_path / "p.png")
    data, linear_light = (tmp_path / "p.png").read_bytes(), (100_000).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data[:33] + png_chunk(b"gAMA", linear_light) + data[33:])
    rewritten(tmp_path / "a.png", tmp_path / f"b.{target}")
    linear = np.asarray(coarse_picture()) / 255
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    with Image.open(tmp_path / f"b.{target}") as written:
        if target == "png":
            assert written.info["gamma"] == 1.0
            return
        profile = ImageCms.ImageCmsProfile(io.BytesIO(written.info["icc_profile"]))
        srgb = ImageCms.createProfile("sRGB")
        seen = ImageCms.profileToProfile(written.convert("RGB"), profile, srgb, outputMode="RGB")
    assert seen is not None
    assert np.abs(np.asarray(seen) - expected).mean() < (1 if target == "tif" else 4)


@needs_convert
@pytest.mark.parametrize("factors", ["1x2", "4x1", "1x4", "3x1", "2x4", "2x2,2x1,1x1", "2x1", "2x2"])
def test_jpeg_keeps_its_sampling_and_quality(tmp_path: Path, factors: str) -> None:
    coarse_picture(160, 240).save(tmp_path / "p.png")
    convert(tmp_path / "p.png", "-sampling-factor", factors, "-quality", "88", tmp_path / "a.jpg")
    assert rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg") == ()
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
        sampling = [[layer[1:3] for layer in picture.layer] for picture in (before, after)]  # type: ignore[attr-defined]
        assert sampling[0] == sampling[1]
        assert list(before.quantization.values()) == list(after.quantization.values())  # type: ignore[attr-defined]
        assert np.abs(np.asarray(before).astype(int) - np.asarray(after)).mean() < 2.5


@needs_convert
@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        ("a.ppm", ["-depth", "16"], "its 16 bits per colour are reduced to 8"),
        ("b.ppm", ["-depth", "10"], "its 10 bits per colour are reduced to 8"),
        ("a.jp2", ["-depth", "12"], "its 12 bits per colour are reduced to 8"),
        ("a.tif", ["-depth", "16"], "its 16 bits per colour are reduced to 8"),
        ("a.png", ["-define", "png:bit-depth=16"], "its 16 bits per colour are reduced to 8"),
        ("a.jpg", ["-colorspace", "CMYK"], "inks"),
    ],
)
def test_what_no_format_keeps_is_told(tmp_path: Path, name: str, options: list[str], note: str) -> None:
    Image.fromarray(np.asarray(coarse_picture())).save(tmp_path / "p.png")
    convert(tmp_path / "p.png", *options, tmp_path / name)
    assert note in " ".join(rewritten(tmp_path / name, tmp_path / "out.png"))


@pytest.mark.parametrize(
    ("marker", "payload", "note"),
    [
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(8), "HDR gain map"),
        (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>', "HDR gain"),
        (0xEB, b"JP\0\1" + bytes(20), "content credentials"),
    ],
)
def test_further_layers_of_a_jpeg_are_told(tmp_path: Path, marker: int, payload: bytes, note: str) -> None:
    content = io.BytesIO()
    coarse_picture().save(content, "jpeg")
    segment = bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload
    (tmp_path / "a.jpg").write_bytes(content.getvalue()[:20] + segment + content.getvalue()[20:])
    assert note in " ".join(rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg"))


@pytest.mark.parametrize("chunk", [b"pHYs", b"bKGD", b"gAMA", b"zTXt", b"q1w2"])
def test_damaged_chunks_of_a_png_are_not_copied(tmp_path: Path, chunk: bytes) -> None:
    coarse_picture().save(tmp_path / "p.png")
    data, damaged = (tmp_path / "p.png").read_bytes(), png_chunk(chunk, b"\0\0\1")[:-1] + b"?"
    (tmp_path / "a.png").write_bytes(data[:33] + damaged + data[33:])
    try:
        rewritten(tmp_path / "a.png", tmp_path / "b.png")
    except photographs.DataError:
        return
    assert photographs.read(tmp_path / "b.png").pixels.shape == (48, 64, 3)
    assert damaged[4:-4] not in (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"])
def test_damage_of_tiff_files_is_told_and_nothing_else_is_printed(
    tmp_path: Path, compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = coarse_picture(96, 128)
    picture.convert("1" if compression == "group4" else "RGB").save(tmp_path / "a.tif", compression=compression)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for position in range(60, len(data) - 300, 37):
        data[position] ^= 0xFF
    (tmp_path / "a.tif").write_bytes(data)
    told = ""
    try:
        told = " ".join(photographs.read(tmp_path / "a.tif").notes)
    except photographs.DataError as error:
        told = str(error)
    assert "damaged" in told or compression == "packbits"  # which has no check of its own
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("target", SUFFIXES.values())
@pytest.mark.parametrize("exif", [b"3\4MM\0*\0\0", b"MM\0*\0\0\xff\xff", b"II*\0\x08\0\0\0\x09\0" + bytes(9), b""])
def test_damaged_exif_does_not_prevent_a_result(tmp_path: Path, exif: bytes, target: str) -> None:
    content, payload = io.BytesIO(), b"Exif\0\0" + exif
    coarse_picture().save(content, "jpeg")
    segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
    (tmp_path / "a.jpg").write_bytes(content.getvalue()[:20] + segment + content.getvalue()[20:])
    rewritten(tmp_path / "a.jpg", tmp_path / f"b.{target}")
    assert photographs.read(tmp_path / f"b.{target}").pixels.shape == (48, 64, 3)


@needs_convert
@pytest.mark.parametrize("target", ["jpg", "tif", "png", "webp"])
def test_iptc_in_the_text_of_a_png_is_kept_or_named(originals: Path, tmp_path: Path, target: str) -> None:
    convert(originals / "a.jpg", "-set", "Title", "x", tmp_path / "a.png")  # as hexadecimal text
    assert b"Ulm" not in (tmp_path / "a.png").read_bytes()
    notes = " ".join(rewritten(tmp_path / "a.png", tmp_path / f"b.{target}"))
    assert (b"Ulm" in (tmp_path / f"b.{target}").read_bytes()) == (target in ("jpg", "tif"))
    assert ("its IPTC" in notes) == (target == "webp")
    assert "iptc" not in notes
    assert "8bim" not in notes
    if target == "png":
        rewritten(tmp_path / "b.png", tmp_path / "c.jpg")
        assert b"Ulm" in (tmp_path / "c.jpg").read_bytes()


LINEAR = struct.pack(">I", 100_000)
ADOBE_RGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


@pytest.mark.parametrize(
    ("chunks", "named"),
    [
        ({b"gAMA": LINEAR}, "its gamma"),
        ({b"cHRM": ADOBE_RGB}, "its chromaticities"),
        ({b"gAMA": LINEAR, b"cHRM": ADOBE_RGB}, "its gamma and chromaticities"),
    ],
)
def test_what_a_png_says_of_its_colours_is_named_as_what_it_is(
    tmp_path: Path, chunks: dict[bytes, bytes], named: str
) -> None:
    coarse_picture().save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    added = b"".join(png_chunk(kind, content) for kind, content in chunks.items())
    (tmp_path / "a.png").write_bytes(data[:33] + added + data[33:])
    assert rewritten(tmp_path / "a.png", tmp_path / "b.bmp") == (f"a BMP file does not keep {named}",)


@pytest.mark.parametrize(
    ("mode", "chunk", "target_chunk"),
    [
        ("P", (b"bKGD", b"\1"), (b"bKGD", b"\0\xff\0\x80\0\0")),
        ("P", (b"sBIT", b"\5\6\5"), (b"sBIT", b"\5\6\5")),
        ("1", (b"bKGD", b"\0\1"), (b"bKGD", b"\0\xff")),
        ("1", (b"sBIT", b"\1"), (b"sBIT", b"\1")),
        ("RGB", (b"bKGD", b"\0\1\0\2\0\3"), (b"bKGD", b"\0\1\0\2\0\3")),
        ("P", (b"bKGD", b"\x09"), None),
        ("1", (b"sBIT", b"\1\1"), None),
    ],
)
def test_levels_in_chunks_follow_the_pixel_format(
    tmp_path: Path, mode: str, chunk: tuple[bytes, bytes], target_chunk: tuple[bytes, bytes] | None
) -> None:
    picture = Image.new(mode, (1, 1))
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 128, 0])
    picture.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    place = data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:place] + png_chunk(*chunk) + data[place:])
    notes = rewritten(tmp_path / "a.png", tmp_path / "b.png")
    content = (tmp_path / "b.png").read_bytes()
    if target_chunk is None:
        assert notes == (f"its {chunk[0].decode()} chunk is damaged and is not copied",)
        assert chunk[0] not in content
    else:
        assert notes == ()
        assert png_chunk(*target_chunk) in content


def test_fields_of_a_tiff_file_that_do_not_describe_the_pixels_are_kept(tmp_path: Path) -> None:
    fields = {269: "a document", 297: (3, 7), 337: "a printer", 266: 1}
    coarse_picture().save(tmp_path / "a.tif", tiffinfo=fields)
    assert rewritten(tmp_path / "a.tif", tmp_path / "b.tif") == ()
    with Image.open(tmp_path / "b.tif") as written:
        assert {tag: written.tag_v2[tag] for tag in fields} == fields  # type: ignore[attr-defined]


def test_a_resolution_is_not_invented(tmp_path: Path) -> None:
    coarse_picture().save(tmp_path / "a.png")
    for suffix in SUFFIXES.values():
        assert rewritten(tmp_path / "a.png", tmp_path / f"b.{suffix}") == ()
        assert photographs.read(tmp_path / f"b.{suffix}").metadata.density is None


def test_postscript_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n")
    with pytest.raises(
        photographs.DataError, match="is not a picture in a supported format: it is PostScript, which is a program"
    ):
        photographs.read(tmp_path / "a.png")


def grey_with_transparent_level(path: Path) -> Image.Image:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (24, 31)).astype(np.uint16))
    picture.putpixel((3, 2), 4660)
    picture.save(path, transparency=4660)
    return picture


def test_transparent_level_of_16_bit_grey_is_kept(tmp_path: Path) -> None:
    picture = grey_with_transparent_level(tmp_path / "a.png")
    rewritten(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as written:
        assert written.info["transparency"] == 4660
        np.testing.assert_array_equal(np.asarray(written), np.asarray(picture))
    notes = rewritten(tmp_path / "a.png", tmp_path / "c.tif")
    assert "16 bits are reduced to 8" in " ".join(notes)
    with Image.open(tmp_path / "c.tif") as written:
        assert written.mode == "LA"
        assert (np.asarray(written.getchannel("A")) == 0).sum() == (np.asarray(picture) == 4660).sum()


DRAWINGS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "RGBA": lambda drawing: drawing,
    "LA": lambda drawing: drawing.convert("LA"),
    "P": lambda drawing: drawing.quantize(4),
    "L": lambda drawing: drawing.getchannel("A"),
    "1": lambda drawing: drawing.getchannel("A").convert("1"),
    "I;16": lambda drawing: Image.fromarray(np.asarray(drawing.getchannel("A")).astype(np.uint16) * 257),
}


@pytest.mark.parametrize("mode", DRAWINGS)
def test_mask_is_luminance_times_opacity_in_every_mode(tmp_path: Path, mode: str) -> None:
    drawing = Image.new("RGBA", (31, 24), (255, 255, 255, 0))
    drawing.paste((255, 255, 255, 255), (5, 7, 15, 12))
    DRAWINGS[mode](drawing).save(tmp_path / "mask.png")
    expected = np.zeros((24, 31), bool)
    expected[7:12, 5:15] = True
    np.testing.assert_array_equal(photographs.read_mask(tmp_path / "mask.png"), expected)


def test_mask_without_a_marked_pixel_is_rejected(tmp_path: Path) -> None:
    for name, colour in (("black", (0, 0, 0, 255)), ("transparent", (255, 255, 255, 0))):
        Image.new("RGBA", (9, 9), colour).save(tmp_path / f"{name}.png")
        with pytest.raises(photographs.DataError, match="marks no pixel: draw the parts that may change in white"):
            photographs.read_mask(tmp_path / f"{name}.png")
