"""A restored file does not claim to hold what is not kept: videos, gain maps, content credentials, long comments."""

import io
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.companions import without_companions
from logcosh_vae.restoration.containers import png_chunk
from logcosh_vae.restoration.tags import Directory, Field, add_to_tiff

CAMERA, CONTAINER = "http://ns.google.com/photos/1.0/camera/", "http://ns.google.com/photos/1.0/container/"
ITEM = (
    '<rdf:li rdf:parseType="Resource"><C:Item I:Mime="video/mp4" I:Semantic="MotionPhoto" I:Length="20000"/></rdf:li>'
)
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:G="{CAMERA}" xmlns:C="{CONTAINER}" '
    'xmlns:I="http://ns.google.com/photos/1.0/container/item/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    'G:MotionPhoto="1" G:MicroVideo="1" G:MicroVideoOffset="20000" hdrgm:Version="1.0" G:SpecialTypeID="7">'
    "<G:MotionPhotoVersion>1</G:MotionPhotoVersion><C:Directory/>"
    f"<C:Directory><rdf:Seq>{ITEM}</rdf:Seq></C:Directory>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_properties_of_a_video_or_gain_map_are_removed(encoding: str) -> None:
    shorter = without_companions(XMP.encode(encoding)).decode(encoding)
    ElementTree.fromstring(shorter)
    for name in ("MotionPhoto", "MicroVideo", "Directory", "hdrgm:Version", "20000"):
        assert name not in shorter
    assert 'G:SpecialTypeID="7"' in shorter
    for text in ("", "no XML", XMP[:600], XMP.replace("</C:Directory>", "")):
        assert len(without_companions(text.encode(encoding))) <= len(text.encode(encoding))


def test_hostile_xmp_takes_no_time() -> None:
    declared = f'<a xmlns:C="{CONTAINER}"/>'
    many = "".join(f'<a xmlns:p{number}="{CONTAINER}"/>' for number in range(2000))
    for text in (declared + "<C:Directory >" * 200_000, many + "<p1:Directory>" * 100_000, declared + "<C:" * 500_000):
        without_companions(text.encode())


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_restored_motion_photo_is_an_ordinary_photograph(tmp_path: Path, suffix: str) -> None:
    content, xmp = io.BytesIO(), XMP.replace("hdrgm", "p").replace("hdr-gain-map", "p")
    Image.new("RGB", (32, 24), (9, 8, 7)).save(content, "jpeg", xmp=xmp.encode())
    (tmp_path / "a.jpg").write_bytes(content.getvalue() + b"\0\0\0\x18ftypmp42" + bytes(20000))
    photograph = photographs.read(tmp_path / "a.jpg")
    notes = photographs.write(photograph, photograph.pixels, tmp_path / f"b.{suffix}")
    assert any("a video of 20,012 bytes behind the picture is not kept" in note for note in notes)
    written = (tmp_path / f"b.{suffix}").read_bytes()
    assert b'G:SpecialTypeID="7"' in written
    assert b"MotionPhoto" not in written
    assert b"MicroVideo" not in written


@pytest.mark.parametrize("kind", [b"iDOT", b"caBX", b"prVW", b"zzZZ"])
def test_png_chunks_that_are_unsafe_to_copy_are_left_out_and_named(tmp_path: Path, kind: bytes) -> None:
    Image.new("RGB", (32, 24), (9, 8, 7)).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + png_chunk(kind, bytes(28)) + png_chunk(b"saFe", b"x") + data[33:])
    photograph = photographs.read(tmp_path / "a.png")
    notes = " ".join(photographs.write(photograph, photograph.pixels, tmp_path / "b.png"))
    assert kind.decode() in notes
    assert kind not in (tmp_path / "b.png").read_bytes()
    assert b"saFe" in (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize(("tag", "name"), [(37724, "Photoshop layers"), (52545, "content credentials")])
def test_tiff_fields_that_are_not_true_of_the_result_are_left_out_and_named(
    tmp_path: Path, tag: int, name: str, suffix: str
) -> None:
    Image.new("RGB", (32, 24), (9, 8, 7)).save(tmp_path / "a.tif")
    add_to_tiff(tmp_path / "a.tif", Directory({tag: Field(7, 9, b"some data")}))
    photograph = photographs.read(tmp_path / "a.tif")
    notes = " ".join(photographs.write(photograph, photograph.pixels, tmp_path / f"b.{suffix}"))
    assert f"its {name}" in notes
    assert struct.pack("<HHI", tag, 7, 9) not in (tmp_path / f"b.{suffix}").read_bytes()


def test_comment_that_is_too_long_for_a_jpeg_is_cut_and_told(tmp_path: Path) -> None:
    Image.new("P", (32, 24)).save(tmp_path / "a.gif", comment=b"A" * 70_000)
    photograph = photographs.read(tmp_path / "a.gif")
    notes = photographs.write(photograph, photograph.pixels, tmp_path / "b.jpg")
    assert "its comment of 70,000 bytes was cut to 65,533 for a JPEG file" in notes
