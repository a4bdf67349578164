"""Pictures of any size are restored in bounded memory: their pixels lie in temporary files, with the same results."""

import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.restoration.networks import random_network

from logcosh_vae.base.errors import DataError
from logcosh_vae.restoration import blending, encoding, opening, photographs, scratch, tags
from logcosh_vae.restoration.picture_files import restore_file
from logcosh_vae.restoration.pipeline import restore_picture

RNG = np.random.default_rng(0)
COLOURS = Image.fromarray(RNG.integers(0, 256, (40, 30, 4), dtype=np.uint8)).resize(
    (110, 150), Image.Resampling.BICUBIC
)


def picture(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(COLOURS.convert("L")).astype(np.uint16) * 257)
    return COLOURS.convert("RGB").quantize(8) if mode == "P" else COLOURS.convert(mode)


@pytest.mark.parametrize(
    ("mode", "source", "target"),
    [
        ("RGB", "jpg", "jpg"),
        ("RGB", "png", "bmp"),
        ("RGB", "bmp", "tif"),
        ("RGB", "tif", "png"),
        ("RGB", "ppm", "ppm"),
        ("RGBA", "png", "png"),
        ("RGBA", "webp", "webp"),
        ("L", "png", "jpg"),
        ("LA", "png", "tif"),
        ("P", "png", "png"),
        ("P", "gif", "png"),
        ("1", "png", "png"),
        ("I;16", "png", "png"),
        ("I;16", "tif", "tif"),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_in_temporary_files_give_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, source: str, target: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if source in ("jpg", "png", "tif", "webp") else {}
    picture(mode).save(tmp_path / f"a.{source}", **options)  # type: ignore[arg-type]
    mask = np.zeros((150, 110) if orientation == 1 or not options else (110, 150), bool)
    mask[50:90, 20:60] = True
    restore = partial(restore_picture, random_network((6, 8), 1))
    ways = [partial(restore, boxes=[(0, 0, 9, 9)], mask=mask), restore, partial(restore, scale=0.5)]
    for index, way in enumerate(ways):
        restore_file(tmp_path / f"a.{source}", tmp_path / f"small-{index}.{target}", way)
    with monkeypatch.context() as large:
        large.setattr(scratch, "MEMORY_BYTES", 1000)
        for module in (scratch, encoding, blending):
            large.setattr(module, "STRIP_ROWS", 16)
        for index, way in enumerate(ways):
            restore_file(tmp_path / f"a.{source}", tmp_path / f"large-{index}.{target}", way)
    for index in range(len(ways)):
        small, large_file = (tmp_path / f"{size}-{index}.{target}" for size in ("small", "large"))
        assert small.read_bytes() == large_file.read_bytes()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory is read from /proc")
def test_a_large_picture_is_restored_in_little_memory(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 6000), (90, 120, 30)).save(tmp_path / "a.jpg")
    code = (
        "from logcosh_vae.restoration import scratch; from logcosh_vae.__main__ import main\n"
        "scratch.MEMORY_BYTES = 1 << 22\n"
        "try:\n    main()\nfinally:\n    print(*open('/proc/self/status').read().partition('VmHWM:')[2].split()[:1])"
    )

    def peak(picture: str) -> int:
        command = [sys.executable, "-c", code, "restore", picture, "-o", f"new-{picture}", "--box", "0,0,1,1"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert (tmp_path / f"new-{picture}").exists(), result.stderr
        return int(result.stdout.split()[-1])

    COLOURS.convert("RGB").save(tmp_path / "small.jpg")
    assert peak("a.jpg") - peak("small.jpg") < 60 * 1024, "one copy of the pixels has 90 MB"


@pytest.mark.parametrize("suffix", ["tif", "webp"])
def test_a_picture_that_needs_too_much_memory_is_refused_with_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    COLOURS.convert("RGB").save(tmp_path / f"a.{suffix}")
    COLOURS.convert("RGB").save(tmp_path / "a.png")
    monkeypatch.setattr(opening, "MEMORY_LIMIT", opening.RESERVED_MEMORY + 1000)
    monkeypatch.setattr(scratch, "MEMORY_BYTES", 1000)
    with pytest.raises(DataError, match=r"110x150 pixels need 0\.\d+ GiB of memory .* use PNG or baseline JPEG"):
        photographs.read(tmp_path / f"a.{suffix}")
    photograph = photographs.read(tmp_path / "a.png")
    with pytest.raises(DataError, match="use PNG or baseline JPEG"):
        photographs.write(photograph, photograph.pixels, tmp_path / f"b.{suffix}")
    photographs.write(photograph, photograph.pixels, tmp_path / "b.png")


def test_metadata_without_end_is_refused(tmp_path: Path) -> None:
    COLOURS.convert("RGB").save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    entry = struct.pack("<HHII", 700, 1, 1 << 20, 0)  # 4000 fields of a mebibyte each, all in the same place
    directory = struct.pack("<H", 4000) + b"".join(struct.pack("<H", 50000 + n) + entry[2:] for n in range(4000))
    content = bytearray(data + bytes(1 << 20) + directory + bytes(4))
    content[4:8] = struct.pack("<I", len(data) + (1 << 20))
    with pytest.raises(ValueError, match="its metadata has more than"):
        tags.parse(bytes(content))
    COLOURS.convert("RGB").save(tmp_path / "b.jpg")
    head, body = (tmp_path / "b.jpg").read_bytes()[:20], (tmp_path / "b.jpg").read_bytes()[20:]
    (tmp_path / "b.jpg").write_bytes(head + (b"\xff\xfe\xff\xff" + bytes(65533)) * 2100 + body)
    with pytest.raises(DataError, match="its metadata has more than"):
        photographs.read(tmp_path / "b.jpg")


def test_a_small_webp_file_with_many_pixels_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    bits = (16382 | 16382 << 14).to_bytes(4, "little")
    (tmp_path / "a.webp").write_bytes(b"RIFF\x24\0\0\0WEBPVP8L\x18\0\0\0\x2f" + bits + bytes(19))
    with pytest.raises(DataError, match=r"its 16383x16383 pixels need 2\.4 GiB of memory"):
        photographs.read(tmp_path / "a.webp")


def test_a_full_disk_is_named_before_pixels_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    COLOURS.convert("RGB").save(tmp_path / "a.png")
    monkeypatch.setattr(scratch, "MEMORY_BYTES", 1000)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch.os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match="set TMPDIR to a folder with more space"):
        photographs.read(tmp_path / "a.png")
