"""Stand-ins for the libraries of the trackers: what `training.trackers` uses of them, for tests without the libraries.

`install` puts a stand-in into `sys.modules`. It stores what it is sent in a `Seen`.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@dataclass
class Seen:
    """What a tracker has got of one run: settings, metrics in the order of their arrival, steps of pictures."""

    settings: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[int, str, float]] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    closed: list[Any] = field(default_factory=list)

    def log(self, values: dict[str, Any], step: int) -> None:
        """Store metrics and pictures, as wandb and trackio pass them."""
        for name, value in values.items():
            if isinstance(value, float):
                self.metrics.append((step, name, value))
            else:
                assert Path(value).is_file()
                self.pictures.append(step)


Runs = dict[str, Seen]


def _module(name: str, patch: pytest.MonkeyPatch, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]
    module.__dict__.update(content)
    patch.setitem(sys.modules, name, module)
    return module


def tensorboard(runs: Runs, patch: pytest.MonkeyPatch) -> None:
    """TensorBoard, with torch's writer of event files."""

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            self.seen = runs.setdefault(folder, Seen())
            self.file_writer = SimpleNamespace(add_summary=self.seen.settings.update)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            self.seen.metrics.append((step, name, value))

        def add_image(self, _: str, image: Any, step: int, dataformats: str) -> None:
            assert dataformats == "HWC"
            assert image.shape[2] == 3
            self.seen.pictures.append(step)

        def flush(self) -> None:
            pass

        def close(self) -> None:
            self.seen.closed.append(None)

    _module("tensorboard", patch)
    _module("torch.utils.tensorboard", patch, SummaryWriter=SummaryWriter)
    _module("torch.utils.tensorboard.summary", patch, hparams=lambda settings, _: (settings,))


def wandb(runs: Runs, patch: pytest.MonkeyPatch) -> None:
    """Weights & Biases without an account."""

    class Error(Exception):
        pass

    attempts: list[str] = []

    def init(**options: Any) -> Any:
        assert options["id"] not in attempts
        if options.get("mode") != "offline":
            attempts.append(options["id"])
            raise Error("No API key configured.")
        seen = runs.setdefault(options["id"], Seen())
        seen.settings |= options["config"]
        settings = SimpleNamespace(mode="offline")
        return SimpleNamespace(
            log=seen.log,
            settings=settings,
            dir=f"{options['dir']}/wandb/offline-run/files",
            finish=lambda exit_code: seen.closed.append(exit_code),
        )

    _module(
        "wandb", patch, Error=Error, init=init, teardown=attempts.clear, Image=Path, Settings=lambda **options: options
    )


def mlflow(runs: Runs, patch: pytest.MonkeyPatch) -> None:
    """MLflow's client."""

    class MlflowClient:
        def get_experiment_by_name(self, _: str) -> Any:
            return SimpleNamespace(experiment_id="0") if runs else None

        def create_experiment(self, _: str) -> str:
            return "0"

        def search_runs(self, _: list[str], query: str) -> list[Any]:
            return [SimpleNamespace(info=SimpleNamespace(run_id=each)) for each in runs if query.endswith(f"'{each}'")]

        def update_run(self, run_id: str, status: str) -> None:
            assert run_id in runs
            assert status == "RUNNING"

        def create_run(self, _: str, run_name: str, tags: dict[str, str]) -> Any:
            assert run_name
            (identifier,) = tags.values()
            assert identifier not in runs
            runs[identifier] = Seen()
            return SimpleNamespace(info=SimpleNamespace(run_id=identifier))

        def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
            runs[run_id].settings |= dict(params)
            runs[run_id].metrics += [(step, name, value) for name, value, _, step in metrics]

        def log_image(self, run_id: str, image: Any, key: str, step: int) -> None:
            assert image.size
            assert key
            runs[run_id].pictures.append(step)

        def set_terminated(self, run_id: str, status: str) -> None:
            runs[run_id].closed.append(status)

    _module("mlflow", patch, MlflowClient=MlflowClient)
    _module("mlflow.entities", patch, Metric=lambda *values: values, Param=lambda *values: values)


def trackio(runs: Runs, patch: pytest.MonkeyPatch) -> None:
    """The parts of trackio."""
    current: list[Seen] = []

    def init(*, name: str, config: dict[str, Any], resume: str, **_: Any) -> Any:
        assert resume == "allow"
        current.append(runs.setdefault(name, Seen()))
        current[-1].settings |= config
        return current[-1]

    _module("trackio", patch, init=init, Image=Path, finish=lambda: current.pop().closed.append(None))


INSTALL = {each.__name__: each for each in (tensorboard, wandb, mlflow, trackio)}
