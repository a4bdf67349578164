"""What the command does by default: text is found and removed, and nothing else changes; and the same in Python."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tests.restoration.networks import random_network

from logcosh_vae.base.errors import MissingPackageError, RegionError
from logcosh_vae.restoration import remover
from logcosh_vae.restoration import restore as restore_image
from logcosh_vae.restoration.choice import is_full_of_text
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.finding.detector import is_installed
from logcosh_vae.restoration.finding.lines import TextLine, paint
from logcosh_vae.restoration.line_removal import line_scale, remove_lines
from logcosh_vae.restoration.remover import TextRemover, TextSettings, load_networks

installed = pytest.mark.skipif(not is_installed(), reason="the extra `text` is not installed")
HIDDEN = "import sys; sys.modules['onnxruntime'] = None; from logcosh_vae.__main__ import main; main()"
"""The command as it is without the extra."""


def photograph(width: int = 480, height: int = 360, seed: int = 1) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(60, 190, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def captioned(*texts: tuple[str, int, tuple[int, int]], size: tuple[int, int] = (480, 360)) -> Image.Image:
    picture = photograph(*size)
    draw = ImageDraw.Draw(picture)
    for text, font_size, place in texts:
        draw.text(place, text, (255, 240, 60), ImageFont.load_default(font_size))
    return picture


CAPTION = ("Harbour 1987", 28, (40, 300))
TITLE = ("SALE", 110, (60, 60))


def run(*arguments: str | Path, cwd: Path, extra: bool = True) -> subprocess.CompletedProcess[str]:
    start = ["-m", "logcosh_vae"] if extra else ["-c", HIDDEN]
    command = [sys.executable, *start, "restore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def pixels(source: Path | Image.Image) -> NDArray[np.int16]:
    picture = source if isinstance(source, Image.Image) else Image.open(source)
    return np.asarray(picture.convert("RGB")).astype(np.int16)


def error(restored: Path | Image.Image | NDArray[np.int16], picture: Image.Image) -> float:
    """Mean error where the text was, of 255 levels."""
    clean = pixels(photograph(*picture.size))
    text = np.abs(pixels(picture) - clean).max(axis=2) > 24
    shown = restored if isinstance(restored, np.ndarray) else pixels(restored)
    return float(np.abs(shown - clean)[text].mean())


@installed
def test_text_of_several_heights_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    picture = captioned(CAPTION, TITLE)
    picture.save(tmp_path / "a.png")
    done = run("a.png", "--show-mask", "mask.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["restored"]
    assert (row["network"], len(row["lines"])) == ("lines", 2)
    assert error(picture, picture) > 60
    assert error(tmp_path / "a-restored.png", picture) < 12
    mask = np.asarray(Image.open(tmp_path / "mask.png")) > 0
    changed = (pixels(tmp_path / "a-restored.png") != pixels(picture)).any(axis=2)
    assert not (changed & ~mask).any()
    assert row["changed"] == changed.sum()
    # the mask can be given back, and a sign kept
    again = run("a.png", "-o", "again.png", "--mask", "mask.png", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert error(tmp_path / "again.png", picture) < 12
    kept = run("a.png", "-o", "kept.png", "--keep-box", "0,0,480,240", cwd=tmp_path)
    assert kept.returncode == 0, kept.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "kept.png")[:240], pixels(picture)[:240])
    assert (pixels(tmp_path / "kept.png")[240:] != pixels(picture)[240:]).any()


@installed
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_picture_without_text_is_copied_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    photograph().save(tmp_path / f"a.{suffix}")
    done = run(f"a.{suffix}", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, f"a-restored.{suffix}")
    assert "no text was found, so nothing was changed" in done.stderr
    assert (tmp_path / f"a-restored.{suffix}").read_bytes() == (tmp_path / f"a.{suffix}").read_bytes()
    other = run(f"a.{suffix}", "-o", "b.tif", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    np.testing.assert_array_equal(pixels(tmp_path / "b.tif"), pixels(tmp_path / f"a.{suffix}"))


@installed
def test_a_folder_gets_a_summary_and_a_sheet_and_is_continued(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    captioned(CAPTION).save(tmp_path / "in" / "a.png")
    photograph().save(tmp_path / "in" / "b.jpg")
    done = run("in", "-o", "out", "--sheet", "sheet.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["out/a.png", "out/b.jpg", "sheet.png"]
    rows = [line.split() for line in done.stderr.splitlines() if line.lstrip().startswith("in/")]
    assert [(row[0], row[1]) for row in rows] == [("in/a.png", "lines"), ("in/b.jpg", "0")]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 1000
        assert len(sheet.convert("RGB").getcolors(1 << 20) or []) > 1000
    more = run("in", "-o", "out", "--overwrite", "--sheet", "sheet.png", cwd=tmp_path)
    assert "1 picture restored in the same way before" in more.stderr
    changed = run("in", "-o", "out", "--overwrite", "--keep-box", "0,0,5,5", cwd=tmp_path)
    assert "restored in the same way before" not in changed.stderr, "--keep-box is part of the method"


@installed
def test_frames_share_the_text_of_the_first(tmp_path: Path) -> None:
    for number in range(2):
        frame = photograph(seed=number)
        # on the second frame the text is too faint for the detector
        draw = ImageDraw.Draw(frame)
        draw.text(
            (40, 300), "Harbour 1987", (255, 240, 60) if number == 0 else (200, 190, 110), ImageFont.load_default(28)
        )
        frame.save(tmp_path / f"f{number}.png")
    photograph(300, 200).save(tmp_path / "other.png")
    done = run(
        "f0.png", "f1.png", "other.png", "-o", "out", "--same-mask", "--show-mask", "m.png", "--json", cwd=tmp_path
    )
    assert done.returncode == 1
    first, second = json.loads(done.stdout)["restored"]
    assert first["lines"] == second["lines"]
    with Image.open(tmp_path / "m.png") as mask:
        assert (mask.size, mask.convert("L").getextrema()) == ((480, 360), (0, 255))
    assert "it has 300x200 pixels, but the first picture, whose text is known, has 480x360" in done.stderr
    none = run("other.png", "f0.png", "-o", "new", "--same-mask", cwd=tmp_path)
    assert (none.returncode, "no text was found on the first picture" in none.stderr) == (1, True)


def test_without_the_extra_a_note_tells_how_to_install_it_and_the_network_is_chosen(tmp_path: Path) -> None:
    captioned(CAPTION).save(tmp_path / "a.png")
    clean = np.asarray(photograph()).astype(np.float32) / 255
    full = CORRUPTIONS["text"].evaluation(tensor(clean), 0).permute(1, 2, 0).mul(255).round().numpy()
    Image.fromarray(full.astype(np.uint8)).save(tmp_path / "b.png")
    done = run("a.png", "b.png", "-o", "out", "--json", cwd=tmp_path, extra=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pip install 'logcosh-vae[text]'") == 1
    assert [row["network"] for row in json.loads(done.stdout)["restored"]] == ["captions", "text"]
    assert error(tmp_path / "out" / "a.png", captioned(CAPTION)) < 12
    quiet = run("a.png", "-o", "c.png", "--no-find-text", cwd=tmp_path, extra=False)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    asked = run("a.png", "-o", "d.png", "--find-text", cwd=tmp_path, extra=False)
    assert (asked.returncode, "finding text needs onnxruntime: pip install 'logcosh-vae[text]'" in asked.stderr) == (
        1,
        True,
    )


def tensor(clean: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(clean).permute(2, 0, 1)


def test_the_network_for_full_pictures_is_chosen_for_them_only() -> None:
    networks = load_networks().values()
    clean = np.asarray(photograph(900, 700)).astype(np.float32) / 255
    full = CORRUPTIONS["text"].evaluation(tensor(clean), 0).permute(1, 2, 0).mul(255).round().numpy()
    assert is_full_of_text(networks, full.astype(np.uint8))
    assert is_full_of_text(networks, full.astype(np.uint16) * 257)
    assert not is_full_of_text(networks, np.asarray(captioned(CAPTION, TITLE, size=(900, 700))))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--show-mask", "m.jpg"], 2, "--show-mask m.jpg: end the name in .png"),
        (["--show-mask", "a.png", "--overwrite"], 2, "that is a picture to restore"),
        (["--sheet", "s.gif"], 2, "--sheet s.gif: end the name in .png"),
        (["--sheet", "old.png"], 2, "old.png exists; add --overwrite"),
        (["old.png", "--show-mask", "m.png"], 2, "--show-mask is for one picture"),
        (["--same-mask", "--mask", "a.png"], 2, "use one"),
        (["--same-mask", "--no-find-text"], 2, "remove --no-find-text"),
        (["--keep-box", "1,2,3"], 2, "--keep-box 1,2,3: write it as"),
        (["--fill"], 2, "--fill needs to know where"),
        (["--fill", "--box", "1,1,5,5", "--careful"], 2, "--careful cannot be used with --fill"),
        (["--fill", "--box", "1,1,5,5", "--find-text"], 2, "--find-text cannot be used with --fill"),
        (["--fill", "--box", "0,0,40,30"], 1, "a.png: the whole picture is to be filled"),
        (["--fill", "--box", "90,0,4,3"], 1, "a.png: no pixel of the picture (40x30) lies in the boxes"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    for name in ("a.png", "old.png"):
        photograph(40, 30).save(tmp_path / name)
    done = run("a.png", *arguments, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_whatever_lies_in_a_region_is_replaced(tmp_path: Path) -> None:
    picture = photograph(90, 60)
    picture.paste((0, 255, 0), (30, 20, 50, 40))  # no pixel has a similar colour
    picture.save(tmp_path / "a.png")
    options = ("--fill", "--box", "30,20,30,20", "--keep-box", "54,30,4,4", "--json")
    done = run("a.png", "-o", "b.png", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["restored"]
    before, after = pixels(picture), pixels(tmp_path / "b.png")
    inside = np.zeros(before.shape[:2], bool)
    inside[20:40, 30:60] = True
    inside[30:34, 54:58] = False
    np.testing.assert_array_equal(after[~inside], before[~inside])
    assert np.abs(after[inside].astype(int) - (0, 255, 0)).max(axis=1).min() > 50, "nothing of the patch is left"
    assert row["changed"] > 0.95 * inside.sum()
    again = run("a.png", "-o", "b.png", "--overwrite", *options, cwd=tmp_path)
    assert json.loads(again.stdout)["restored"][0]["kept"]
    mask = np.zeros(before.shape[:2], bool)
    mask[20:40, 30:60] = True
    by_function = restore_image(picture, mask=mask, keep_boxes=[(54, 30, 4, 4)], fill=True)
    np.testing.assert_array_equal(pixels(by_function), after)


@installed
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK"])
def test_pil_images_of_every_mode_are_restored(mode: str) -> None:
    picture = captioned(CAPTION).convert(mode)
    restored = restore_image(picture)
    assert (restored.size, restored.mode) == (picture.size, "RGB" if mode == "P" else mode)
    if mode in ("RGBA", "LA"):
        assert restored.getchannel("A").tobytes() == picture.getchannel("A").tobytes()
    assert (pixels(restored) != pixels(picture)).any()


@installed
def test_the_function_does_what_the_command_does(tmp_path: Path) -> None:
    captioned(CAPTION, TITLE).save(tmp_path / "a.png")
    done = run("a.png", "-o", "b.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    array = np.asarray(Image.open(tmp_path / "a.png"))
    restored = restore_image(array)
    np.testing.assert_array_equal(restored, pixels(tmp_path / "b.png"))
    assert restored is not array
    wide = restore_image(array.astype(np.uint16) * 257)
    # bfloat16 is used for 8 bits only, so hints differ in some pixels
    difference = np.abs(wide.astype(np.int32) // 257 - restored)
    assert difference.mean() < 0.3
    assert (difference > 6).mean() < 0.005
    untouched = restore_image(np.asarray(photograph()))
    np.testing.assert_array_equal(untouched, np.asarray(photograph()))
    with pytest.raises(ValueError, match=r"\(H, W, 3\), uint8 or uint16"):
        restore_image(array[..., 0])
    only = restore_image(array, boxes=[(0, 240, 480, 120)], find_text=True)
    np.testing.assert_array_equal(only[:240], array[:240])
    np.testing.assert_array_equal(only[240:], restored[240:])


def test_without_the_extra_the_function_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logcosh_vae.base.extras._is_installed", lambda name: name != "onnxruntime")
    monkeypatch.setattr(remover, "find_text", lambda _: (_ for _ in ()).throw(MissingPackageError("onnxruntime")))
    assert TextRemover(load_networks()).settings.find is False
    with pytest.raises(MissingPackageError):
        restore_image(np.asarray(photograph(40, 30)), find_text=True)
    with pytest.raises(RegionError, match="no pixel"):
        restore_image(np.asarray(photograph(40, 30)), boxes=[(50, 0, 5, 5)])


def rectangle(left: float, top: float, right: float, bottom: float) -> TextLine:
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
    return TextLine(corners, min(right - left, bottom - top), 1.0)


def test_lines_change_nothing_outside_of_them_and_low_ones_do_not_depend_on_the_others() -> None:
    network = random_network((6, 8), 1)
    picture = np.asarray(photograph(400, 300))
    first, second, tall = rectangle(20, 20, 120, 50), rectangle(150, 30, 300, 55), rectangle(30, 100, 380, 290)
    assert [line_scale(line) for line in (first, second, tall)] == [1.0, 1.0, 0.25]
    removed = remove_lines(network, picture, [first, second, tall])
    together, mask = removed.pixels, np.zeros(picture.shape[:2], bool)
    paint(removed.lines, mask)
    for line in (first, second):
        rows, columns = line.bounds(*mask.shape)
        alone = remove_lines(network, picture, [line])
        assert np.abs(alone.pixels[rows, columns].astype(int) - together[rows, columns]).max() <= 1
        assert alone.lines == (line,)
    assert len(removed.lines) == 3
    np.testing.assert_array_equal(together[~mask], picture[~mask])
    allowed = np.zeros_like(mask)
    allowed[:, :200] = True
    part = remove_lines(network, picture, [first, second, tall], allowed=allowed).pixels
    np.testing.assert_array_equal(part[allowed], together[allowed])
    np.testing.assert_array_equal(part[~allowed], picture[~allowed])


def test_every_setting_is_part_of_the_digest() -> None:
    networks = {"captions": random_network((6, 8), 1)}
    line = rectangle(1, 1, 20, 10)
    variants = [
        TextSettings(find=True),
        TextSettings(find=False),
        TextSettings(boxes=[(1, 2, 3, 4)]),
        TextSettings(keep_boxes=[(1, 2, 3, 4)]),
        TextSettings(mask=np.ones((3, 4), bool)),
        TextSettings(scale=0.5),
        TextSettings(careful=True),
        TextSettings(only_found=True),
        TextSettings(lines=[line], size=(30, 40)),
        TextSettings(lines=[line], size=(30, 41)),
        TextSettings(lines=[]),
    ]
    digests = [TextRemover(networks, replace(each, find=each.find is not False)).digest for each in variants]
    assert len(set(digests)) == len(variants)
    assert TextRemover(load_networks(), TextSettings()).digest not in digests
