"""A training session in a run folder: start or resume, train, validate, save; for every kind of network."""

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
    """Compute on `threads` threads with denormals flushed, and restore the caller's settings afterwards."""
    before, flushed = torch.get_num_threads(), float(torch.tensor(1e-39).mul(1.0)) == 0.0
    use_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


@dataclass(frozen=True)
class Callbacks:
    """Functions that are told how a training goes: per logged step, per epoch, and with messages to the user."""

    on_step: Callable[[Position], None] = lambda _: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda _: None
    on_message: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class RunPlan:
    """What a run is, before anything is built: it decides whether an existing folder is the same run.

    Attributes:
        path: the run folder.
        config: plain JSON values that decide the weights, as `config.json` holds them.
        epochs: the last epoch to reach.
        threads: threads to compute on.
        may_grow: dotted key of a number that may be larger than in the folder's config, as epochs may.
        renamed: former dotted keys of the config with their present names, so that older folders can be resumed.
        advice: what to do about a folder with another config, beside choosing another one.
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
        model: fresh, on its device.
        optimizer: over the model's parameters.
        step, batches, schedule: see `fit`.
        validate: measures the model as it stands, by name.
        track: a few quick measures, taken at every logged step, for curves finer than epochs; or None.
        draw: writes a picture of the model as it stands to a path; or None.
        draw_every: epochs between pictures; the first and the last epoch always have one.
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
    """Train in the plan's folder, from where it stands to the last epoch.

    Args:
        plan: see `RunPlan`.
        make_setup: builds model, optimizer and data; not called for a run that is finished.
        resume: continue a run of the same config that is already there.
        callbacks: told of steps, epochs and messages.
        processes: of several, the main one validates, draws and writes.

    Raises:
        RunError: the folder is in use, holds something else, or its state cannot be read.
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
            folder.reopen()
        setup = make_setup()
        first_epoch = folder.restore(setup.model, setup.optimizer) + 1
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
            folder.finish(setup.model)
        processes.barrier()
    return folder


def _ignore(_: object) -> None:
    """The callback of a process that does not write."""


class _Recorder:
    """Writes what a run folder keeps of a training: records, states, pictures, progress."""

    def __init__(self, folder: RunFolder, setup: TrainingSetup, callbacks: Callbacks, epochs: int) -> None:
        self.folder, self.setup, self.callbacks, self.epochs = folder, setup, callbacks, epochs
        self.tracked: list[dict[str, float]] = []

    def on_step(self, position: Position) -> None:
        if self.setup.track is not None:
            step = (position.epoch - 1) * position.steps + position.step
            self.tracked.append({"step": step, **self.setup.track()})
            self.setup.model.train()
        self.folder.show_progress(position)
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
