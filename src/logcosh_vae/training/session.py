"""Run a training session in a run folder: start or resume, train, validate and save.

`run_training` does this for every kind of network. A caller describes the run with a `RunPlan` and supplies a function
that builds its `TrainingSetup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.batches import Batch
from .distributed import SINGLE_PROCESS, Processes
from .loop import EpochReport, Position, Schedule, Step, fit, use_threads
from .run_folder import RunFolder


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


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called per logged step, per epoch (with its record), and for messages to the user."""

    on_step: Callable[[Position], None] = lambda _: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda _: None
    on_message: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class RunPlan:
    """Identity of a run, known before the model is built; decides whether an existing folder holds the same run.

    Attributes:
        path: the run folder.
        config: everything that determines the weights, as JSON values; the content of `config.json`.
        epochs: number of the last epoch.
        threads: number of threads to train with.
        may_grow: dotted key of a number that may be larger than in an existing folder, such as the epochs.
        renamed: maps former dotted keys of the config to present ones, so that older folders can be resumed.
        advice: appended to the error about a folder with a different config; an alternative to choosing another folder.
    """

    path: Path
    config: Mapping[str, Any]
    epochs: int
    threads: int
    may_grow: str | None = None
    renamed: Mapping[str, str] | None = None
    advice: str = ""


@dataclass(frozen=True)
class TrainingSetup:
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
    step: Step
    batches: Callable[[torch.Generator], Iterable[Batch]]
    schedule: Schedule
    validate: Callable[[], dict[str, float]]
    track: Callable[[], dict[str, float]] | None = None
    draw: Callable[[Path], None] | None = None
    draw_every: int = 10
    cuda_graph: bool = False


def run_training(
    plan: RunPlan,
    make_setup: Callable[[], TrainingSetup],
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
        RunError: the folder is in use, holds another run or other files, or its state cannot be read.
        TrainingError: training diverged.
    """
    callbacks = callbacks or Callbacks()
    folder = RunFolder(plan.path)
    if processes.is_main_process:
        folder = RunFolder.create(
            plan.path,
            plan.config,
            resume=resume,
            may_grow=plan.may_grow,
            renamed=plan.renamed or {},
            advice=plan.advice,
        )
    processes.barrier()
    with on_threads(plan.threads), folder.lock() if processes.is_main_process else nullcontext():
        if folder.is_finished(plan.epochs):
            return folder
        if processes.is_main_process:
            folder.remove_outdated()
        setup = make_setup()
        first_epoch = folder.load_state(setup.model, setup.optimizer) + 1
        recorder = _Recorder(folder, setup, callbacks, plan.epochs)
        is_main = processes.is_main_process
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
        if processes.is_main_process:
            folder.save_weights(setup.model)
        processes.barrier()
    return folder


def _ignore(_: object) -> None:
    """Callback of the processes that do not write."""


class _Recorder:
    """Callbacks of the main process: write records, state, pictures and progress to the run folder."""

    def __init__(self, folder: RunFolder, setup: TrainingSetup, callbacks: Callbacks, epochs: int) -> None:
        self.folder, self.setup, self.callbacks, self.epochs = folder, setup, callbacks, epochs
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
        is_due = report.epoch % self.setup.draw_every == 0 or report.epoch in (1, self.epochs)
        if self.setup.draw is not None and is_due:
            self.setup.draw(self.folder.path / "samples" / f"epoch-{report.epoch:04d}.png")
        is_last = report.epoch == self.epochs
        self.folder.add_epoch(record, self.setup.model, self.setup.optimizer, last=is_last)
        self.callbacks.on_epoch(record)
