"""Carrying out a training in a run folder: the same for auto-encoders and for the feature classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.batches import Batch
from .distributed import ALONE, Processes
from .loop import EpochReport, Position, Schedule, Step, fit, use_threads
from .run_folder import RunFolder


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Compute on that many threads, denormals flushed, and leave torch as it was: a caller's own code is not ours."""
    before, flushed = torch.get_num_threads(), float(torch.tensor(1e-39).mul(1.0)) == 0.0
    use_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


@dataclass(frozen=True)
class Training:
    """All that decides a training.

    Attributes:
        model: fresh, on its device.
        optimizer: over its parameters.
        step, batches, schedule: see `fit`.
        validate: named measures of the model as it stands.
        track: a few quick measures, taken at every logged step, for curves finer than epochs; or None.
        draw: writes a picture of the model as it stands to a path, or None.
        draw_every: epochs between pictures; the first and the last epoch have one, too.
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


@dataclass(frozen=True)
class Watch:
    """Who wants to know: called at every logged step, with every epoch's record, and with what a person should see."""

    step: Callable[[Position], None] = lambda _: None
    epoch: Callable[[dict[str, Any]], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None


def carry_out(
    folder: RunFolder, epochs: int, prepare: Callable[[], Training], watch: Watch, processes: Processes = ALONE
) -> None:
    """Train in `folder` from where it stands to `epochs`; nothing is prepared for a run that is finished.

    Of several processes one measures, draws and writes.

    Raises:
        RunError: another process trains in the folder, or its state cannot be read.
        TrainingError: training diverged.
    """
    with folder.lock() if processes.leads else nullcontext():
        if folder.is_finished(epochs):
            return
        if processes.leads:
            folder.reopen()
        training = prepare()
        done = folder.restore(training.model, training.optimizer)
        tracked: list[dict[str, float]] = []

        def after_step(position: Position) -> None:
            if training.track is not None:
                tracked.append({"step": (position.epoch - 1) * position.steps + position.step, **training.track()})
                training.model.train()
            folder.show_progress(position)
            watch.step(position)

        def after_epoch(report: EpochReport) -> None:
            record = {
                "epoch": report.epoch,
                "train": report.terms,
                "validation": training.validate(),
                "seconds": round(report.seconds, 3),
            }
            if tracked:
                record["tracked"] = tracked.copy()
                tracked.clear()
            due = report.epoch % training.draw_every == 0 or report.epoch in (1, epochs)
            if training.draw is not None and due:
                training.draw(folder.path / "samples" / f"epoch-{report.epoch:04d}.png")
            folder.add_epoch(record, training.model, training.optimizer, last=report.epoch == epochs)
            watch.epoch(record)

        fit(
            training.model,
            training.step,
            training.batches,
            training.optimizer,
            training.schedule,
            first_epoch=done + 1,
            on_step=after_step if processes.leads else None,
            on_epoch=after_epoch if processes.leads else None,
            cuda_graph=training.cuda_graph,
        )
        if processes.leads:
            folder.finish(training.model)
        processes.wait()
