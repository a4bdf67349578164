"""A small trained run, evaluated and with a fitted density, and pretrained models made of it."""

import shutil
from pathlib import Path

import pytest

import logcosh_vae
from logcosh_vae.base.settings import override
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.priors import density_of_run
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.export.pretrained import load_pretrained, save_pretrained
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.model_names import MODELS_VARIABLE

NAME = "mnist-vae-small"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A run of three epochs. Tests do not change it."""
    config = override(TrainConfig(epochs=3), ["data.limit=400", "model.hidden=[16]", "track_images=0"])
    folder = train(config, tmp_path_factory.mktemp("runs") / "run", root=data_root).path
    density_of_run(folder, logcosh_vae.load(folder), "gaussian", data_root)
    evaluate(folder, EvaluationConfig(sharpness_images=4, fid_images=200), root=data_root)
    return folder


@pytest.fixture(scope="session")
def saved(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as a pretrained model in half precision. Tests do not change it."""
    return save_pretrained(
        load_pretrained(run), tmp_path_factory.mktemp("models") / NAME, precision="float16", license="mit"
    )


@pytest.fixture
def model_folder(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pretrained model that can be named and damaged."""
    copy = tmp_path / "models" / NAME
    shutil.copytree(saved, copy)
    monkeypatch.setenv(MODELS_VARIABLE, str(copy.parent))
    return copy
