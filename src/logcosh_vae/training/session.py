"""Run a training session in a run folder: start or resume, train, validate and save.

`run_training` does this for every kind of network. A caller describes the run with a `RunPlan` and supplies a function
that builds its `TrainingSetup`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import nn

from ..base.errors import RunError, TrainingError
from ..base.text import counted
from .distributed import SINGLE_PROCESS, Processes
from .loop import B, EpochReport, Position, Schedule, Step, fit, use_threads
from .run_folder import ForeignWeightsError, RunFolder
from .run_identity import RunIdentity
from .weights_file import SavedWeights


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Use `threads` threads and flush denormals in the `with` block; restores the previous settings afterwards."""
    before, flushed = torch.get_num_threads(), float(torch.tensor(1e-39).mul(1.0)) == 0.0
    use_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


def write_failure(text: str) -> None:
    """Write `error: TEXT` to standard error."""
    with suppress(OSError):
        os.write(2, f"error: {text}\n".encode(errors="replace"))


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called per logged step, per epoch (with its record), and for messages to the user.

    `on_failure` is called, from any thread, with the reason for which this process is ended because of another one.
    """

    on_step: Callable[[Position], None] = lambda _: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda _: None
    on_message: Callable[[str], None] = lambda _: None
    on_failure: Callable[[str], None] = write_failure


@dataclass(frozen=True)
class RunPlan:
    """A run, known before the model is built.

    Attributes:
        path: the run folder.
        identity: decides whether an existing folder holds the same run.
        epochs: number of the last epoch.
        threads: number of threads to train with.
    """

    path: Path
    identity: RunIdentity
    epochs: int
    threads: int


@dataclass(frozen=True)
class TrainingSetup(Generic[B]):
    """Everything that a session trains with.

    Attributes:
        model: model with initial weights, on its device.
        optimizer: optimizer over the model's parameters.
        step: see `fit`.
        batches: see `fit`.
        schedule: see `fit`.
        validate: returns validation metrics of the current model by name; called after each epoch.
        track: returns a few inexpensive metrics; called at every logged step. None for none.
        draw: writes a picture of the current model to a path. None for none.
        draw_every: number of epochs between pictures; the first and the last epoch always have one.
        cuda_graph: see `fit`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Step[B]
    batches: Callable[[torch.Generator], Iterable[B]]
    schedule: Schedule
    validate: Callable[[], dict[str, float]]
    track: Callable[[], dict[str, float]] | None = None
    draw: Callable[[Path], None] | None = None
    draw_every: int = 10
    cuda_graph: bool = False


def run_training(
    plan: RunPlan,
    make_setup: Callable[[], TrainingSetup[Any]],
    *,
    resume: bool,
    callbacks: Callbacks | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> RunFolder:
    """Train in the plan's folder, from the last saved epoch to the last epoch of the plan.

    Args:
        plan: identity and length of the run.
        make_setup: builds model, optimizer and data; not called if the run is already finished.
        resume: continue an existing run with the same config.
        callbacks: called per logged step, per epoch and for messages.
        processes: with several processes, only the main one validates, draws and writes.

    Returns:
        The run folder, with the final weights.

    Raises:
        RunError: the folder is in use, holds another run or other files, or its state cannot be read. Nothing in the
            folder has been changed then.
        TrainingError: training diverged.
    """
    callbacks = callbacks or Callbacks()
    folder, is_main = RunFolder(plan.path), processes.is_main_process
    if is_main:
        folder.check(plan.identity, resume=resume)  # before the lock, whose file is not created in a foreign folder
    with on_threads(plan.threads), folder.lock() if is_main else nullcontext():
        if is_main:
            folder.check(plan.identity, resume=resume)
        processes.barrier()
        on_message = callbacks.on_message if is_main else _ignore
        if (weights := _finished_weights(folder, plan, on_message)) is not None:
            if is_main:
                folder.complete(plan.identity, weights.digest)
            return folder
        setup, run = make_setup(), plan.identity.digest()
        saved = folder.config() if folder.config_path.exists() else None
        first_epoch = 1 + folder.load_state(
            setup.model,
            setup.optimizer,
            runs=plan.identity.state_digests(saved),
            on_message=on_message,
            repair=is_main,
        )
        if first_epoch > plan.epochs + 1:
            raise RunError(
                f"{folder.path} is already trained to epoch {first_epoch - 1}; continue with that many epochs or more, "
                "or choose another --out"
            )
        if is_main and not folder.weights_path.exists():  # else the config describes the weights that stand
            folder.write_config(plan.identity.config, plan.identity.identifier())
        recorder = _Recorder(folder, setup, callbacks, plan.epochs, run)
        fit(
            setup.model,
            setup.step,
            setup.batches,
            setup.optimizer,
            setup.schedule,
            first_epoch=first_epoch,
            on_step=recorder.on_step if is_main else _ignore,
            on_epoch=recorder.on_epoch if is_main else _ignore,
            cuda_graph=setup.cuda_graph,
        )
        if is_main:
            _finish(folder, plan, setup.model)
        processes.barrier()
    return folder


def _finished_weights(folder: RunFolder, plan: RunPlan, on_message: Callable[[str], None]) -> SavedWeights | None:
    """Return the final weights of the plan, or None if there is something left to do.

    Damaged weights and missing records are reported; the state has both.

    Raises:
        RunError: the folder has weights of more epochs, or of another run.
    """
    try:
        weights = folder.final_weights()
    except ForeignWeightsError:
        raise
    except RunError as error:
        on_message(f"{error}; they are computed again from state.pt")
        return None
    if weights is None:
        return None
    epochs = weights.epochs or 0
    if epochs > plan.epochs:
        raise RunError(f"{folder.path} holds weights of {counted(epochs, 'epoch')}; continue with that many or more")
    if (trained := len(folder.metrics())) < epochs:
        on_message(
            f"{folder.metrics_path} has {trained} of {counted(epochs, 'epoch')}; the others are restored from state.pt"
        )
        return None
    return weights if epochs == plan.epochs else None


def _finish(folder: RunFolder, plan: RunPlan, model: nn.Module) -> None:
    """Write the final weights, then the config that describes them.

    Raises:
        TrainingError: a weight is not finite.
    """
    broken = next((name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise TrainingError(f"training diverged in the last epoch: {broken} is not finite; lower the learning rate")
    run = plan.identity.identifier()
    folder.save_weights(model, plan.epochs, run)
    folder.write_config(plan.identity.config, run)


def _ignore(_: object) -> None:
    """Callback of the processes that do not write."""


class _Recorder:
    """Callbacks of the main process: write records, state, pictures and progress to the run folder."""

    def __init__(
        self, folder: RunFolder, setup: TrainingSetup[Any], callbacks: Callbacks, epochs: int, run: str
    ) -> None:
        self.folder, self.setup, self.callbacks, self.epochs, self.run = folder, setup, callbacks, epochs, run
        self.tracked: list[dict[str, float]] = []

    def on_step(self, position: Position) -> None:
        if self.setup.track is not None:
            step = (position.epoch - 1) * position.steps + position.step
            self.tracked.append({"step": step, **self.setup.track()})
            self.setup.model.train()
        self.folder.write_progress(position)
        self.callbacks.on_step(position)

    def on_epoch(self, report: EpochReport) -> None:
        record: dict[str, Any] = {
            "epoch": report.epoch,
            "train": report.losses,
            "validation": self.setup.validate(),
            "seconds": round(report.seconds, 3),
        }
        if self.tracked:
            record["tracked"], self.tracked = self.tracked, []
        _check_finite(record)
        is_due = report.epoch % self.setup.draw_every == 0 or report.epoch in (1, self.epochs)
        if self.setup.draw is not None and is_due:
            self.setup.draw(self.folder.picture_path(report.epoch))
        is_last = report.epoch == self.epochs
        self.folder.add_epoch(record, self.setup.model, self.setup.optimizer, run=self.run, last=is_last)
        self.callbacks.on_epoch(record)


def _check_finite(record: Mapping[str, Any]) -> None:
    """Raise `TrainingError` if a loss in validation or tracking is not finite; `fit` checks those of the training."""
    for losses in (record["validation"], *record.get("tracked", ())):
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"training diverged in epoch {record['epoch']}: {name} of the test images is {value:g}; lower the "
                    "learning rate or check the images"
                )
