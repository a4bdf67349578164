"""Training on MNIST: reproducible bytes, also after a kill and a resume; the run folder; the effect of the loss."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import logcosh_vae
from logcosh_vae.base.errors import ConfigError, RunError
from logcosh_vae.base.settings import override
from logcosh_vae.data import load_images
from logcosh_vae.evaluation.feature_installation import train_missing_features
from logcosh_vae.evaluation.feature_training import FeatureConfig, accuracy, feature_config, train_features
from logcosh_vae.evaluation.features import load_classifier
from logcosh_vae.losses import Loss
from logcosh_vae.models import VAE
from logcosh_vae.training import builders, run_folder
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import ModelConfig, TrainConfig, resolve
from logcosh_vae.training.config_file import read_config
from logcosh_vae.training.objective import Losses, Objective
from logcosh_vae.training.run_folder import RunFolder
from logcosh_vae.training.session import Callbacks


def small(**values: object) -> TrainConfig:
    settings = ["data.limit=1000", "model.hidden=[32,32]", "log_every=2", "picture_every=2"]
    return override(replace(TrainConfig(epochs=4), **values), settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "loss"),
    [*product(["vae-mlp", "wae-mlp"], ["l2", "l1", "log-cosh"]), ("vae-conv", "log-cosh"), ("wae-conv", "l2")],
)
def test_same_config_gives_same_bytes_also_after_resume(model: str, loss: str, tmp_path: Path, data_root: Path) -> None:
    family, _, network = model.partition("-")
    config = override(small(), [f"model.family={family}", f"objective.loss={loss}"])
    if network == "conv":
        config = replace(config, model=ModelConfig(family, network, width=1 / 32))
    whole = train(config, tmp_path / "whole", root=data_root)
    train(replace(config, epochs=2), tmp_path / "parts", root=data_root)
    parts = train(config, tmp_path / "parts", root=data_root, resume=True)
    assert whole.weights_path.read_bytes() == parts.weights_path.read_bytes()
    assert [r["train"] for r in whole.metrics()] == [r["train"] for r in parts.metrics()]
    assert [r["validation"] for r in whole.metrics()] == [r["validation"] for r in parts.metrics()]


class StoppedError(Exception):
    """Raised by a callback to stop training."""


def test_short_epochs_share_a_state_and_resume_continues_from_it(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "STATE_SECONDS", 1e6)
    config = replace(small(), epochs=4)

    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == 3:
            raise StoppedError

    whole, stopped = train(config, tmp_path / "whole", root=data_root), tmp_path / "stopped"
    with pytest.raises(StoppedError):
        train(config, stopped, root=data_root, callbacks=Callbacks(on_epoch=stop))
    assert torch.load(stopped / "state.pt", weights_only=True)["epoch"] == 1
    assert len(RunFolder(stopped).metrics()) == 3
    resumed = train(config, stopped, root=data_root, resume=True)
    assert resumed.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert [r["validation"] for r in resumed.metrics()] == [r["validation"] for r in whole.metrics()]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path, data_root: Path) -> None:
    settings = ["--set", "model.hidden=[32]", "--set", "data.limit=20000", "--epochs", "6"]
    command = [sys.executable, "-m", "logcosh_vae", "train", "--data-root", str(data_root), *settings, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, timeout=120)
    for kind in (signal.SIGKILL, signal.SIGINT):
        out = tmp_path / kind.name
        process = subprocess.Popen([*command, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(RunFolder(out).metrics()) < 1 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=60)
        assert not RunFolder(out).weights_path.exists(), "the run was over before it was stopped"
        if kind == signal.SIGINT:
            assert process.returncode == 130
            assert b"--resume" in errors
            assert b"Traceback" not in errors
        subprocess.run([*command, str(out), "--resume"], check=True, capture_output=True, timeout=120)
        assert RunFolder(out).weights_path.read_bytes() == (tmp_path / "whole" / "weights.safetensors").read_bytes()


def test_steps_with_and_without_the_loss_train_to_the_same_weights(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small()
    cheap = train(config, tmp_path / "cheap", root=data_root)
    asked, backward = [], Objective.backward

    def always_computed(self: Objective, *arguments: Any, compute_loss: bool) -> Losses:
        asked.append(compute_loss)
        return backward(self, *arguments, compute_loss=True)

    monkeypatch.setattr(Objective, "backward", always_computed)
    exact = train(config, tmp_path / "exact", root=data_root)
    assert asked.count(False) > 10
    first, second = (safetensors.torch.load_file(folder.weights_path) for folder in (cheap, exact))
    for name, weights in first.items():
        torch.testing.assert_close(weights, second[name], rtol=1e-4, atol=1e-5)
    monkeypatch.undo()
    other = train(override(config, ["objective.a=10"]), tmp_path / "other", root=data_root)
    different = safetensors.torch.load_file(other.weights_path)
    assert any((first[name] - different[name]).abs().max() > 1e-3 for name in first)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_networks_train_to_the_same_weights_and_failed_compilation_is_reported(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, notes = small(epochs=1), []
    runs = [train(config, tmp_path / "plain", root=data_root)]
    for name in ("compiled", "not possible"):
        compiled = override(config, ["compiled=true"])
        runs.append(train(compiled, tmp_path / name, root=data_root, callbacks=Callbacks(on_message=notes.append)))
        assert len(notes) == (name == "not possible")
        monkeypatch.setattr(torch, "compile", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no compiler")))
    assert notes[0] == "the networks are not compiled: no compiler"
    plain, compiled_weights, without = (safetensors.torch.load_file(run.weights_path) for run in runs)
    for name, weights in plain.items():
        torch.testing.assert_close(compiled_weights[name], weights, rtol=1e-4, atol=1e-5)
        assert torch.equal(without[name], weights)


def test_continued_training_deletes_the_outdated_evaluation(tmp_path: Path, data_root: Path) -> None:
    run = train(small(epochs=1), tmp_path / "run", root=data_root)
    (run.path / "evaluation.json").write_text("{}")
    train(small(epochs=1), run.path, resume=True, root=data_root)
    assert (run.path / "evaluation.json").is_file(), "a finished run must stay unchanged"
    train(small(epochs=2), run.path, resume=True, root=data_root)
    assert not (run.path / "evaluation.json").exists()


def test_training_restores_threads_and_denormals(tmp_path: Path, data_root: Path) -> None:
    threads = torch.get_num_threads()
    train(override(small(epochs=1), ["threads=1"]), tmp_path / "run", root=data_root)
    assert torch.get_num_threads() == threads
    assert torch.tensor(1e-39).mul(1.0).item() > 0.0, "denormals are still flushed"


def test_tracking_does_not_change_the_weights(tmp_path: Path, data_root: Path) -> None:
    """Tested with batch normalisation, whose statistics would change if tracking ran in training mode."""
    conv = override(small(epochs=2), ["model.network=conv", "model.hidden=null", "model.width=0.03125", "log_every=3"])
    weights = {}
    for images in (0, 250):
        run = train(override(conv, [f"track_images={images}"]), tmp_path / str(images), root=data_root)
        weights[images] = run.weights_path.read_bytes()
        tracked = [point for record in run.metrics() for point in record.get("tracked", [])]
        steps = [point["step"] for point in tracked]
        assert (steps == sorted(set(steps)) and len(steps) > 4) if images else not tracked
    assert weights[0] == weights[250]
    assert tracked[-1]["squared_l2"] < tracked[0]["squared_l2"]


def test_run_folder_has_config_records_pictures_and_weights(tmp_path: Path, data_root: Path) -> None:
    folder = train(small(), tmp_path / "run", root=data_root)
    config = json.loads(folder.config_path.read_text())
    assert config["train"]["objective"]["a"] == 100.0
    records = folder.metrics()
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    for part in ("train", "validation"):
        assert set(records[0][part]) == {"loss", "reconstruction", "kl", "squared_l2"}
    assert records[-1]["validation"]["loss"] < records[0]["validation"]["loss"]
    assert [p.name for p in sorted((tmp_path / "run" / "samples").iterdir())] == [
        "epoch-0001.png",
        "epoch-0002.png",
        "epoch-0004.png",
    ]
    model = logcosh_vae.load(tmp_path / "run")
    assert not model.training
    with pytest.raises(RunError, match="already holds a run"):
        train(small(), tmp_path / "run", root=data_root)
    with pytest.raises(RunError, match=r"another train\.seed"):
        train(small(seed=1), tmp_path / "run", root=data_root, resume=True)
    folder.weights_path.write_bytes(folder.weights_path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"weights\.safetensors cannot be loaded"):
        logcosh_vae.load(tmp_path / "run")


def test_run_folder_of_version_0_1_resumes_and_loads(tmp_path: Path, data_root: Path) -> None:
    """Its config had other keys, and its records called the loss `objective`."""
    path = tmp_path / "run"
    train(small(epochs=1), path, root=data_root)
    config, records = path / "config.json", path / "metrics.jsonl"
    text = config.read_text().replace('"reconstruction_weight"', '"weight"').replace('"eps"', '"epsilon"')
    config.write_text(text.replace('"lr_milestones"', '"drops"'))
    records.write_text(records.read_text().replace('"loss"', '"objective"'))
    logcosh_vae.load(path)
    folder = train(small(epochs=2), path, root=data_root, resume=True)
    assert [set(record["train"]) for record in folder.metrics()] == [{"loss", "reconstruction", "kl", "squared_l2"}] * 2
    whole = train(small(epochs=2), tmp_path / "whole", root=data_root)
    assert folder.weights_path.read_bytes() == whole.weights_path.read_bytes()


def test_a_convolutional_vae_from_before_log_variances_had_a_limit_is_loaded_as_it_was(
    tmp_path: Path, data_root: Path
) -> None:
    config = override(small(epochs=1), ["model.network=conv", "model.hidden=null", "model.width=0.03125"])
    assert logcosh_vae.load(train(config, tmp_path / "new", root=data_root).path).max_log_variance == 4.0
    folder = train(override(config, ["model.max_log_variance=20"]), tmp_path / "run", root=data_root)
    values = json.loads(folder.config_path.read_text())
    assert values["train"]["model"].pop("max_log_variance") == 20.0
    folder.config_path.write_text(json.dumps(values))
    model = logcosh_vae.load(folder.path)
    assert model.max_log_variance == 20.0
    model.save_pretrained(tmp_path / "model")
    assert VAE.from_pretrained(tmp_path / "model").max_log_variance == 20.0
    with pytest.raises(RunError, match=r"max_log_variance \(20.0, now 4.0\)"):
        train(override(config, ["epochs=2"]), folder.path, root=data_root, resume=True)
    again = read_config(folder.config_path)  # train --config, with which the run is continued as it was
    assert again.model.max_log_variance == 20.0
    train(override(again, ["epochs=2"]), folder.path, root=data_root, resume=True)
    assert [record["epoch"] for record in folder.metrics()] == [1, 2]


def test_locked_run_folder_is_an_error(tmp_path: Path, data_root: Path) -> None:
    folder = train(small(), tmp_path / "run", root=data_root)
    with folder.lock(), pytest.raises(RunError, match="another process"):
        train(small(), tmp_path / "run", root=data_root, resume=True)


def test_diverged_training_is_an_error(tmp_path: Path, data_root: Path) -> None:
    from logcosh_vae.base.errors import TrainingError

    with pytest.raises(TrainingError, match=r"diverged in epoch \d+, step \d+.*lower the learning rate"):
        train(override(small(), ["optimizer.learning_rate=1e30"]), tmp_path / "run", root=data_root)


@pytest.mark.slow
def test_log_cosh_is_sharper_than_l2_after_two_epochs(tmp_path: Path, data_root: Path) -> None:
    from logcosh_vae.data.batches import to_unit
    from logcosh_vae.metrics.sharpness import sharpness

    images = to_unit(load_images("mnist", "test", root=data_root).images[:500])
    values = {}
    for loss in ("l2", "log-cosh"):
        config = override(TrainConfig(epochs=2), [f"objective.loss={loss}", "data.limit=20000"])
        train(config, tmp_path / loss, root=data_root)
        with torch.inference_mode():
            values[loss] = sharpness(logcosh_vae.load(tmp_path / loss).reconstruct(images)).mean()
    assert values["log-cosh"] > 1.5 * values["l2"]


def test_shipped_classifier_has_the_accuracy_of_its_card(data_root: Path, tmp_path: Path) -> None:
    classifier, card = load_classifier("mnist", (1, 28, 28), tmp_path)
    obtained = accuracy(classifier, load_images("mnist", "test", root=data_root))
    assert obtained == pytest.approx(card["test_accuracy"], abs=1e-9)
    assert obtained >= 0.994


@pytest.mark.slow
def test_classifier_trains_to_90_percent_in_two_epochs(tmp_path: Path, data_root: Path) -> None:
    config = FeatureConfig(epochs=2, limit=6_000, log_every=5)
    whole = train_features(config, tmp_path / "whole", root=data_root)
    assert whole.metrics()[-1]["validation"]["accuracy"] > 0.9
    with pytest.raises(RunError, match="already holds a run"):
        train_features(config, tmp_path / "whole", root=data_root)


def test_celeba_classifier_learns_the_attributes(celeba_root: Path, tmp_path: Path) -> None:
    config = feature_config("celeba", size=(32, 32), epochs=2, limit=1_500, log_every=5, learning_rate=1e-3)
    train_missing_features(config, (3, 32, 32), tmp_path, tmp_path / "installed", root=celeba_root)
    classifier, card = load_classifier("celeba", (3, 32, 32), celeba_root, tmp_path / "installed")
    test = load_images("celeba", "test", size=(32, 32), root=celeba_root)
    assert test.labels is not None
    assert accuracy(classifier, test) == pytest.approx(card["test_accuracy"], abs=1e-6)
    majority_accuracy = torch.stack([test.labels.float().mean(0), 1 - test.labels.float().mean(0)]).amax(0).mean()
    assert card["test_accuracy"] > float(majority_accuracy) - 0.03
    assert classifier.features(torch.rand(2, 3, 32, 32)).shape == (2, 128)


def test_initial_weights_depend_on_the_seed_only() -> None:
    torch.manual_seed(1)
    first = builders.build_model(resolve(small()), (1, 28, 28)).state_dict()
    torch.manual_seed(2)
    again = builders.build_model(resolve(small()), (1, 28, 28)).state_dict()
    other = builders.build_model(resolve(small(seed=1)), (1, 28, 28)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.1.weight"], other["encoder.1.weight"])


def test_config_sets_loss_and_weight_of_the_objective() -> None:
    objective = builders.build_objective(override(small(), ["objective.reconstruction_weight=2.5", "objective.a=7"]))
    assert objective == Objective(Loss("log-cosh", 7.0), 2.5)


@pytest.mark.parametrize(
    ("model", "test_images", "settings", "message"),
    [
        ("wae", 1, [], "a WAE needs at least 2 test images"),
        ("wae", 5, ["track_images=1"], "track_images must be 0 or at least 2 for a WAE"),
        ("wae", 3, ["batch_size=2"], None),
        ("vae", 1, ["track_images=1"], None),
    ],
)
def test_few_test_images_are_refused_before_training_or_train(
    tmp_path: Path, model: str, test_images: int, settings: list[str], message: str | None
) -> None:
    for split, count in (("train", 4), ("test", test_images)):
        (tmp_path / "set" / split).mkdir(parents=True)
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "set" / split / f"{number}.png")
    data = [f"data.name={tmp_path / 'set'}", "data.size=[8]", f"model.family={model}", "model.hidden=[4]"]
    config = override(TrainConfig(epochs=1, batch_size=4), [*data, "objective.loss=l2", *settings])
    if message is None:
        assert train(config, tmp_path / "run").weights_path.is_file()
        return
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, data_root: Path) -> None:
    folder = train(small(epochs=1), tmp_path / "run", root=data_root)
    model = logcosh_vae.load(folder.path)
    with torch.no_grad():
        next(model.parameters())[0, 0] = math.nan
    folder.save_weights(model)
    with pytest.raises(RunError, match=r"encoder\.1\.weight holds numbers that are not finite"):
        logcosh_vae.load(folder.path)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("config.json", lambda text: text.replace('"vae"', '"x"')),
        ("config.json", lambda text: json.dumps(json.loads(text) | {"train": None})),
        ("config.json", lambda text: json.dumps(json.loads(text) | {"image_shape": [1, 28, "a"]})),
        ("config.json", lambda text: text.replace('"latent_size": 8', '"latent_size": -8')),
        ("config.json", lambda text: text.replace('"epochs": 1', '"epochs": null')),
        ("metrics.jsonl", lambda text: text + "[1]\n"),
    ],
)
def test_a_damaged_run_folder_is_named(
    tmp_path: Path, data_root: Path, file: str, damage: Callable[[str], str]
) -> None:
    path = train(small(epochs=1), tmp_path / "run", root=data_root).path / file
    text = path.read_text()
    path.write_text(damage(text))
    assert path.read_text() != text
    with pytest.raises(RunError, match="run"):
        train(small(epochs=2), path.parent, resume=True, root=data_root)
    if file == "config.json" and "null" not in path.read_text().partition('"epochs"')[2][:8]:
        with pytest.raises(RunError, match=r"config\.json"):
            logcosh_vae.load(path.parent)
