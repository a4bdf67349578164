"""Damaged metadata is not copied, and a note names it; what is intact is copied as it is."""

import io
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from logcosh_vae.base.own_outputs import mark_picture
from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.containers import jpeg_segment, png_chunk
from logcosh_vae.restoration.damage import are_whole_resources, is_whole_xmp, repair_exif

EXIFTOOL = shutil.which("exiftool")
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
IPTC = b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x5a\0\x03Ulm"


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010E], exif[0x010F], exif[0x0112] = "a picture of a lake", "a maker of cameras", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def with_entry(block: bytes, tag: int, entry: bytes) -> bytes:
    """Replace what follows the tag of a field in the block's directories."""
    order = "<" if block.startswith(b"II") else ">"
    place = block.index(struct.pack(order + "H", tag), 8)
    return block[: place + 2] + entry + block[place + 12 :]


BAD_DIRECTORY = exif_block()[:8] + b"\xff\xff" + exif_block()[10:]
BAD_OFFSET = with_entry(exif_block(), 0x010F, struct.pack(">HII", 2, 40, 1 << 20))
BAD_TYPE = with_entry(exif_block(), 0x010F, struct.pack(">HII", 200, 1, 0))
BAD_POINTER = with_entry(exif_block(), 0x8769, struct.pack(">HII", 4, 1, 1 << 20))


def save(path: Path, **metadata: bytes) -> None:
    """Write a JPEG, PNG or WebP picture with metadata as it is."""
    content = io.BytesIO()
    if path.suffix == ".webp":
        keys = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
        PICTURE.save(path, lossless=True, **{keys[name]: data for name, data in metadata.items()})
        return
    PICTURE.save(content, {".jpg": "jpeg", ".png": "png"}[path.suffix])
    data, parts = content.getvalue(), b""
    for name, value in metadata.items():
        if path.suffix == ".jpg":
            marker, header = {
                "exif": (0xE1, b"Exif\0\0"),
                "xmp": (0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
                "icc": (0xE2, b"ICC_PROFILE\0\1\1"),
                "iptc": (0xED, b"Photoshop 3.0\0"),
            }[name]
            parts += jpeg_segment(marker, header + value)
        else:
            kind, header = {"exif": (b"eXIf", b""), "xmp": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0")}.get(
                name, (b"iCCP", b"p\0\0")
            )
            parts += png_chunk(kind, header + (zlib.compress(value) if kind == b"iCCP" else value))
    start = 20 if path.suffix == ".jpg" else 33
    path.write_bytes(data[:start] + parts + data[start:])


def rewritten(source: Path, target: Path) -> str:
    photograph = photographs.read(source)
    notes = photographs.write(photograph, photograph.pixels, target)
    if EXIFTOOL is not None:
        warnings = subprocess.run(
            [EXIFTOOL, "-warning", target], capture_output=True, text=True, check=True, timeout=60
        )
        assert warnings.stdout == ""
    return "; ".join(notes)


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("name", "data", "note"),
    [
        ("exif", BAD_DIRECTORY, "its EXIF is damaged and is not copied"),
        ("exif", b"garbage", "its EXIF is damaged and is not copied"),
        ("icc", PROFILE[:200], "its colour profile is damaged and is not copied"),
        ("icc", b"garbage", "its colour profile is damaged and is not copied"),
        ("xmp", XMP[:-20], "its XMP is damaged and is not copied"),
        ("xmp", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "its XMP is damaged and is not copied"),
        ("iptc", IPTC[:-6], "its IPTC is damaged and is not copied"),
    ],
)
def test_damaged_metadata_is_not_copied_and_told(
    tmp_path: Path, source: str, target: str, name: str, data: bytes, note: str
) -> None:
    if name == "iptc" and source != "jpg":
        pytest.skip("other formats have no place for it")
    save(tmp_path / f"a.{source}", **{name: data})
    assert rewritten(tmp_path / f"a.{source}", tmp_path / f"b.{target}").startswith(note)
    assert data not in (tmp_path / f"b.{target}").read_bytes()


@pytest.mark.parametrize("target", ["jpg", "png", "webp"])
@pytest.mark.parametrize("source", ["jpg", "png"])
def test_whole_metadata_is_copied_without_a_note(tmp_path: Path, source: str, target: str) -> None:
    save(tmp_path / f"a.{source}", exif=exif_block(), xmp=XMP, icc=PROFILE)
    assert rewritten(tmp_path / f"a.{source}", tmp_path / f"b.{target}") == ""
    content = (tmp_path / f"b.{target}").read_bytes()
    assert exif_block() in content
    assert XMP in content
    assert repair_exif(exif_block()) == (exif_block(), [])


@pytest.mark.parametrize("source", ["jpg", "png"])
@pytest.mark.parametrize(
    ("block", "tag", "lost"),
    [(BAD_OFFSET, "0x010f", 0x010F), (BAD_TYPE, "0x010f", 0x010F), (BAD_POINTER, "0x8769", 0x8769)],
)
def test_damaged_fields_are_taken_out_of_exif_and_others_stay(
    tmp_path: Path, source: str, block: bytes, tag: str, lost: int
) -> None:
    save(tmp_path / f"a.{source}", exif=block)
    note = rewritten(tmp_path / f"a.{source}", tmp_path / f"b.{source}")
    assert note == f"damaged fields of its EXIF (tag {tag}) are not copied"
    with Image.open(tmp_path / f"b.{source}") as written:
        exif = written.getexif()
        assert (exif[0x010E], exif[0x0112], lost in exif) == ("a picture of a lake", 6, False)
        assert (0x9003 in exif.get_ifd(0x8769)) == (lost != 0x8769)
    assert len(repair_exif(block)[0]) == len(block), "maker notes point to places in the block"


def test_a_picture_whose_exif_is_damaged_stays_upright(tmp_path: Path) -> None:
    block = exif_block()
    cut = block[: 8 + 2 + 12 * 3 + 2]  # the orientation is read, and the directory is cut off behind it
    save(tmp_path / "a.jpg", exif=cut)
    before = photographs.read(tmp_path / "a.jpg").pixels
    assert "EXIF is damaged" in rewritten(tmp_path / "a.jpg", tmp_path / "b.png")
    np.testing.assert_array_equal(photographs.read(tmp_path / "b.png").pixels, before)


def test_gamma_counts_where_the_profile_is_damaged(tmp_path: Path) -> None:
    save(tmp_path / "a.png", icc=PROFILE[:200])
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + png_chunk(b"gAMA", (100_000).to_bytes(4, "big")) + data[33:])
    rewritten(tmp_path / "a.png", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as written:
        assert b"PNG gamma" in written.info["icc_profile"].replace(b"\0", b"")


def test_chunks_and_segments_with_damage_are_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-12] + png_chunk(b"tEXt", b"Title\0x")[:-1] + b"?" + data[-12:])
    assert rewritten(tmp_path / "a.png", tmp_path / "b.png") == (
        "its chunk tEXt, where the file is damaged, is not copied"
    )


def test_damaged_fields_of_a_tiff_file_are_told(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.tif", tiffinfo={0x010F: "a maker of cameras", 0x0131: "a long name of a program"})
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.index(struct.pack("<HH", 0x010F, 2))
    data[place + 2 : place + 4] = struct.pack("<H", 200)  # no type; Pillow refuses offsets outside of the file
    (tmp_path / "a.tif").write_bytes(data)
    for target in ("tif", "jpg"):
        note = rewritten(tmp_path / "a.tif", tmp_path / f"b.{target}")
        assert "damaged fields of its TIFF directory (tag 0x010f) are not copied" in note


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "ppm", "pgm", "gif", "avif", "jp2"])
def test_bytes_behind_the_picture_are_told_with_their_number(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    (PICTURE.convert("L") if suffix == "pgm" else PICTURE).save(path)
    whole = path.read_bytes()
    assert "behind" not in rewritten(path, tmp_path / "b.png")
    mark_picture(path, "restored")  # the mark of this program may stand there
    assert "behind" not in rewritten(path, tmp_path / "c.png")
    path.write_bytes(whole + bytes(20))  # padding
    assert "behind" not in rewritten(path, tmp_path / "d.png")
    path.write_bytes(whole + b"PK\3\4" + bytes(20_000))
    assert "20,004 bytes behind the picture are not kept" in rewritten(path, tmp_path / "e.png")


@pytest.mark.parametrize("gain_map", [b"", b"urn:iso:std:iso:ts:21496:-1\0" + bytes(8)])
def test_the_video_of_a_motion_photo_is_told_with_its_size(tmp_path: Path, gain_map: bytes) -> None:
    content = io.BytesIO()
    PICTURE.save(content, "jpeg")
    data = content.getvalue()
    extra = jpeg_segment(0xE2, gain_map) if gain_map else b""
    video = struct.pack(">I4s4s", 24, b"ftyp", b"mp42") + bytes(5000)
    (tmp_path / "a.jpg").write_bytes(data[:20] + extra + data[20:] + (data if gain_map else b"") + video)
    assert "a video of 5,012 bytes behind the picture is not kept" in rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_structure_of_xmp_and_resources_is_checked() -> None:
    packet = (
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>' + XMP + b" " * 99 + b'<?xpacket end="w"?>'
    )
    for whole in (XMP, packet, packet + bytes(9), XMP.decode().encode("utf-16"), XMP.decode().encode("utf-16-be")):
        assert is_whole_xmp(whole)
    assert not is_whole_xmp(XMP + b"<")
    assert are_whole_resources(IPTC + bytes(len(IPTC) % 2) + IPTC + bytes(7))
    assert not are_whole_resources(IPTC + bytes(len(IPTC) % 2) + b"8BIX" + IPTC[4:])
