"""Marks by which pictures written by this program are recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logcosh_vae.base.own_outputs import content_digest, is_run_config, mark, mark_picture, own_output, own_output_in


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm", "jp2", "avif"])
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


def test_the_bytes_behind_a_mark_are_not_taken_for_a_part_of_it() -> None:
    assert own_output(mark("restored", "0a1b") + b"7f") == "restored=0a1b"
    assert own_output(mark("restored") + b"ab=12") == "restored"


def test_only_the_config_of_a_run_is_recognised_as_one() -> None:
    assert is_run_config(b'{"kind": "auto-encoder", "train": {}}')
    for content in (b"", b"[]", b"{", b'{"kind": "auto-encoder"}', b'{"kind": "cat", "train": {}}', b"[" * 100_000):
        assert not is_run_config(content)
