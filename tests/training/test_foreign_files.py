"""Files of another run in a run folder are refused or replaced, and records that cannot be used are named."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import logcosh_vae
from logcosh_vae.base.errors import RunError
from logcosh_vae.base.settings import override
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.feature_training import FeatureConfig, train_features
from logcosh_vae.training import run_folder
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.run_folder import RunFolder
from logcosh_vae.training.session import Callbacks
from logcosh_vae.training.weights_file import metadata_of, write_weights

CONFIG = override(TrainConfig(epochs=2), ["data.limit=200", "model.hidden=[4]", "picture_every=9", "track_images=0"])
OTHER_SEED = replace(CONFIG, seed=7)
GROWN = replace(CONFIG, epochs=3)
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> dict[str, Path]:
    """Runs of two seeds, and that of the first grown to three epochs; tests copy them."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "STATE_SECONDS", 0.0)
        configs = {"run": CONFIG, "other": OTHER_SEED, "grown": GROWN}
        return {name: train(config, folder / name, root=data_root).path for name, config in configs.items()}


@pytest.fixture
def run(runs: dict[str, Path], tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(runs["run"], tmp_path / "run"))


def without_run(run: RunFolder) -> None:
    """Rewrite the files of a run as earlier versions did, without the identifier of the run."""
    write_weights(run.weights_path, logcosh_vae.load(run.path), 2)
    change_records(run, lambda _: None)
    config = run.config()
    del config["run"]
    run.config_path.write_text(json.dumps(config))


def change_records(run: RunFolder, change: Callable[[Records], Any]) -> None:
    """Change the records of a run and write them without digests, as earlier versions did."""
    records = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    for record in records:
        del record["digest"], record["run"]
    change(records)
    run.metrics_path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_weights_of_another_run_are_refused_and_kept(run: RunFolder, runs: dict[str, Path], data_root: Path) -> None:
    shutil.copy(runs["other"] / "weights.safetensors", run.path)
    commands: list[Callable[[], Any]] = [
        lambda: logcosh_vae.load(run.path),
        lambda: evaluate(run.path, root=data_root),
        lambda: train(CONFIG, run.path, resume=True, root=data_root),
        lambda: train(GROWN, run.path, resume=True, root=data_root),
    ]
    for command in commands:
        with pytest.raises(RunError, match=r"weights\.safetensors was written by another run"):
            command()
    assert run.weights_path.read_bytes() == (runs["other"] / "weights.safetensors").read_bytes()
    run.weights_path.unlink()
    train(CONFIG, run.path, resume=True, root=data_root)
    assert run.weights_path.read_bytes() == (runs["run"] / "weights.safetensors").read_bytes()


def test_files_of_a_run_carry_its_identifier_which_growing_keeps(
    run: RunFolder, runs: dict[str, Path], data_root: Path
) -> None:
    identifier = run.run_id()
    assert identifier is not None
    train(GROWN, run.path, resume=True, root=data_root)
    assert run.run_id() == identifier == RunFolder(runs["grown"]).run_id() != RunFolder(runs["other"]).run_id()
    assert metadata_of(run.weights_path.read_bytes())["run"] == identifier
    assert {json.loads(line)["run"] for line in run.metrics_path.read_text().splitlines()} == {identifier}
    assert all("run" not in record for record in run.metrics())
    assert run.weights_path.read_bytes() == (runs["grown"] / "weights.safetensors").read_bytes()


def test_runs_of_earlier_versions_can_be_read_and_continued(
    run: RunFolder, runs: dict[str, Path], data_root: Path
) -> None:
    without_run(run)
    logcosh_vae.load(run.path)
    train(CONFIG, run.path, resume=True, root=data_root)
    assert run.run_id() is None
    train(GROWN, run.path, resume=True, root=data_root)
    for name in ("weights.safetensors", "config.json"):
        assert (run.path / name).read_bytes() == (runs["grown"] / name).read_bytes()


def test_a_feature_classifier_with_weights_of_another_run_is_refused(tmp_path: Path, data_root: Path) -> None:
    first, second = (
        train_features(
            FeatureConfig(limit=100, epochs=1, widths=(2, 2), seed=seed), tmp_path / str(seed), root=data_root
        )
        for seed in (0, 7)
    )
    shutil.copy(second.weights_path, first.path)
    with pytest.raises(RunError, match="was written by another run"):
        first.final_weights()


@pytest.mark.parametrize("finished", [True, False])
def test_records_of_another_run_are_refused(
    run: RunFolder, runs: dict[str, Path], data_root: Path, finished: bool
) -> None:
    shutil.copy(runs["other"] / "metrics.jsonl", run.path)
    if not finished:
        run.weights_path.unlink()
    for config in (CONFIG, GROWN):
        with pytest.raises(RunError, match=r"metrics\.jsonl was written by another run: line 1 .* --resume"):
            train(config, run.path, resume=True, root=data_root)
    run.metrics_path.unlink()
    assert train(GROWN, run.path, resume=True, root=data_root).metrics()[0] == RunFolder(runs["run"]).metrics()[0]


def test_records_of_the_state_replace_others(run: RunFolder, runs: dict[str, Path], data_root: Path) -> None:
    """Also records of later epochs, which belong to the others."""
    run.weights_path.unlink()
    others = RunFolder(runs["other"]).metrics()
    change_records(run, lambda records: records.__setitem__(slice(None), [*others, others[1] | {"epoch": 3}]))
    notes: list[str] = []
    train(CONFIG, run.path, resume=True, root=data_root, callbacks=Callbacks(on_message=notes.append))
    assert run.metrics() == RunFolder(runs["run"]).metrics()
    assert len(notes) == 1
    assert "has other losses than the state of epoch 2" in notes[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records[0].update(seconds=10**400),
        lambda records: records[0].update(seconds=-1),
        lambda records: records[0].update(unknown=math.nan),
        lambda records: records[0].update(unknown=[{"inner": math.inf}]),
        lambda records: records[0]["train"].update(loss=10**400),
        lambda records: records[0].update(tracked=[{"step": 10**400}]),
    ],
)
def test_records_with_numbers_that_cannot_be_used_are_named(
    run: RunFolder, data_root: Path, change: Callable[[Records], Any]
) -> None:
    run.weights_path.unlink()
    change_records(run, change)
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: line 1"):
        train(GROWN, run.path, resume=True, root=data_root)


def test_json_files_may_have_a_byte_order_mark_and_line_ends_of_windows(
    run: RunFolder, runs: dict[str, Path], data_root: Path
) -> None:
    for path in (run.metrics_path, run.config_path):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert run.metrics() == RunFolder(runs["run"]).metrics()
    train(GROWN, run.path, resume=True, root=data_root)
    assert run.weights_path.read_bytes() == (runs["grown"] / "weights.safetensors").read_bytes()
