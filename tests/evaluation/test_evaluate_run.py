"""Evaluation of a run folder: which weights were measured is certain, and classifiers are whole or absent."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from logcosh_vae.base.errors import MissingFeaturesError, RunError
from logcosh_vae.base.files import write_json
from logcosh_vae.base.records import read_record
from logcosh_vae.base.settings import override
from logcosh_vae.cli import command
from logcosh_vae.cli.entry import Signals
from logcosh_vae.evaluation import evaluate as evaluation
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.feature_installation import install_classifier
from logcosh_vae.evaluation.feature_training import FeatureConfig, train_features
from logcosh_vae.evaluation.features import load_classifier
from logcosh_vae.evaluation.records import EvaluationConfig, RunEvaluation
from logcosh_vae.training.autoencoder import load, train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.run_folder import RunFolder
from logcosh_vae.training.weights_file import read_weights, write_weights

FEW = EvaluationConfig(sharpness_images=4, fid_images=8)
SHAPE = (1, 28, 28)


@pytest.fixture
def run(tmp_path: Path, data_root: Path) -> RunFolder:
    config = override(TrainConfig(epochs=1), ["data.limit=200", "model.hidden=[4]", "track_images=0"])
    return train(config, tmp_path / "run", root=data_root)


def test_evaluation_and_training_exclude_each_other(
    run: RunFolder, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(path.name for path in run.path.iterdir())
    with run.lock(), pytest.raises(RunError, match="another process is training or evaluating"):
        evaluate(run.path, FEW, root=data_root)
    assert sorted(path.name for path in run.path.iterdir()) == names
    measure, refused = evaluation.measure, []

    def train_meanwhile(*arguments: Any) -> dict[str, float]:
        with pytest.raises(RunError, match="another process"), RunFolder(run.path).lock():
            pass
        refused.append(True)
        return measure(*arguments)

    monkeypatch.setattr(evaluation, "measure", train_meanwhile)
    result = evaluate(run.path, FEW, root=data_root)
    assert refused == [True]
    assert result.weights == read_weights(run.weights_path).digest
    assert read_record(RunEvaluation, run.path / "evaluation.json", sealed=True) == result


@pytest.mark.parametrize("target", [(evaluation, "write_record"), (os, "fsync")], ids=["record", "pictures"])
def test_results_that_cannot_be_stored_are_returned_with_a_message(
    run: RunFolder, data_root: Path, monkeypatch: pytest.MonkeyPatch, target: tuple[Any, str]
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(*target, read_only)
    notes: list[str] = []
    assert evaluate(run.path, FEW, root=data_root, on_unwritable=notes.append).metrics
    assert "Read-only file system" in notes[0]
    with pytest.raises(RunError, match="the results are not stored"):
        evaluate(run.path, FEW, root=data_root)


@pytest.mark.parametrize("verb", ["evaluate", "sample", "reconstruct", "interpolate"])
def test_weights_with_infinite_results_are_named_and_leave_no_picture(
    run: RunFolder, data_root: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    model = load(run.path)
    with torch.no_grad():
        list(model.encoder.parameters())[-1].fill_(10.0)  # codes of real images
        first, _, last, _ = model.decoder.parameters()
        first.copy_(torch.tensor([[3e38], [-3e38]]).repeat(2, first.shape[1]))  # overflows
        last.zero_()  # infinity times 0
    write_weights(run.weights_path, model, epochs=1)
    before = sorted(path.name for path in run.path.iterdir())
    code = command.run([verb, str(run.path), "--data-root", str(data_root)], Signals(), debug=False)
    assert code == 1
    output = capsys.readouterr()
    assert len(output.err.splitlines()) == 1
    assert f"{run.weights_path}: the " in output.err
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_a_folder_that_cannot_be_written_to_is_named_before_the_work(
    run: RunFolder, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    create, measure = os.open, evaluation.measure

    def read_only(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_EXCL and Path(path).parent == run.path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return create(path, flags, *arguments, **options)

    def recorded(*arguments: Any) -> dict[str, float]:
        events.append("measured")
        return measure(*arguments)

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(evaluation, "measure", recorded)
    before = sorted(run.path.iterdir())
    with pytest.raises(RunError, match="cannot be written to"):
        evaluate(run.path, FEW, root=data_root)
    assert events == []
    settings = replace(FEW, priors=("gaussian",))
    assert "fid_gaussian" in evaluate(run.path, settings, root=data_root, on_unwritable=events.append).metrics
    assert events == [
        f"{run.path} cannot be written to (Read-only file system); the results are printed, but not stored",
        "measured",
    ]
    assert sorted(run.path.iterdir()) == before


def test_a_full_disk_is_named_by_its_reason(run: RunFolder, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    notes: list[str] = []
    evaluate(run.path, FEW, root=data_root, on_unwritable=notes.append)
    assert notes == [f"{run.path} cannot be written to (No space left on device); the results are not stored"]


@pytest.fixture(scope="module")
def classifier_run(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> RunFolder:
    config = FeatureConfig(limit=100, epochs=1, widths=(2, 2))
    return train_features(config, tmp_path_factory.mktemp("features") / "run", root=data_root)


def test_a_classifier_needs_one_file(classifier_run: RunFolder, tmp_path: Path) -> None:
    weights = install_classifier(classifier_run, tmp_path)
    _, card = load_classifier("mnist", SHAPE, tmp_path, tmp_path)
    assert card["command"] == "logcosh-vae train-features mnist"
    weights.with_suffix(".json").unlink()
    assert load_classifier("mnist", SHAPE, tmp_path, tmp_path)[1] == card


def test_weights_without_a_card_count_as_missing(
    classifier_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions left them when they were killed."""
    weights = install_classifier(classifier_run, tmp_path)
    safetensors.torch.save_file(safetensors.torch.load_file(weights), weights)
    _, card = load_classifier("mnist", SHAPE, tmp_path, tmp_path)  # a card beside the weights, as before
    write_json(weights.with_suffix(".json"), card | {"fingerprint": "0"})
    with pytest.raises(RunError, match="its fingerprint is"):
        load_classifier("mnist", SHAPE, tmp_path, tmp_path)
    weights.with_suffix(".json").unlink()
    monkeypatch.setattr("logcosh_vae.evaluation.features.feature_folders", lambda _: [tmp_path])
    with pytest.raises(MissingFeaturesError):
        load_classifier("mnist", SHAPE, tmp_path)
    install_classifier(classifier_run, tmp_path)
    assert load_classifier("mnist", SHAPE, tmp_path)[1] == card


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors["output.weight"].fill_(torch.nan),
        lambda tensors: tensors.update({name: value.half() for name, value in tensors.items()}),
        lambda tensors: tensors.popitem(),
    ],
    ids=["nan", "float16", "missing"],
)
def test_changed_weights_of_a_classifier_are_refused(
    classifier_run: RunFolder, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any]
) -> None:
    weights = install_classifier(classifier_run, tmp_path)
    tensors = safetensors.torch.load_file(weights)
    change(tensors)
    safetensors.torch.save_file(tensors, weights)
    with pytest.raises(RunError, match=r"mnist\.safetensors cannot be used as features"):
        load_classifier("mnist", SHAPE, tmp_path, tmp_path)


def test_a_classifier_of_other_images_is_refused(classifier_run: RunFolder, tmp_path: Path) -> None:
    weights = install_classifier(classifier_run, tmp_path)
    weights.rename(tmp_path / "fashion-mnist.safetensors")
    with pytest.raises(RunError, match=r"fashion-mnist\.safetensors cannot be used .* holds mnist-classifier"):
        load_classifier("fashion-mnist", SHAPE, tmp_path, tmp_path)


def test_a_classifier_needs_a_batch_of_images(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="20 training images, fewer than one batch of 100"):
        train_features(FeatureConfig(limit=20), tmp_path / "run", root=data_root)
    assert not (tmp_path / "run").exists()
