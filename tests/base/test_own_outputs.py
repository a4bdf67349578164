"""Marks by which pictures written by this program are recognised."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logcosh_vae.base.own_outputs import content_digest, is_run_config, mark, mark_picture, own_output, own_output_in

EXIFTOOL = shutil.which("exiftool")
SUFFIXES = ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm", "jp2", "avif"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_marked_picture_is_recognised_and_has_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    path = tmp_path / f"picture.{suffix}"
    try:
        Image.fromarray(pixels).save(path)
    except (KeyError, OSError):  # Pillow was built without this format
        pytest.skip(f"Pillow cannot write {suffix}")
    with Image.open(path) as image:
        before = np.asarray(image.convert("RGB"))
    assert own_output_in(path) is None
    content = content_digest(path)
    mark_picture(path, "restored", "0a1b+2c")
    once = path.read_bytes()
    assert (own_output_in(path), content_digest(path)) == ("restored=0a1b+2c", content)
    path.write_bytes(once[:-60] + bytes([once[-60] ^ 1]) + once[-59:])
    assert content_digest(path) != content
    path.write_bytes(once)
    mark_picture(path, "contact-sheet")
    assert path.read_bytes() == once
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), before)


@pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mark_leaves_a_file_valid_and_editable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    try:
        Image.new("RGB", (31, 25), (1, 2, 3)).save(path, dpi=(72, 72))
    except (KeyError, OSError):  # Pillow was built without this format
        pytest.skip(f"Pillow cannot write {suffix}")
    mark_picture(path, "restored", "0a1b+2c")
    assert EXIFTOOL is not None
    command = [EXIFTOOL, "-s3", "-validate", "-warning", "-a", path]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    allowed = {"OK", "1 Warning (minor)", "[minor] Unknown APP7 segment"} if suffix == "jpg" else {"OK"}
    assert set(found.splitlines()) <= allowed
    if suffix in ("png", "jpg", "webp"):
        subprocess.run([EXIFTOOL, "-q", "-Artist=somebody", path], check=True, timeout=60)
        assert own_output_in(path) == "restored=0a1b+2c"


def test_a_marked_webp_file_has_the_size_that_it_states(tmp_path: Path) -> None:
    for kind in ("contact-sheet", "picture"):  # of odd and of even length
        path = tmp_path / f"{kind}.webp"
        Image.new("RGB", (31, 25), (1, 2, 3)).save(path)
        mark_picture(path, kind)
        assert int.from_bytes(path.read_bytes()[4:8], "little") + 8 == path.stat().st_size
        assert path.stat().st_size % 2 == 0


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp", "tif", "ppm"])
def test_marks_of_earlier_versions_are_recognised(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (31, 25), (1, 2, 3)).save(path)
    path.write_bytes(path.read_bytes() + mark("restored", "0a1b"))
    assert own_output_in(path) == "restored=0a1b"


def test_the_bytes_behind_a_mark_are_not_taken_for_a_part_of_it() -> None:
    assert own_output(mark("restored", "0a1b") + b"7f") == "restored=0a1b"
    assert own_output(mark("restored") + b"ab=12") == "restored"


def test_only_the_config_of_a_run_is_recognised_as_one() -> None:
    assert is_run_config(b'{"kind": "auto-encoder", "train": {}}')
    for content in (b"", b"[]", b"{", b'{"kind": "auto-encoder"}', b'{"kind": "cat", "train": {}}', b"[" * 100_000):
        assert not is_run_config(content)
