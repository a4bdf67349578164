"""The tool that makes the models of the package, from a run to samples by name."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from logcosh_vae import VAE
from logcosh_vae.base.settings import from_dict
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.training import model_names
from logcosh_vae.training.config import TrainConfig, resolve

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_becomes_a_model_of_the_package(
    run: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("ship_models")
    for config, _ in tool.MODELS.values():
        assert resolve(from_dict(TrainConfig, config)).epochs == 40
    monkeypatch.setattr(tool, "EvaluationConfig", lambda priors: EvaluationConfig(4, 200, priors=priors))
    shutil.copytree(run, tmp_path / "run")
    shipped = tmp_path / "weights"
    for _ in range(2):  # the second time, nothing is measured
        tool.main([f"digits={tmp_path / 'run'}", "--to", str(shipped), "--data-root", str(data_root)])
        monkeypatch.setattr(tool, "evaluate", None)
    assert capsys.readouterr().out.splitlines()[0].startswith("digits: 0.")
    monkeypatch.setattr(model_names, "WEIGHTS_FOLDER", shipped)
    monkeypatch.delenv(model_names.MODELS_VARIABLE, raising=False)
    model = VAE.from_pretrained("digits")
    codes = model.densities["mixture"].sample(4, torch.Generator().manual_seed(0)).float()
    assert model.decode(codes).shape == (4, 1, 28, 28)
    measured = json.loads((shipped / "digits" / "config.json").read_text())["pretrained"]["measured"]
    assert {"fid", "fid_mixture"} <= set(measured["metrics"])
    assert measured["features"]["name"] == "mnist-classifier"
    assert (
        evaluate(shipped / "digits", EvaluationConfig(4, 200, priors=("mixture",)), root=data_root).metrics["fid"] > 0
    )
