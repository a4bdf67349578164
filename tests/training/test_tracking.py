"""Experiment trackers: what each of them gets, resumed runs, failures, and what the command prints."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.training.tracker_readers import READ
from tests.training.tracker_stand_ins import INSTALL, Runs, Seen

from logcosh_vae.base.errors import ConfigError, MissingPackageError
from logcosh_vae.base.settings import override
from logcosh_vae.cli.experiments import track_runs
from logcosh_vae.training import trackers
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.run_folder import RunFolder
from logcosh_vae.training.trackers import TRACKERS, check_trackers
from logcosh_vae.training.tracking import STATE_FILE, Tracking, metrics_by_step

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries
Reader = Callable[[Path], list[Seen]]
SETTINGS = ("data.limit=300", "model.hidden=[8]", "log_every=2", "picture_every=2", "track_images=50")


def train_tracked(
    run: Path, root: Path, names: Sequence[str], epochs: int, messages: list[str] | None = None, *settings: str
) -> RunFolder:
    config = override(TrainConfig(epochs=epochs), [*SETTINGS, *settings])
    with Tracking(run, names, (messages if messages is not None else []).append) as tracking:
        return train(config, run, resume=True, root=root, callbacks=tracking.callbacks())


@pytest.fixture
def read(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """What a tracker has, with its library where it is installed and with the stand-in elsewhere."""
    name = request.param
    for variable, value in {
        "HOME": tmp_path,  # with no account
        "WANDB_MODE": "offline",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "tests",
        "TRACKIO_PROJECT": tmp_path.name,
    }.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setitem(os.environ, "TRACKIO_DIR", os.environ.get("TRACKIO_DIR", str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    if find_spec(name) is not None:
        return READ[name]
    runs: Runs = {}
    INSTALL[name](runs, monkeypatch)
    return lambda _: list(runs.values())


def expected(run: Path) -> list[tuple[int, str, float]]:
    points = [metrics_by_step(record) for record in RunFolder(run).metrics()]
    return [(step, name, value) for point in points for step, values in point.items() for name, value in values.items()]


@pytest.mark.parametrize(("name", "read"), [(name, name) for name in TRACKERS], indirect=["read"])
def test_a_tracker_gets_each_step_once_also_of_a_resumed_run(
    name: str, read: Reader, tmp_path: Path, data_root: Path
) -> None:
    messages: list[str] = []
    run = tmp_path / "runs" / "first"
    for epochs in (2, 4, 4):
        train_tracked(run, data_root, [name], epochs, messages)
    assert messages == []
    (seen,) = read(run)
    wanted = sorted(expected(run))
    assert [each[:2] for each in sorted(seen.metrics)] == [each[:2] for each in wanted]
    assert [each[2] for each in sorted(seen.metrics)] == pytest.approx([each[2] for each in wanted], rel=1e-6)
    assert sorted(seen.pictures) == [3, 6, 12]  # epochs 1, 2 and 4 of 3 steps
    assert seen.settings["objective.loss"] == "log-cosh"
    assert all(ended in (None, 0, "FINISHED") for ended in seen.closed)


def test_metrics_are_those_of_the_record_at_their_steps() -> None:
    record: dict[str, Any] = {"epoch": 2, "seconds": 1.5, "train": {"loss": 3.0}, "validation": {"loss": 4.0}}
    epoch = {"epoch": 2.0, "seconds": 1.5, "train/loss": 3.0, "validation/loss": 4.0}
    assert metrics_by_step(record) == {2: epoch}
    record["tracked"] = [{"step": 15, "loss": 1.0}, {"step": 20, "loss": 2.0}]
    assert metrics_by_step(record) == {15: {"tracked/loss": 1.0}, 20: {"tracked/loss": 2.0, **epoch}}


def stand_in(name: str, patch: pytest.MonkeyPatch) -> Runs:
    runs: Runs = {}
    INSTALL[name](runs, patch)
    return runs


def test_a_finished_run_is_sent_afterwards(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = stand_in("wandb", monkeypatch)
    run = train_tracked(tmp_path / "run", data_root, [], 2).path
    assert not (run / STATE_FILE).exists()
    with Tracking(run, ["wandb"]) as tracking:
        pass
    (seen,) = runs.values()
    assert seen.metrics == expected(run)
    assert list(tracking.hints) == ["wandb"]


@pytest.mark.parametrize(
    ("method", "error"),
    [("__init__", ValueError("x")), ("log", OSError(28, "x")), ("flush", SystemExit(3)), ("close", RuntimeError(""))],
)
@pytest.mark.parametrize("name", TRACKERS)
def test_a_failure_of_a_tracker_is_one_message_and_training_goes_on(
    name: str,
    method: str,
    error: BaseException,
    tmp_path: Path,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in(name, monkeypatch)
    others = stand_in("trackio" if name != "trackio" else "wandb", monkeypatch)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(TRACKERS[name], method, fail)
    messages: list[str] = []
    other = "trackio" if name != "trackio" else "wandb"
    folder = train_tracked(tmp_path / "run", data_root, [name, other], 2, messages, "data.limit=100")
    assert folder.is_finished(2)
    (message,) = messages
    assert message.startswith(f"tracking with {name} has stopped: ")
    (seen,) = others.values()
    assert sorted(seen.metrics) == sorted(expected(folder.path))


def test_an_epoch_is_not_sent_again_after_a_failure(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = stand_in("wandb", monkeypatch)
    send = trackers.WeightsAndBiases.log

    def fail_in_epoch_2(tracker: Any, step: int, metrics: Any, picture: Any) -> None:
        send(tracker, step, metrics, picture)
        if step > 3:
            raise KeyboardInterrupt  # as a kill would

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(trackers.WeightsAndBiases, "log", fail_in_epoch_2)
        with pytest.raises(KeyboardInterrupt):
            train_tracked(run, data_root, ["wandb"], 3)
    train_tracked(run, data_root, ["wandb"], 3)
    (seen,) = runs.values()
    steps = [step for step, name, _ in seen.metrics if name == "tracked/loss"]
    assert steps == [2, 3, 5, 8, 9]  # step 6 was lost
    assert seen.closed == [1, 0]


@pytest.mark.parametrize("content", ["", "[]", '{"run": 1, "epochs": {}}', '{"run": "a", "epochs": {"wandb": "x"}}'])
def test_a_damaged_state_begins_a_new_run(
    content: str, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = stand_in("wandb", monkeypatch)
    run = train_tracked(tmp_path / "run", data_root, ["wandb"], 1).path
    (run / STATE_FILE).write_text(content, encoding="utf-8")
    train_tracked(run, data_root, ["wandb"], 1)
    first, second = runs.values()
    assert first.metrics == second.metrics == expected(run)


def test_the_runs_of_a_comparison_are_sent_to_the_trackers_that_work(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [train_tracked(tmp_path / name, data_root, [], 1).path for name in ("first", "second")]
    runs = stand_in("wandb", monkeypatch)
    stand_in("trackio", monkeypatch)
    monkeypatch.setattr(trackers.Trackio, "log", lambda *_: 1 / 0)
    track_runs(folders, ["trackio", "wandb"])
    assert [seen.metrics for seen in runs.values()] == [expected(folder) for folder in folders]
    shown = capsys.readouterr()
    assert shown.err == "note: tracking with trackio has stopped: division by zero\n"
    assert [line.partition(":")[0] for line in shown.out.splitlines()] == ["trackio", "wandb", "wandb"]


def test_trackers_do_not_change_the_weights(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("tensorboard", monkeypatch)
    runs = [train_tracked(tmp_path / str(len(names)), data_root, names, 2) for names in ([], ["tensorboard"])]
    first, second = ((run.path / "weights.safetensors").read_bytes() for run in runs)
    assert first == second


def test_names_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'wandb'"):
        check_trackers(["wandbb"])
    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingPackageError, match=rf"pip install 'logcosh-vae\[{name}\]'"):
            check_trackers([name])
        stand_in(name, monkeypatch)
    assert check_trackers([*TRACKERS, *TRACKERS]) == tuple(TRACKERS)


NOISY = """
import os, sys, threading, warnings
Image = str
def noise(*_, **__):
    print("NOISE"); print("NOISE", file=sys.stderr); warnings.warn("NOISE")
    os.write(1, b"NOISE\\n"); os.write(2, b"NOISE\\n"); os.system("echo NOISE")
    thread = threading.Thread(target=lambda: print("NOISE"))
    thread.start()
    thread.join()
class Run:
    def log(self, values, step):
        noise()
        if step == 2: raise OSError(28, "No space left on device")
def init(**_): noise(); return Run()
finish = noise
noise()
"""


def command(*arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    blocked = {} if path else dict.fromkeys(TRACKERS)
    code = f"import sys; sys.modules.update({blocked!r}); import logcosh_vae.cli; logcosh_vae.cli.main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("quiet", [False, True])
def test_the_noise_of_a_library_is_not_shown(quiet: bool, tmp_path: Path, data_root: Path) -> None:
    (tmp_path / "trackio.py").write_text(NOISY, encoding="utf-8")
    run = tmp_path / "run"
    options = ["--set", "data.limit=100", "--set", "model.hidden=[8]", "--data-root", data_root, "--track", "trackio"]
    done = command("train", "--out", run, "--epochs", "3", *options, *(["--quiet"] if quiet else []), path=tmp_path)
    assert done.returncode == 0
    stopped = "note: tracking with trackio has stopped: [Errno 28] No space left on device"
    assert done.stderr.splitlines() == ([] if quiet else [stopped])
    lines = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert lines == ([] if quiet else ["epoch", "epoch", "epoch", "trackio:", "run:", "to"])
    assert json.loads((run / STATE_FILE).read_text(encoding="utf-8"))["epochs"] == {"trackio": 2}


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_library_is_one_line(name: str, tmp_path: Path) -> None:
    done = command("train", "--out", tmp_path / "run", "--track", name)
    message = f"error: --track {name} needs {name}: pip install 'logcosh-vae[{name}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert not (tmp_path / "run").exists()
