"""The tool that makes the models of the package, from a run to samples by name."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import logcosh_vae
from logcosh_vae import VAE
from logcosh_vae.base.records import read_record
from logcosh_vae.base.settings import from_dict
from logcosh_vae.data import load_images
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.records import EvaluationConfig, RunEvaluation
from logcosh_vae.experiments.results import StudyResults
from logcosh_vae.training import model_names
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.loop import make_generator

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
    shipped, measured_paths = tmp_path / "weights", []

    def recorded(path: Path, *args: Any, **options: Any) -> RunEvaluation:
        measured_paths.append(path)
        return evaluate(path, *args, **options)

    monkeypatch.setattr(tool, "evaluate", recorded)
    monkeypatch.setattr(tool, "MODELS", {"digits": ({}, "Digits.")})
    folders = ["--to", str(shipped), "--results", str(tmp_path), "--data-root", str(data_root)]
    for _ in range(2):  # the second time, the run is not measured
        tool.main([f"digits={tmp_path / 'run'}", *folders])
    assert measured_paths == [tmp_path / "run", shipped / "digits", shipped / "digits"]
    results = read_record(StudyResults, tmp_path / "shipped-models.json")
    (row,) = results.rows
    assert row["int8"]["fid"] == pytest.approx(row["float32"]["fid"], rel=0.05)
    assert f"| `digits` | {row['bytes'] / 1e6:.2f} MB |" in tool.markdown(results)
    assert capsys.readouterr().out.splitlines()[0].startswith("digits: 0.")
    monkeypatch.setattr(model_names, "WEIGHTS_FOLDER", shipped)
    monkeypatch.delenv(model_names.MODELS_VARIABLE, raising=False)
    model = VAE.from_pretrained("digits")
    codes = model.densities["mixture"].sample(4, torch.Generator().manual_seed(0)).float()
    assert model.decode(codes).shape == (4, 1, 28, 28)
    measured = json.loads((shipped / "digits" / "config.json").read_text())["pretrained"]["measured"]
    assert {"fid", "fid_mixture"} <= set(measured["metrics"])
    assert measured["features"]["name"] == "mnist-classifier"
    assert measured["metrics"] == row["int8"]
    card = (shipped / "digits" / "README.md").read_text()
    assert 'VAE.from_pretrained("digits")' in card
    assert "before they were rounded" not in card


def test_the_models_of_the_package_are_those_of_the_results_and_draw_digits(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(model_names.MODELS_VARIABLE, raising=False)
    rows = {row["model"]: row for row in read_record(StudyResults, ROOT / "results" / "shipped-models.json").rows}
    assert set(rows) == set(model_names.named_models())
    assert sum(row["bytes"] for row in rows.values()) < 6e6
    real = load_images("mnist", "test", root=data_root).images / 255
    for name, folder in model_names.named_models().items():
        config = json.loads((folder / "config.json").read_text())
        assert config["pretrained"]["measured"]["metrics"] == rows[name]["int8"]
        assert sum(file.stat().st_size for file in folder.iterdir()) == rows[name]["bytes"]
        model = logcosh_vae.load(name)
        codes = model.densities["mixture"].sample(1000, make_generator(0, "codes")).float()
        samples = model.decode(codes)
        assert float(samples.detach().mean()) == pytest.approx(float(real.mean()), rel=0.1)
        error = (model.reconstruct(real[:500]) - real[:500]).square().mean(dim=(1, 2, 3)).mean()
        assert error.item() < 0.4 * float(real.var(dim=0).mean())  # of images that were not trained on
