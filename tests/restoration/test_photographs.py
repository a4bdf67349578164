"""Picture files keep everything but their pixels: format, metadata, orientation and JPEG quality."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from logcosh_vae.restoration import photographs

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MODES = ["RGB", "L", "RGBA", "LA", "P", "1", "I;16"]


def random_picture(mode: str) -> Image.Image:
    rng = np.random.default_rng(1)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (23, 31)).astype(np.uint16))
    colours = Image.fromarray(rng.integers(0, 256, (23, 31, 4), dtype=np.uint8))
    if mode == "P":
        return colours.convert("RGB").quantize(8)
    return colours if mode == "RGBA" else colours.convert("RGB" if mode == "1" else "RGBA").convert(mode)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", MODES)
def test_metadata_and_orientation_are_kept(tmp_path: Path, mode: str, orientation: int) -> None:
    picture, exif = random_picture(mode), Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a picture"
    picture.save(tmp_path / "a.png", exif=exif, icc_profile=PROFILE)
    photograph = photographs.read(tmp_path / "a.png")
    rotated = orientation >= 5
    assert photograph.pixels.shape[:2] == ((31, 23) if rotated else (23, 31))
    photographs.write(photograph, photograph.pixels, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as written:
        assert written.getexif()[0x0112] == orientation
        assert written.getexif()[0x010E] == "a picture"
        assert written.info["icc_profile"] == PROFILE
        expected = picture.convert("RGB") if mode == "P" else picture
        same = "L" if mode == "1" else expected.mode
        assert written.mode == ("RGBA" if mode == "LA" and written.mode == "RGBA" else same)
        np.testing.assert_array_equal(np.asarray(written.convert(same)), np.asarray(expected.convert(same)))


@pytest.mark.parametrize(("quality", "subsampling"), [(60, 2), (85, 1), (98, 0)])
def test_unchanged_jpeg_is_stored_with_its_own_quality(tmp_path: Path, quality: int, subsampling: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8))
    picture = noise.resize((160, 128), Image.Resampling.BICUBIC)
    options = {"quality": quality, "subsampling": subsampling, "progressive": True, "comment": b"a comment"}
    picture.save(tmp_path / "a.jpg", **options)
    photograph = photographs.read(tmp_path / "a.jpg")
    photographs.write(photograph, photograph.pixels, tmp_path / "b.jpeg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpeg") as after:
        assert after.quantization == before.quantization  # type: ignore[attr-defined]
        assert (after.info["progressive"], after.info["comment"]) == (1, b"a comment")
        compression_error = np.abs(np.asarray(before).astype(int) - np.asarray(picture)).mean()
        assert np.abs(np.asarray(before).astype(int) - np.asarray(after)).mean() < 0.5 * compression_error
    assert (tmp_path / "b.jpeg").stat().st_size == pytest.approx((tmp_path / "a.jpg").stat().st_size, rel=0.05)


def test_lossless_webp_stays_lossless(tmp_path: Path) -> None:
    for lossless in (True, False):
        random_picture("RGBA").save(tmp_path / "a.webp", lossless=lossless, exact=True, icc_profile=PROFILE)
        photograph = photographs.read(tmp_path / "a.webp")
        photographs.write(photograph, photograph.pixels, tmp_path / "b.webp")
        again = photographs.read(tmp_path / "b.webp")
        assert np.array_equal(again.pixels, photograph.pixels) == lossless
        np.testing.assert_array_equal(again.alpha, photograph.alpha)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("source", "target"), [("tif", "tif"), ("jpg", "bmp"), ("jpg", "tif"), ("tif", "jpg")])
def test_orientation_is_the_same_in_every_format(tmp_path: Path, source: str, target: str, orientation: int) -> None:
    half = Image.new("RGB", (32, 24), "blue")
    half.paste("red", (0, 0, 32, 12))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a picture"
    half.save(tmp_path / f"a.{source}", exif=exif)
    seen = ImageOps.exif_transpose(Image.open(tmp_path / f"a.{source}")).convert("RGB")
    photograph = photographs.read(tmp_path / f"a.{source}")
    photographs.write(photograph, photograph.pixels, tmp_path / f"b.{target}")
    with Image.open(tmp_path / f"b.{target}") as written:
        if target != "bmp":
            assert written.getexif()[0x010E] == "a picture"
        again = ImageOps.exif_transpose(written).convert("RGB")
    assert np.abs(np.asarray(again).astype(int) - np.asarray(seen)).mean() < 12


def test_notes_say_what_is_not_kept(tmp_path: Path) -> None:
    frames = [random_picture("RGB"), random_picture("RGB").rotate(180)]
    frames[0].save(tmp_path / "many.tif", save_all=True, append_images=frames[1:])
    random_picture("RGB").convert("CMYK").save(tmp_path / "inks.jpg")
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)  # one pixel, 16 bits, three colours
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")]
    body = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    random_picture("I;16").save(tmp_path / "grey.png")
    for name, words in [
        ("many.tif", "2 frames or pages"),
        ("inks.jpg", "inks"),
        ("deep.png", "16 bits"),
        ("grey.png", ""),
    ]:
        notes = photographs.read(tmp_path / name).notes
        assert (len(notes), words in "".join(notes)) == (bool(words), True)


def test_notes_show_what_a_file_quotes_without_control_characters(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("\x1b[31mtitle\x9b", "text")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    photograph = photographs.read(tmp_path / "a.png")
    notes = photographs.write(photograph, photograph.pixels, tmp_path / "a.bmp")
    assert any(r"\x1b[31mtitle" in note for note in notes), notes
    assert all(note.isprintable() for note in notes)


def test_mark_of_a_ppm_file_is_not_copied_as_its_comment(tmp_path: Path) -> None:
    random_picture("RGB").save(tmp_path / "a.ppm")
    for source, target in (("a.ppm", "b.ppm"), ("b.ppm", "c.jpg")):
        photograph = photographs.read(tmp_path / source)
        assert photographs.write(photograph, photograph.pixels, tmp_path / target) == ()
    with Image.open(tmp_path / "c.jpg") as written:
        assert "comment" not in written.info
