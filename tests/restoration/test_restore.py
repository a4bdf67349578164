"""The command `restore`: training on a folder of pictures, and restoring others."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from logcosh_vae.restoration.pipeline import load_network
from logcosh_vae.training.weights_file import write_weights

SMALL = [
    "epochs=1",
    "steps=4",
    "widths=[8,8]",
    "tile_size=64",
    "crop_size=32",
    "batch_size=2",
    "targets=2",
    "val_images=2",
]


def restore(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logcosh_vae", "restore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained `run` and `pictures` to restore, one of them broken."""
    folder = tmp_path_factory.mktemp("studio")
    rng = np.random.default_rng(0)
    (folder / "learn").mkdir()
    (folder / "pictures" / "more").mkdir(parents=True)
    for index in range(12):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(folder / "learn" / f"{index}.png")
    Image.open(folder / "learn" / "0.png").save(folder / "pictures" / "a.jpg")
    Image.open(folder / "learn" / "1.png").convert("L").save(folder / "pictures" / "more" / "b.png")
    (folder / "pictures" / "c.png").write_bytes(b"not a picture")
    whole = (folder / "learn" / "2.png").read_bytes()
    (folder / "pictures" / "d.png").write_bytes(whole[: len(whole) // 2])
    (folder / "pictures" / ".tmp-e.png").write_bytes(whole)
    (folder / "learn" / "broken.png").write_bytes(b"not a picture")
    settings = [part for value in SMALL for part in ("--set", value)]
    result = restore("--train", "--data", "learn", "--task", "denoise", "--out", "run", *settings, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "note: 1 of 13 files" in result.stderr
    assert "broken.png" in result.stderr
    assert "validation psnr" in result.stdout
    assert (folder / "run" / "samples" / "epoch-0001.png").is_file()
    return folder


def test_folder_is_restored_and_nothing_is_overwritten(studio: Path) -> None:
    first = restore("pictures", "-o", "clean", "--model", "run", cwd=studio)
    assert first.returncode == 1, "one picture is broken"
    assert "left out: pictures/c.png is not a picture" in first.stderr
    assert "left out: pictures/d.png cannot be read" in first.stderr
    assert first.stdout.split() == ["clean/a.jpg", "clean/more/b.png"]
    with Image.open(studio / "clean" / "a.jpg") as colour, Image.open(studio / "clean" / "more" / "b.png") as grey:
        assert (colour.size, grey.size, grey.mode) == ((160, 120), (160, 120), "L")
    again = restore("pictures", "-o", "clean", "--model", "run", cwd=studio)
    assert (again.returncode, "already exist; pass --overwrite" in again.stderr) == (2, True)
    assert restore("pictures", "-o", "clean", "--model", "run", "--overwrite", cwd=studio).returncode == 1
    for _ in range(2):  # results inside the input folder are not restored again
        inside = restore("pictures", "-o", "pictures/out", "--model", "run", "--overwrite", cwd=studio)
        assert inside.stdout.split() == ["pictures/out/a.jpg", "pictures/out/more/b.png"]
    shutil.rmtree(studio / "pictures" / "out")


def test_pattern_single_picture_box_and_mask(studio: Path) -> None:
    several = restore("pictures/**/[ab].*", "--model", "run", cwd=studio)
    assert several.returncode == 0, several.stderr
    assert several.stdout.split() == ["pictures/a-restored.jpg", "pictures/more/b-restored.png"]
    one = restore("pictures/a.jpg", "-o", "new.tif", "--model", "run", cwd=studio)
    assert (one.returncode, one.stdout.split()) == (0, ["new.tif"])
    careful = restore("pictures/a.jpg", "-o", "careful.tif", "--model", "run", "--careful", cwd=studio)
    assert careful.returncode == 0, careful.stderr
    assert (studio / "careful.tif").read_bytes() != (studio / "new.tif").read_bytes()
    part = restore("pictures/a.jpg", "-o", "part.tif", "--model", "run", "--box", "10,20,30,40", cwd=studio)
    assert part.returncode == 0, part.stderr
    before, after = (np.asarray(Image.open(studio / name)) for name in ("pictures/a.jpg", "part.tif"))
    rows, columns = (before != after).any(axis=2).nonzero()
    assert (rows.min() >= 20, rows.max() < 60, columns.min() >= 10, columns.max() < 40) == (True,) * 4
    for arguments, code, message in [
        (("--box", "10,20,30"), 2, "LEFT,TOP,WIDTH,HEIGHT"),
        (("--box", "900,0,9,9"), 1, "pictures/a.jpg: no pixel of the picture (160x120)"),
        (("--mask", "pictures/more/b.png", "--task", "text"), 2, "the network in run is for denoise"),
    ]:
        failed = restore("pictures/a.jpg", "-o", "no.tif", "--model", "run", *arguments, cwd=studio)
        assert (failed.returncode, message in failed.stderr) == (code, True), failed.stderr
    # a result is restored again if it is named, but not if it lies in a folder that is named
    named = restore("pictures/a-restored.jpg", "--model", "run", cwd=studio)
    assert (named.returncode, named.stdout.split()) == (0, ["pictures/a-restored-restored.jpg"])
    (studio / "results").mkdir()
    shutil.copy(studio / "pictures" / "a-restored.jpg", studio / "results")
    for arguments, message in [
        (("results",), "all pictures there are results"),
        (("learn", "-o", "x.png"), "need a folder"),
    ]:
        refused = restore(*arguments, "--model", "run", cwd=studio)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr
    captions = restore("pictures/a.jpg", "-o", "c.tif", "--model", "captions", "--box", "0,0,20,20", cwd=studio)
    assert captions.returncode == 0, captions.stderr
    none = restore("pictures/*.webp", "--model", "run", cwd=studio)
    assert (none.returncode, "pictures/*.webp does not exist" in none.stderr) == (1, True)


def test_unusable_test_images_are_reported_before_training(studio: Path) -> None:
    arguments = ["compare", "--task", "denoise", "--data", "learn", "--out", "c"]
    for test, code, message in [("pictures", 1, "pictures/c.png"), ("learn", 2, "is the same folder as --data")]:
        command = [sys.executable, "-m", "logcosh_vae", *arguments, "--test", test]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=studio)
        assert (result.returncode, message in result.stderr) == (code, True), result.stderr
    assert not list(studio.glob("c/runs/restore*"))


def test_training_starts_from_a_run_or_from_the_pretrained_network(studio: Path) -> None:
    settings = [part for value in SMALL if not value.startswith("widths") for part in ("--set", value)]
    learning = ("--train", "--data", "learn", *settings)
    further = restore(*learning, "--task", "impulse", "--from", "run", "--out", "further", cwd=studio)
    assert further.returncode == 0, further.stderr
    shipped = restore(*learning, "--from", "shipped", "--out", "own", cwd=studio)
    assert shipped.returncode == 0, shipped.stderr
    for arguments, code, message in [
        ((*learning, "--task", "deblur", "--from", "shipped", "--out", "new"), 1, "no network for 'deblur' comes"),
        ((*learning, "--from", "nowhere", "--out", "new"), 1, "nowhere is not a run folder"),
        (("pictures", "--from", "run"), 2, "belong to --train"),
    ]:
        failed = restore(*arguments, cwd=studio)
        assert (failed.returncode, message in failed.stderr) == (code, True), failed.stderr
    assert not (studio / "new").exists()


@pytest.mark.parametrize("arguments", [[], ["--careful"], ["--box", "10,10,5,5"]])
def test_weights_with_infinite_results_are_named_and_leave_no_picture(
    studio: Path, tmp_path: Path, arguments: list[str]
) -> None:
    network, _ = load_network(studio / "run")
    with torch.no_grad():
        network.last.weight.fill_(3e38)
    shutil.copytree(studio / "run", tmp_path / "huge")
    write_weights(tmp_path / "huge" / "weights.safetensors", network, epochs=1)
    shutil.copy(studio / "pictures" / "a.jpg", tmp_path)
    result = restore("a.jpg", "-o", "new.png", "--model", "huge", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "huge/weights.safetensors: the network computes numbers that are not finite" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "huge"]
