"""`train --config`: configurations from runs, JSON and TOML, with options that replace their values."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from logcosh_vae.base.settings import from_dict, to_dict
from logcosh_vae.cli import main
from logcosh_vae.training.config import TrainConfig, resolve

RUN = {
    "data": {"name": "mnist", "limit": 300},
    "model": {"family": "vae", "network": "mlp", "hidden": [16]},
    "objective": {"loss": "log-cosh", "a": 30.0},
    "epochs": 5,
    "seed": 3,
}
TOML = """
epochs = 5
seed = 3
data = {name = "mnist", limit = 300}
model = {hidden = [16]}
[objective]
a = 30
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    resolved = to_dict(resolve(from_dict(TrainConfig, RUN)))
    Path("config.json").write_text(json.dumps({"kind": "auto-encoder", "train": resolved, "image_shape": [1, 28, 28]}))
    Path("settings.json").write_text(json.dumps(RUN))
    Path("settings.toml").write_text(TOML)
    Path("restoration.json").write_text(json.dumps({"kind": "restoration", "train": {}}))
    Path("broken.toml").write_text("epochs = = 3")
    Path("unknown.toml").write_text("[objective]\nlos = 1")
    Path("list.json").write_text("[1]")
    Path("null.json").write_text('{"train": null}')
    Path("binary.json").write_bytes(b"\xff\xfe\x00")
    Path("deep.json").write_text("[" * 100_000)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the command in this process, because importing torch in a new one takes seconds; returns the exit code."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(sys, "argv", ["logcosh-vae", "train", *arguments])
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """A function that returns the configuration that a command line means."""

    def config(*arguments: str) -> TrainConfig:
        assert command(monkeypatch, *arguments, "--print-config") == 0
        output, errors = capfd.readouterr()
        assert errors == ""
        return from_dict(TrainConfig, json.loads(output))

    return config


def test_a_printed_configuration_is_complete_and_can_be_used_again(printed: Any) -> None:
    options = ("--loss", "l1", "--epochs", "7", "--set", "model.hidden=[8]")
    config = printed(*options)
    assert config == resolve(config)
    assert (config.objective.loss, config.epochs, config.model.hidden) == ("l1", 7, (8,))
    Path("printed.json").write_text(json.dumps(to_dict(config)))
    assert printed("--config", "printed.json") == config


@pytest.mark.parametrize("file", ["config.json", "settings.json", "settings.toml"])
def test_all_kinds_of_files_mean_the_same(file: str, printed: Any) -> None:
    assert printed("--config", file) == resolve(from_dict(TrainConfig, RUN))


@pytest.mark.parametrize("file", ["config.json", "settings.toml"])
def test_options_replace_values_of_the_file(file: str, printed: Any) -> None:
    config = printed("--config", file, "--epochs", "9", "--a", "70", "--set", "data.limit=200", "--seed", "0")
    assert (config.epochs, config.objective.a, config.data.limit, config.seed) == (9, 70.0, 200, 0)
    assert config.model.hidden == (16,)


@pytest.mark.parametrize("file", ["config.json", "settings.toml"])
def test_other_losses_and_models_get_their_own_defaults(file: str, printed: Any) -> None:
    assert printed("--config", file, "--loss", "l2").objective.a is None
    wae = printed("--config", file, "--model", "wae-mlp")
    assert (wae.objective.reconstruction_weight, wae.objective.a, wae.epochs) == (0.005, 30.0, 5)
    conv = printed("--config", file, "--model", "vae-conv", "--set", "model.hidden=null")
    assert (conv.model.width, conv.optimizer.betas) == (1.0, (0.5, 0.999))
    faces = printed("--config", file, "--data", "celeba", "--size", "32x48")
    assert (faces.data.size, faces.model.latent_size, faces.data.limit) == ((32, 48), 64, 300)
    assert printed("--config", file, "--likelihood", "fixed").objective.a == 30.0
    automatic = printed("--config", file, "--loss", "auto").objective
    assert (automatic.loss, automatic.a, automatic.likelihood) == ("log-cosh", None, "scale+shape")
    learned = printed("--config", file, "--likelihood", "scale")
    assert (learned.objective.a, learned.objective.likelihood) == (None, "scale")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "missing.json"], "missing.json cannot be read: No such file"),
        (["--config", "restoration.json"], "not the config of an autoencoder; its kind is 'restoration'"),
        (["--config", "broken.toml"], "broken.toml is not valid TOML"),
        (["--config", "unknown.toml"], "unknown.toml: config key in objective: unknown 'los'; did you mean 'loss'"),
        (["--config", "list.json"], "must contain settings by name"),
        (["--config", "null.json"], "null.json: the config must be settings by name; got None"),
        (["--config", "binary.json"], "not text in UTF-8"),
        (["--config", "deep.json"], "deep.json is damaged"),
        (["--config", "settings.toml", "--loss", "l2", "--a", "3"], "--a belongs to log-cosh"),
        (["--config", "settings.toml", "--model", "vae-conf"], "did you mean 'vae-conv'"),
        (["--config", "settings.toml", "--model", "vae-conv"], "model.hidden applies to model.network='mlp' only"),
        (["--config", "settings.toml"], "--out is missing"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = [] if "--out" in message else ["--out", "new"]
    assert command(monkeypatch, *arguments, *out) in (1, 2)
    output, errors = capfd.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert message in errors
    assert not Path("new").exists()


def test_a_run_is_trained_again_from_its_config(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--data-root", str(data_root), "--epochs", "1"]
    assert command(monkeypatch, "--config", "settings.toml", "--out", "first", *options) == 0
    assert command(monkeypatch, "--config", "first/config.json", "--out", "second", "--data-root", str(data_root)) == 0
    weights = [Path(run, "weights.safetensors").read_bytes() for run in ("first", "second")]
    assert weights[0] == weights[1]
    assert capfd.readouterr().err.count("error") == 0
