"""Run folders lose nothing: kills at any moment, damaged states, refused commands, links of others, full disks."""

import errno
import math
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import logcosh_vae
from logcosh_vae.base.errors import DataError, RunError
from logcosh_vae.base.settings import override
from logcosh_vae.training import run_folder, state_file
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.config_file import read_config
from logcosh_vae.training.run_folder import RunFolder
from logcosh_vae.training.session import Callbacks

CONFIG = override(TrainConfig(epochs=2), ["data.limit=200", "model.hidden=[4]", "picture_every=1", "track_images=0"])
GROWN = replace(CONFIG, epochs=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> RunFolder:
    """A finished run of two epochs with a state of each, and an evaluation; tests copy it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "STATE_SECONDS", 0.0)
        run = train(CONFIG, tmp_path_factory.mktemp("runs") / "run", root=data_root)
    (run.path / "evaluation.json").write_text("{}")
    return run


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    subprocess.run(["cp", "-r", finished.path, tmp_path / "run"], check=True)
    return RunFolder(tmp_path / "run")


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, apart from the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def flip(path: Path, position: float = 0.5) -> None:
    """Change a bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 4
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["new", "grow", "install"])
def test_a_kill_at_any_moment_loses_nothing(scenario: str, tmp_path: Path, data_root: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("kill_points.py")), scenario, str(tmp_path)]
    environment = os.environ | {"LOGCOSH_VAE_DATA": str(data_root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= 4


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: [flip(run.path / name) for name in state_file.STATE_NAMES], r"state\.pt is damaged"),
        (lambda run: [(run.path / name).unlink() for name in state_file.STATE_NAMES], "2 trained epochs but no state"),
    ],
    ids=["damaged", "missing"],
)
def test_growing_a_run_without_its_state_is_refused_and_changes_nothing(
    run: RunFolder, data_root: Path, damage: Callable[[RunFolder], Any], message: str
) -> None:
    damage(run)
    before = content(run.path)
    with pytest.raises(RunError, match=message):
        train(GROWN, run.path, resume=True, root=data_root)
    assert content(run.path) == before
    logcosh_vae.load(run.path)
    run.weights_path.unlink()
    with pytest.raises(RunError, match=message):
        train(CONFIG, run.path, resume=True, root=data_root)


@pytest.mark.parametrize(
    "damage", [flip, lambda path: path.write_bytes(b""), Path.unlink], ids=["bit", "empty", "none"]
)
def test_the_former_state_replaces_a_damaged_one(
    run: RunFolder, tmp_path: Path, data_root: Path, damage: Callable[[Path], Any]
) -> None:
    whole, notes = train(GROWN, tmp_path / "whole", root=data_root), []
    damage(run.state_path)
    grown = train(GROWN, run.path, resume=True, root=data_root, callbacks=Callbacks(on_message=notes.append))
    assert len(notes) == 1
    assert "continuing from the former state, of epoch 1" in notes[0]
    assert grown.weights_path.read_bytes() == whole.weights_path.read_bytes()


@pytest.mark.parametrize("lost", ["weights.safetensors", "metrics.jsonl"])
def test_damaged_weights_and_lost_records_are_restored_from_the_state(
    run: RunFolder, data_root: Path, lost: str
) -> None:
    before, notes = content(run.path), []
    if lost == "metrics.jsonl":
        (run.path / lost).unlink()
    else:
        flip(run.path / lost, 0.9)
    train(CONFIG, run.path, resume=True, root=data_root, callbacks=Callbacks(on_message=notes.append))
    assert lost in notes[0]
    assert content(run.path)[lost] == before[lost]


def test_a_full_disk_keeps_the_former_weights_and_state(
    run: RunFolder, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(run.path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"epoch-0003\.png cannot be written \(No space left on device\)"):
            train(GROWN, run.path, resume=True, root=data_root)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, hard))  # more than the picture, less than the state
    try:
        with pytest.raises(RunError, match=r"state\.pt cannot be written \(File too large\)"):
            train(GROWN, run.path, resume=True, root=data_root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = content(run.path)
    kept = ("config.json", "weights.safetensors", "evaluation.json", "metrics.jsonl", *state_file.STATE_NAMES)
    assert all(after[name] == before[name] for name in kept)
    assert not list(run.path.rglob(".tmp-*"))


def test_an_epoch_is_reported_after_the_disk_holds_it(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "STATE_SECONDS", 0.0)
    synced: set[tuple[int, int]] = set()
    sync = os.fsync

    def remember(descriptor: int) -> None:
        sync(descriptor)
        status = os.fstat(descriptor)
        synced.add((status.st_ino, status.st_mtime_ns))

    def check(_: dict[str, Any]) -> None:
        names = ("config.json", "metrics.jsonl", "state.pt")
        status = {name: (tmp_path / "run" / name).stat() for name in names} | {"folder": (tmp_path / "run").stat()}
        assert {name for name, each in status.items() if (each.st_ino, each.st_mtime_ns) not in synced} == set()

    monkeypatch.setattr(os, "fsync", remember)
    train(CONFIG, tmp_path / "run", root=data_root, callbacks=Callbacks(on_epoch=check))


def _lock(run: RunFolder) -> Any:
    context = run.lock()
    context.__enter__()
    return context


@pytest.mark.parametrize(
    ("prepare", "config", "message"),
    [
        (_lock, replace(CONFIG, epochs=100), "another process"),
        (lambda run: None, replace(GROWN, seed=1), r"another train\.seed \(0, now 1\)"),  # noqa: ARG005
        (lambda run: None, replace(CONFIG, epochs=1), r"another train\.epochs"),  # noqa: ARG005
        (lambda run: run.config_path.unlink(), GROWN, "is not empty and does not hold a run"),
        (lambda run: run.metrics_path.write_text("[1]"), GROWN, r"metrics\.jsonl is damaged"),
    ],
    ids=["running", "seed", "fewer", "foreign", "records"],
)
def test_a_refused_command_changes_nothing(
    run: RunFolder, data_root: Path, prepare: Callable[[RunFolder], Any], config: TrainConfig, message: str
) -> None:
    held = prepare(run)
    before = content(run.path)
    with pytest.raises(RunError, match=message):
        train(config, run.path, resume=True, root=data_root)
    assert content(run.path) == before
    if hasattr(held, "__exit__"):
        held.__exit__(None, None, None)


@pytest.mark.parametrize("name", [".lock", "samples", "state.pt", "metrics.jsonl", "config.json", "samples.png"])
@pytest.mark.parametrize("dangling", [False, True])
def test_links_in_a_folder_of_somebody_else_are_not_written_through(
    run: RunFolder, data_root: Path, tmp_path: Path, name: str, dangling: bool
) -> None:
    mine = tmp_path / "mine"
    if (run.path / name).exists():
        (run.path / name).replace(mine)
    else:
        mine.write_text("mine")
    (run.path / name).symlink_to(mine)
    if dangling:
        mine.replace(tmp_path / "moved")
    before = content(tmp_path)
    with pytest.raises(RunError, match=f"{name} "):
        train(GROWN, run.path, resume=True, root=data_root)
    assert content(tmp_path) == before


def test_a_run_whose_files_are_links_can_be_read(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / "shared" / name).symlink_to(run.path / name)
    logcosh_vae.load(tmp_path / "shared")


def _rewrite(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        tensors = safetensors.torch.load_file(path)
        change(tensors)
        safetensors.torch.save_file(tensors, path)

    return rewrite


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w["encoder.1.weight"].view(-1)[0].fill_(math.nan), "not finite"),
        (lambda w: w["encoder.1.weight"].view(-1)[0].fill_(-math.inf), "not finite"),
        (lambda w: w.update({name: value.double() for name, value in w.items()}), "float64"),
        (lambda w: w.update({"encoder.1.bias": w["encoder.1.bias"].half()}), "float16"),
        (lambda w: w.update({"encoder.1.bias": w["encoder.1.bias"][:1].clone()}), r"\(1,\)"),
        (lambda w: w.pop("encoder.1.bias"), r"encoder\.1\.bias is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra does not belong"),
    ],
    ids=["nan", "inf", "float64", "float16", "shape", "missing", "extra"],
)
def test_weights_that_do_not_fit_are_refused(run: RunFolder, change: Callable[..., Any], message: str) -> None:
    _rewrite(change)(run.weights_path)
    with pytest.raises(RunError, match=rf"weights\.safetensors cannot be loaded: .*{message}"):
        logcosh_vae.load(run.path)


def test_any_changed_bit_of_the_weights_is_noticed(run: RunFolder) -> None:
    whole, intact = logcosh_vae.load(run.path).state_dict(), run.weights_path.read_bytes()
    for position in (0.0001, 0.01, 0.015, 0.3, 0.6, 0.99):
        run.weights_path.write_bytes(intact)
        flip(run.weights_path, position)
        try:
            found = run.final_weights()
        except RunError:
            continue
        assert found is not None
        assert (found.epochs, {**found.tensors}.keys()) == (2, whole.keys()), position


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["model"]["encoder.1.weight"].fill_(math.nan), "not finite"),
        (lambda state: state["optimizer"]["state"][0]["exp_avg"].fill_(math.inf), "not finite"),
        (lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)), "shape"),
        (lambda state: state["model"].update({"encoder.1.bias": torch.zeros(4).double()}), "float64"),
        (lambda state: state.update(epoch=7), "number of epochs"),
        (lambda state: state.update(run="other"), "another run"),
        (lambda state: state.pop("optimizer"), "optimizer"),
    ],
)
def test_a_changed_state_is_refused(
    run: RunFolder, data_root: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    (run.path / "state.former.pt").unlink()
    state = torch.load(run.state_path, weights_only=True)
    change(state)
    torch.save(state, run.state_path)
    before = content(run.path)
    with pytest.raises(RunError, match=rf"state\.pt is damaged or does not belong to this run \(.*{message}"):
        train(GROWN, run.path, resume=True, root=data_root)
    assert content(run.path) == before


def test_a_state_that_expands_to_far_more_memory_is_refused(run: RunFolder, data_root: Path) -> None:
    (run.path / "state.former.pt").unlink()
    with zipfile.ZipFile(run.state_path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 24))
    with pytest.raises(RunError, match="its archive is compressed"):
        train(GROWN, run.path, resume=True, root=data_root)


@pytest.mark.parametrize(("before", "after"), [('"loss": ', '"loss": 1'), ('"seconds": ', '"seconds": 9')])
def test_a_changed_number_in_the_records_is_noticed(run: RunFolder, before: str, after: str) -> None:
    run.metrics_path.write_text(run.metrics_path.read_text().replace(before, after, 1))
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged: line 1 does not match its digest"):
        run.metrics()


def test_a_kill_between_new_weights_and_the_files_that_describe_them_is_completed(
    run: RunFolder, tmp_path: Path, data_root: Path
) -> None:
    (run.path / "evaluation.json").write_text('{"weights": "of other weights"}')
    whole = train(GROWN, tmp_path / "whole", root=data_root)
    for name in ("weights.safetensors", "metrics.jsonl", "state.pt"):
        (run.path / name).write_bytes((whole.path / name).read_bytes())
    train(GROWN, run.path, resume=True, root=data_root)
    assert run.config_path.read_bytes() == whole.config_path.read_bytes()
    assert not (run.path / "evaluation.json").exists()


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_run_is_continued_from_its_own_config_whatever_way_its_numbers_are_written(
    run: RunFolder, tmp_path: Path, data_root: Path, epochs: int
) -> None:
    whole = override(replace(CONFIG, epochs=epochs), ["optimizer.lr_milestones=[[1, 0.5]]"])
    written = replace(whole, optimizer=replace(whole.optimizer, lr_milestones=((1, 0.5),)))  # a whole number, not 1.0
    run = train(replace(written, epochs=2), tmp_path / "own", root=data_root)
    run.weights_path.unlink()
    read = read_config(run.config_path)
    train(replace(read, epochs=epochs), run.path, resume=True, root=data_root)
    expected = safetensors.torch.load_file(train(whole, tmp_path / "whole", root=data_root).weights_path)
    for name, weights in safetensors.torch.load_file(run.weights_path).items():
        assert torch.equal(weights, expected[name])


def test_resuming_with_other_options_says_which_differ_and_where_the_right_ones_are(
    run: RunFolder, data_root: Path
) -> None:
    other = replace(CONFIG, model=replace(CONFIG.model, latent_size=3), seed=5)
    with pytest.raises(RunError, match=r"train\.model\.latent_size \(8, now 3\); to continue it, repeat .* --config"):
        train(other, run.path, resume=True, root=data_root)
