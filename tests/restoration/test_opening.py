"""Files that no picture should be made of are refused by their kind, size and header, before all of them is read."""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logcosh_vae.base.errors import DataError
from logcosh_vae.data.collection import Folder
from logcosh_vae.data.decode import Preparation, decode
from logcosh_vae.data.listing import list_images
from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.containers import png_chunk
from logcosh_vae.restoration.decoding import Pixels
from logcosh_vae.restoration.picture_files import plan_outputs, restore_file
from logcosh_vae.restoration.tiling import Progress

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8))
SPARSE_BYTES = 1 << 38


def unchanged(pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:  # noqa: ARG001
    return pixels


def sparse(path: Path, size: int = SPARSE_BYTES) -> Path:
    """Make a file very long that takes no space."""
    with path.open("ab") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("suffix", ["zeros", "png", "jpg", "bmp", "ppm", "tif", "webp", "gif", "avif", "jp2"])
def test_huge_files_are_refused_at_once_with_their_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix != "zeros":
        PICTURE.save(path)
    sparse(path)
    begin = time.monotonic()
    for way in (
        lambda: restore_file(path, tmp_path / "b.png", unchanged, method="x"),
        lambda: photographs.read_mask(path),
    ):
        with pytest.raises(
            DataError, match=r"it has 274,877,906,944 bytes; image files of at most 536,\d+,\d+ are read"
        ):
            way()
    assert time.monotonic() - begin < 5


def test_a_huge_chunk_of_a_png_is_not_read(tmp_path: Path) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I4s", 1 << 30, b"tEXt"))
    sparse(tmp_path / "a.png", 3 << 29)
    with pytest.raises(DataError, match="its metadata has more than"):
        photographs.read(tmp_path / "a.png")


def test_large_files_of_large_pictures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logcosh_vae.data.image_file.MAX_FILE_BYTES", 1000)
    PICTURE.save(tmp_path / "a.bmp")
    assert (tmp_path / "a.bmp").stat().st_size > 2000
    assert photographs.read(tmp_path / "a.bmp").pixels.shape == (24, 31, 3)


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm"])
def test_headers_that_promise_more_pixels_than_the_file_can_hold_are_refused_with_the_bytes(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    PICTURE.save(path)
    data = path.read_bytes()
    if suffix == "png":
        data = data[:8] + png_chunk(b"IHDR", struct.pack(">II", 60000, 60000) + data[24:29]) + data[33:]
    elif suffix == "bmp":
        data = data[:18] + struct.pack("<ii", 60000, 60000) + data[26:]
    else:
        data = data.replace(b"31 24", b"60000 60000")
    path.write_bytes(data)
    reason = r"decoding its 60000x60000 pixels takes 14,400,000,000 bytes"
    with pytest.raises(DataError, match=reason):
        photographs.read(path)
    with pytest.raises(ValueError, match=r"decoding its 60000x60000 pixels takes \d\d,\d+,\d+,\d+ bytes"):
        decode(data, Preparation(8, 8))


@pytest.mark.parametrize("size", [(1, 1), (3000, 2000)])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_pictures_of_one_colour_are_no_bombs(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    for suffix in ("png", "bmp", "ppm"):
        if mode in ("1", "L", "RGB") or suffix == "png":
            Image.new(mode, size).save(tmp_path / f"a.{suffix}", optimize=True)
            assert photographs.read(tmp_path / f"a.{suffix}").pixels.shape == (size[1], size[0], 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes need POSIX")
def test_pipes_and_devices_are_named_as_what_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    for source, kind in ((tmp_path / "x.png", "a named pipe"), (Path("/dev/zero"), "a device")):
        ((_, target),) = plan_outputs([source], tmp_path / "q.png")
        with pytest.raises(DataError, match=f"{source.name} cannot be read: it is {kind}, not a regular file"):
            restore_file(source, target, unchanged, method="x")
    with pytest.raises(DataError, match="it is a named pipe, not a regular file"):
        photographs.read_mask(tmp_path / "x.png")


def test_every_file_of_a_folder_that_is_a_picture_is_restored_or_named(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    PICTURE.save(folder / "a.png")
    for name in ("noext", "b.png.bak", "ü\udcff"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    (folder / "heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (folder / "c.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (folder / "notes").write_text("no picture", encoding="utf-8")
    left_out: list[tuple[Path, str]] = []
    pairs = plan_outputs([folder], tmp_path / "g", left_out=left_out)
    assert [source.name for source, _ in pairs] == ["a.png"]
    reasons = {path.name: reason for path, reason in left_out}
    assert reasons.keys() == {"noext", "b.png.bak", "ü\udcff", "heic", "c.heic"}
    assert all(path.exists() for path, _ in left_out)
    assert "but its name ends in no image format; rename it" in reasons["noext"]
    assert list_images(Folder(folder)).left_out == sorted((str(p.relative_to(folder)), r) for p, r in left_out)
    with pytest.raises(DataError) as alone:
        photographs.read(folder / "c.heic")
    assert str(alone.value).endswith(f"c.heic is not a picture in a supported format: {reasons['c.heic']}")
    assert reasons["heic"] == reasons["c.heic"] == "it is a HEIC image, which is not read; convert it to PNG or JPEG"


def test_a_huge_file_does_not_keep_others_in_a_folder_from_being_restored(tmp_path: Path) -> None:
    sparse(tmp_path / "h.png")
    PICTURE.save(tmp_path / "i.png")
    command = [sys.executable, "-m", "logcosh_vae", "restore", ".", "-o", "out", "--box", "0,0,1,1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (result.returncode, result.stdout.split()) == (1, ["out/i.png"])
    assert "left out: h.png cannot be read: it has 274,877,906,944 bytes" in result.stderr
