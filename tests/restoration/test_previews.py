"""Previews in the metadata of a picture show the restored picture, or are left out with a note."""

import base64
import io
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.containers import jpeg_segment, png_chunk
from logcosh_vae.restoration.embedded import holds_image, jpeg_ranges
from logcosh_vae.restoration.exif_thumbnail import renew_thumbnail

EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")
NOTE = "may show it before restoration"
BLOCKS = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
SOURCE = Image.fromarray(BLOCKS.repeat(8, axis=0).repeat(8, axis=1))
"""The picture before restoration."""
CITY = b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x5a\0\x03Ulm"


def jpeg(picture: Image.Image = SOURCE, size: tuple[int, int] = (64, 48), quality: int = 90) -> bytes:
    content = io.BytesIO()
    picture.resize(size).save(content, "jpeg", quality=quality)
    return content.getvalue()


THUMBNAIL = jpeg()
SCAN = THUMBNAIL[-200:-2]
"""Bytes that only the former thumbnail has."""


def restored(source: Path, target: Path) -> str:
    """Write the negative of a picture, as if it had been restored; returns the notes."""
    photograph = photographs.read(source)
    return " ".join(photographs.write(photograph, 255 - photograph.pixels, target))


def with_segments(path: Path, *segments: bytes) -> None:
    content = jpeg(size=SOURCE.size)
    path.write_bytes(content[:20] + b"".join(segments) + content[20:])


def exif_with_thumbnail(order: str = "<", maker_note: bytes = b"", orientation: int = 1) -> bytes:
    """Return an EXIF block with a description, a maker note and a JPEG thumbnail."""
    number = lambda tag, kind, value: struct.pack(order + "HHII", tag, kind, 1, value)  # noqa: E731
    short = lambda tag, value: struct.pack(order + "HHIHH", tag, 3, 1, value, 0)  # noqa: E731
    first, second = 8, 8 + 2 + 3 * 12 + 4
    pixels = second + 2 + 5 * 12 + 4 + len(maker_note)
    sizes = [short(0x100, 64), short(0x101, 48), short(0x112, 1)]
    return b"".join([
        {"<": b"II", ">": b"MM"}[order], struct.pack(order + "HI", 42, first),
        struct.pack(order + "H", 3), struct.pack(order + "HHI4s", 0x10E, 2, 4, b"abc\0"), short(0x112, orientation),
        struct.pack(order + "HHIII", 0x927C, 7, len(maker_note), pixels - len(maker_note), second),
        struct.pack(order + "H", 5), *sizes, number(0x201, 4, pixels), number(0x202, 4, len(THUMBNAIL)), bytes(4),
        maker_note, THUMBNAIL,
    ])  # fmt: skip


def thumbnail_in(exif: bytes) -> bytes:
    (begin, end), *others = jpeg_ranges(exif)
    assert not others
    return exif[begin:end]


@needs_exiftool
@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif", "avif", "bmp"])
@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
def test_the_thumbnail_that_exiftool_reads_shows_the_result(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "thumbnail.jpg").write_bytes(THUMBNAIL)
    SOURCE.save(tmp_path / "a.jpg")
    assert EXIFTOOL is not None
    command = [EXIFTOOL, "-q", "-overwrite_original", "-Make=maker", f"-ThumbnailImage<={tmp_path / 'thumbnail.jpg'}"]
    subprocess.run([*command, tmp_path / "a.jpg"], check=True, timeout=60)
    with Image.open(tmp_path / "a.jpg") as picture:
        exif = picture.info["exif"]
    assert SCAN in exif
    SOURCE.save(tmp_path / f"a.{source}", **({"exif": exif} if source != "jpg" else {"exif": exif, "quality": 95}))
    notes = restored(tmp_path / f"a.{source}", tmp_path / f"b.{target}")
    assert SCAN not in (tmp_path / f"b.{target}").read_bytes()
    arguments = [EXIFTOOL, "-b", "-ThumbnailImage", tmp_path / f"b.{target}"]
    found = subprocess.run(arguments, capture_output=True, check=True, timeout=60).stdout
    if target in ("jpg", "png", "webp"):
        assert NOTE not in notes
        assert len(found) <= len(THUMBNAIL)
        with Image.open(io.BytesIO(found)) as shown:
            assert shown.size == (64, 48)
            difference = np.abs(np.asarray(shown).astype(int) - (255 - np.asarray(SOURCE.resize((64, 48))).astype(int)))
        assert difference.mean() < 20
    else:
        assert found == b""
        assert target == "bmp" or f"its EXIF thumbnail, which {NOTE}" in notes


@pytest.mark.parametrize("order", "<>")
def test_only_the_thumbnail_of_an_exif_block_changes(order: str) -> None:
    note = b"a note\0\1\2\3" * 10
    before = exif_with_thumbnail(order, note)
    after, lost = renew_thumbnail(before, SOURCE.convert("L").rotate(90, expand=True), orientation=6)
    assert lost == []
    with Image.open(io.BytesIO(thumbnail_in(after))) as shown:
        assert shown.size == (48, 64)
    start = before.index(THUMBNAIL)
    differences = [index for index in range(start) if before[index] != after[index]]
    # only the width, height, orientation and length of the second directory
    assert len(differences) <= 6
    assert min(differences) > before.index(struct.pack(order + "HHI", 0x100, 3, 1))
    without, lost = renew_thumbnail(before, None)
    assert lost == ["EXIF thumbnail"]
    assert not jpeg_ranges(without)
    assert note in without


@pytest.mark.parametrize("first_byte", [b"\xff", b"\0"])
def test_previews_in_maker_notes_are_blanked_and_told(first_byte: bytes) -> None:
    note = b"maker" + first_byte + THUMBNAIL[1:] + b"end of note"
    after, lost = renew_thumbnail(exif_with_thumbnail(maker_note=note), SOURCE)
    assert lost == ["EXIF preview"]
    assert len(jpeg_ranges(after)) == 1
    assert b"maker" + bytes(len(THUMBNAIL)) + b"end of note" in after


def test_uncompressed_thumbnails_are_blanked() -> None:
    pixels = bytes(range(1, 49))
    number = lambda tag, value: struct.pack("<HHII", tag, 4, 1, value)  # noqa: E731
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHI4sI", 1, 0x10E, 2, 4, b"abc\0", 26)
    block += struct.pack("<H", 2) + number(0x111, 56) + number(0x117, 48) + bytes(4) + pixels
    after, lost = renew_thumbnail(block, SOURCE)
    assert lost == ["EXIF thumbnail"]
    assert pixels not in after
    assert after[:22] == block[:22]


def test_damaged_exif_never_keeps_a_thumbnail() -> None:
    rng = np.random.default_rng(0)
    whole = exif_with_thumbnail()
    start = whole.index(THUMBNAIL)
    for _ in range(2000):
        damaged = bytearray(whole)
        for position in rng.integers(0, start, rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        after, _ = renew_thumbnail(bytes(damaged), SOURCE)
        assert SCAN not in after
        assert len(after) <= len(whole)


@pytest.mark.parametrize("number", [0x0409, 0x040C])
@pytest.mark.parametrize("target", ["jpg", "tif"])
def test_photoshop_thumbnails_are_left_out_and_other_resources_kept(tmp_path: Path, number: int, target: str) -> None:
    content = bytes(28) + THUMBNAIL
    block = b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
    segments = [CITY + block[:100], block[100:] + CITY.replace(b"Ulm", b"Bei")]  # cut anywhere, as Photoshop does
    with_segments(tmp_path / "a.jpg", *(jpeg_segment(0xED, b"Photoshop 3.0\0" + data) for data in segments))
    notes = restored(tmp_path / "a.jpg", tmp_path / f"b.{target}")
    assert f"its Photoshop thumbnail, which {NOTE}, is left out" in notes
    data = (tmp_path / f"b.{target}").read_bytes()
    assert SCAN not in data
    assert b"Ulm" in data
    assert b"Bei" in data
    if target == "tif":  # and one that has it already
        photograph = photographs.read(tmp_path / "b.tif")
        tags = photograph.metadata.tags.with_bytes(34377, CITY + block, 1)
        assert tags.data(34377).count(SCAN) == 1
        object.__setattr__(photograph.metadata, "tags", tags)
        assert "Photoshop thumbnail" in " ".join(photographs.write(photograph, photograph.pixels, tmp_path / "c.tif"))
        assert SCAN not in (tmp_path / "c.tif").read_bytes()


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif", "avif"])
def test_images_in_xmp_are_left_out(tmp_path: Path, target: str) -> None:
    lines = base64.encodebytes(THUMBNAIL).decode().replace("\n", "&#xA;")
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:xap="http://ns.adobe.com/xap/1.0/" xmlns:xapGImg="http://ns.adobe.com/xap/1.0/g/img/" '
        'xmlns:GImage="http://ns.google.com/photos/1.0/image/" xap:CreatorTool="hello" '
        f'GImage:Data="{base64.b64encode(THUMBNAIL).decode()}"><xap:Thumbnails><rdf:Alt><rdf:li>'
        f"<xapGImg:image>{lines}</xapGImg:image></rdf:li></rdf:Alt></xap:Thumbnails></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    SOURCE.save(tmp_path / "a.jpg", xmp=xmp.encode())
    assert f"its image in XMP, which {NOTE}, is left out" in restored(tmp_path / "a.jpg", tmp_path / f"b.{target}")
    data = (tmp_path / f"b.{target}").read_bytes()
    assert b"/9j/" not in data
    assert b"Thumbnails" not in data
    assert b'CreatorTool="hello"' in data


def test_segments_with_images_are_left_out_whole_and_others_kept(tmp_path: Path) -> None:
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32
    text = b'<x GImage:Data="' + base64.b64encode(THUMBNAIL) + b'"/>'
    with_segments(
        tmp_path / "a.jpg",
        jpeg_segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x xmpNote:HasExtendedXMP="00" kept="yes"/>'),
        *(jpeg_segment(0xE1, extended + bytes(8) + part) for part in (text[:18], text[18:])),
        jpeg_segment(0xE2, b"FPXR\0" + THUMBNAIL[:700]),
        jpeg_segment(0xE2, b"FPXR\0" + THUMBNAIL[700:]),
        jpeg_segment(0xE4, b"other\0program"),
        jpeg_segment(0xE0, b"JFXX\0\x10" + THUMBNAIL),
    )
    notes = restored(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert f"its extended XMP with an image, image in APP2 and JFIF thumbnail, which {NOTE}, are left out" in notes
    data = (tmp_path / "b.jpg").read_bytes()
    for gone in (SCAN, b"/9j/", text[-30:-5], b"FPXR", b"HasExtendedXMP"):
        assert gone not in data
    for kept in (b"other\0program", b'kept="yes"'):
        assert kept in data


def test_chunks_with_images_or_about_the_former_pixels_are_left_out(tmp_path: Path) -> None:
    content = io.BytesIO()
    SOURCE.save(content, "png")
    data, resource = content.getvalue(), b"8BIM" + struct.pack(">HHI", 0x040C, 0, len(THUMBNAIL)) + THUMBNAIL
    profile = b"\n8bim\n%8d\n%s\n" % (len(resource), resource.hex().encode())
    chunks = [
        png_chunk(b"zTXt", b"Raw profile type 8bim\0\0" + zlib.compress(profile)),
        png_chunk(b"tEXt", b"icon\0" + base64.b64encode(THUMBNAIL)),
        png_chunk(b"tEXt", b"Title\0kept"),
        png_chunk(b"prVW", b"unsafe to copy"),
        png_chunk(b"prVt", b"safe to copy"),
        png_chunk(b"icOn", THUMBNAIL),
    ]
    (tmp_path / "a.png").write_bytes(data[:33] + b"".join(chunks) + data[33:])
    notes = restored(tmp_path / "a.png", tmp_path / "b.png")
    for name in ("zTXt", "tEXt", "prVW", "icOn"):
        assert f"{name} chunk" in notes
    written = (tmp_path / "b.png").read_bytes()
    for gone in (SCAN, profile[-50:], b"Raw profile", b"/9j/", b"prVW"):
        assert gone not in written
    for kept in (b"Title\0kept", b"safe to copy"):
        assert kept in written


def test_ordinary_metadata_holds_no_image() -> None:
    rng = np.random.default_rng(0)
    assert not holds_image(rng.integers(0, 256, 1 << 20).astype(np.uint8).tobytes())
    assert not holds_image(b"\xff\xd8\xff\xe0 and so on" + bytes(100))
    assert not holds_image(b"see /9j/path and " + b"words " * 50)
    assert holds_image(THUMBNAIL[:-1000] + b"cut off")
