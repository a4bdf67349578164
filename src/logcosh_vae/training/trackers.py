"""Experiment trackers that a training run can be sent to: TensorBoard, Weights & Biases, MLflow and trackio.

Each tracker is one class with the methods of `Tracker`, and imports its library when it is opened. `tracking` decides
what is sent and when. Where a library keeps its data, which project or server it uses and how to log in is set as its
manual says, with environment variables such as `WANDB_MODE` or `MLFLOW_TRACKING_URI`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..base.extras import require
from ..base.settings import validate_choice

PROJECT = "logcosh-vae"
"""Name of the project or experiment, where the environment does not name another one."""

RUN_TAG = "logcosh_vae.run"
"""Tag by which MLflow finds a run again."""

SAMPLES = "samples"
"""Name of the pictures."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker learns of a run when it is opened.

    Attributes:
        identifier: of this run in all trackers, lower-case hexadecimal digits.
        name: name for the user.
        folder: run folder.
        settings: the configuration, flat, by dotted key.
        resumed: whether the tracker has been opened for this run before.
    """

    identifier: str
    name: str
    folder: Path
    settings: Mapping[str, bool | int | float | str]
    resumed: bool


class Tracker(Protocol):
    """An open tracker. Its methods may raise any exception.

    Attributes:
        hint: how to look at what was sent.
    """

    hint: str

    def log(self, step: int, metrics: Mapping[str, float], picture: Path | None) -> None:
        """Send metrics and, if there is one, the picture of samples; steps increase from call to call."""

    def flush(self) -> None:
        """Write what is buffered in this process."""

    def close(self, *, finished: bool) -> None:
        """End the session; `finished` says whether training has finished."""


class TensorBoard:
    """Writes event files into the folder `tensorboard` of the run folder."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.hint = f"tensorboard --logdir {run.folder.parent}"
        self._writer = SummaryWriter(str(run.folder / "tensorboard"))
        if not run.resumed and (file := self._writer.file_writer) is not None:
            for summary in hparams(dict(run.settings), {"validation/loss": 0.0}):
                file.add_summary(summary)

    def log(self, step: int, metrics: Mapping[str, float], picture: Path | None) -> None:
        """See `Tracker`."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        if picture is not None:
            import numpy as np

            with _open(picture) as image:
                self._writer.add_image(SAMPLES, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def flush(self) -> None:
        """See `Tracker`."""
        self._writer.flush()

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 - event files do not say how a run ended
        """See `Tracker`."""
        self._writer.close()


class WeightsAndBiases:
    """Sends to Weights & Biases, or writes what `wandb sync` sends later if there is no account or no network."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        options: dict[str, Any] = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "id": run.identifier,
            "name": run.name,
            "config": dict(run.settings),
            "dir": os.environ.get("WANDB_DIR", str(run.folder)),
            "resume": "allow",
            "allow_val_change": True,  # the number of epochs may grow
            "settings": wandb.Settings(silent=True, console="off", init_timeout=30.0),
        }
        try:
            self._run = wandb.init(**options)
        except wandb.Error:  # no account, or no network
            wandb.teardown()  # ends the attempt, which keeps the identifier in use
            self._run = wandb.init(**options, mode="offline")
        self._image = wandb.Image
        is_offline = self._run.settings.mode == "offline"
        self.hint = f"wandb sync {Path(self._run.dir).parent}" if is_offline else str(self._run.url or "wandb")

    def log(self, step: int, metrics: Mapping[str, float], picture: Path | None) -> None:
        """See `Tracker`."""
        self._run.log({**metrics, **({} if picture is None else {SAMPLES: self._image(str(picture))})}, step=step)

    def flush(self) -> None:
        """See `Tracker`; another process has everything already."""

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=0 if finished else 1)


class MLflow:
    """Sends to the server or database of `MLFLOW_TRACKING_URI`, by default the database that MLflow chooses."""

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._client, self._metric = MlflowClient(), Metric
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        existing = self._client.get_experiment_by_name(name)
        experiment = existing.experiment_id if existing else self._client.create_experiment(name)
        found = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.identifier}'")
        if found:
            self._id: str = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {RUN_TAG: run.identifier}
            self._id = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
            self._client.log_batch(self._id, params=[Param(key, str(value)) for key, value in run.settings.items()])
        self.hint = "mlflow ui"

    def log(self, step: int, metrics: Mapping[str, float], picture: Path | None) -> None:
        """See `Tracker`."""
        now = int(1000 * time.time())
        self._client.log_batch(
            self._id, metrics=[self._metric(key, value, now, step) for key, value in metrics.items()]
        )
        if picture is not None:
            with _open(picture) as image:
                self._client.log_image(self._id, image, key=SAMPLES, step=step)

    def flush(self) -> None:
        """See `Tracker`; everything has been sent."""

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._id, status="FINISHED" if finished else "KILLED")


class Trackio:
    """Writes to trackio's local database, or to the Space or server that its environment variables name."""

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._image, self._finish = trackio.Image, trackio.finish
        self._run = trackio.init(
            project=project,
            name=f"{run.name}-{run.identifier[:6]}",  # trackio finds a run by its name
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self.hint = f"trackio show --project {project}"

    def log(self, step: int, metrics: Mapping[str, float], picture: Path | None) -> None:
        """See `Tracker`."""
        pictures = {} if picture is None else {SAMPLES: self._image(str(picture))}
        self._run.log({**metrics, **pictures}, step=step)

    def flush(self) -> None:
        """See `Tracker`; a thread of trackio writes at short intervals."""

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 - trackio does not store how a run ended
        """See `Tracker`."""
        self._finish()


TRACKERS: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""The trackers by name, which is also that of their module and of the extra that installs it."""


def check_trackers(names: list[str]) -> tuple[str, ...]:
    """Return the names without duplicates, checked; no library is imported.

    Raises:
        ConfigError: a name is unknown.
        MissingPackageError: a library is not installed.
    """
    for name in names:
        validate_choice("--track", name, TRACKERS)
        require(f"--track {name}", name, extra=name)
    return tuple(dict.fromkeys(names))


def _open(picture: Path) -> Any:
    from PIL import Image

    return Image.open(picture)
