"""Finished runs and evaluations are reused only for the same images, and results name the commit they come from."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import logcosh_vae
from logcosh_vae.base import versions
from logcosh_vae.base.errors import ConfigError, RunError
from logcosh_vae.base.records import SEAL, seal
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.experiments.autoencoders import AutoencoderExperiment, AutoencoderJob, Row
from logcosh_vae.experiments.experiment import PrepareCallbacks
from logcosh_vae.restoration import evaluation
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.evaluation import RestorationJob
from logcosh_vae.training.autoencoder import fingerprints, run_name
from logcosh_vae.training.config import DataConfig, ModelConfig, TrainConfig, resolve


def _write_image(path: Path, seed: int) -> None:
    """Write a smooth random image of 40x32 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((40, 32), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of 30 images; the cache of prepared images is empty."""
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(30):
        _write_image(folder / f"{number}.png", number)
    return folder


def _compare(image_folder: Path, out: Path) -> dict[str, Any]:
    """Run the command `compare`, and return its results."""
    command = [sys.executable, "-m", "logcosh_vae", "compare", "--data", str(image_folder), "--loss", "l2"]
    command += ["--size", "16"]
    settings = ["--set", "batch_size=10", "--set", "model.hidden=[16]", "--epochs", "1", "--out", str(out), "--resume"]
    subprocess.run([*command, *settings], check=True, capture_output=True, timeout=300)
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results


def _change_images(folder: Path) -> None:
    for number in range(20):  # a training may drop a single image, as the last batch can be incomplete
        _write_image(folder / f"{number}.png", 100 + number)


def _add_images(folder: Path) -> None:
    for number in range(30, 34):
        _write_image(folder / f"{number}.png", number)


def test_run_folders_that_were_exchanged_are_not_reused(image_folder: Path, tmp_path: Path) -> None:
    """One with other images, and one of another seed."""
    config = resolve(
        TrainConfig(
            data=DataConfig(str(image_folder), size=(16,)), model=ModelConfig(hidden=(4,)), epochs=1, batch_size=4
        )
    )
    few = EvaluationConfig(sharpness_images=4, fid_images=8)

    def job_of(config: TrainConfig) -> AutoencoderJob:
        return AutoencoderJob(config, tmp_path / run_name(config, fingerprints(config)), few, tmp_path)

    before, other = job_of(config), job_of(replace(config, seed=7))
    for job in (before, other):
        job.run()
    _change_images(image_folder)
    after = job_of(config)
    for job in (after, other):
        shutil.rmtree(job.path, ignore_errors=True)
        shutil.copytree(before.path, job.path)
        assert job.cached_result() is None
        with pytest.raises(RunError, match="holds a run with another"):
            job.run()


@pytest.mark.parametrize("change", [_change_images, _add_images])
def test_comparison_is_repeated_if_images_change(
    change: Callable[[Path], None], image_folder: Path, tmp_path: Path
) -> None:
    before = _compare(image_folder, tmp_path / "out")
    shutil.copytree(image_folder, tmp_path / "copy")
    change(image_folder)
    after = _compare(image_folder, tmp_path / "out")
    assert after["runs"] == {"total": 1, "reused": 0}
    assert after["rows"][0]["metrics"] != before["rows"][0]["metrics"]
    assert after["rows"][0]["runs"] != before["rows"][0]["runs"]
    shutil.rmtree(image_folder)
    shutil.copytree(tmp_path / "copy", image_folder)
    again = _compare(image_folder, tmp_path / "out")
    assert again["runs"] == {"total": 1, "reused": 1}
    assert again["rows"][0]["metrics"] == before["rows"][0]["metrics"]


@pytest.mark.parametrize("name", ["TRAINING", "DATA"])
def test_run_name_depends_on_training_and_data_version(
    name: str, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve(TrainConfig(data=DataConfig(str(image_folder), size=(16,))))
    images = fingerprints(config)
    before = run_name(config, images)
    monkeypatch.setattr(f"logcosh_vae.training.autoencoder.{name}", getattr(versions, name) + 1)
    assert run_name(config, images) != before


def test_run_name_fits_into_a_file_system() -> None:
    names = set()
    for letter in "xy":
        config = resolve(TrainConfig(DataConfig("é" * 120 + letter, size=(8, 8), channels=1)))
        names.add(run_name(config, {"train": "t", "test": "t"}))
    assert len(names) == 2
    assert max(len(name.encode()) for name in names) <= 255


def test_restoration_is_evaluated_again_if_test_images_change(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = tmp_path / "test"
    test.mkdir()
    for number in range(2):
        _write_image(test / f"{number}.png", 100 + number)
    small = RestorationConfig(
        str(image_folder), "denoise", widths=(4,), tile_size=32, crop_size=16, batch_size=2, val_images=2
    )
    config = resolve_restoration(replace(small, epochs=1, steps=2))
    job = RestorationJob(config, tmp_path / "run", tmp_path, test)
    before = job.run()
    assert job.cached_result() == before
    _write_image(test / "1.png", 7)
    assert job.cached_result() is None
    after = job.run()
    assert (after.ssim[0], after.images) == (before.ssim[0], before.images)
    assert after.ssim[1] != before.ssim[1]
    monkeypatch.setattr(evaluation, "RESTORATION", versions.RESTORATION + 1)
    assert job.cached_result() is None


def test_commit_of_another_repository_is_not_recorded(tmp_path: Path) -> None:
    other = tmp_path / "other"
    packages = other / "venv" / "lib"
    package = Path(logcosh_vae.__file__).parent
    shutil.copytree(package, packages / "logcosh_vae", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    git = ["git", "-C", str(other), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from logcosh_vae.base.environment import commit; print(commit())"
    )
    command = [sys.executable, "-c", code, str(packages)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("v")


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.update(schema_version=None),
        lambda values: values.update(weights="0" * 64),
        lambda values: values["metrics"].clear(),
        lambda values: values["metrics"].update(sharpness_generated=float("nan")),
        lambda values: values.update(test=None, schema_version=1),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_a_damaged_evaluation_is_measured_anew(
    damage: Callable[[dict[str, Any]], None], sealed: bool, image_folder: Path, tmp_path: Path
) -> None:
    config = resolve(
        TrainConfig(
            data=DataConfig(str(image_folder), size=(16,)), model=ModelConfig(hidden=(4,)), epochs=1, batch_size=4
        )
    )
    few = EvaluationConfig(sharpness_images=4, fid_images=8)
    job = AutoencoderJob(config, tmp_path / "run", few, tmp_path)
    before = job.run()
    assert job.cached_result() == before
    values = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    values.pop(SEAL)
    damage(values)
    values[SEAL] = seal(values) if sealed else "0" * 16
    (tmp_path / "run" / "evaluation.json").write_text(json.dumps(values))
    assert job.cached_result() is None
    assert job.run().metrics == before.metrics


def test_rows_are_checked_against_the_images_before_anything_is_trained(image_folder: Path, tmp_path: Path) -> None:
    config = TrainConfig(DataConfig(str(image_folder), size=(16,)), ModelConfig(hidden=(4,)), batch_size=4)
    rows = (Row(config), Row(replace(config, batch_size=100)))
    with pytest.raises(ConfigError, match="batch_size 100 is larger than the 27 training images"):
        AutoencoderExperiment("own", "Own", "own", rows).prepare(tmp_path / "runs", tmp_path, PrepareCallbacks())
    assert not (tmp_path / "runs").exists()
