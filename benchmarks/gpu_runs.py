"""Runs of several kinds, trained side by side until the deadline of a stage of `gpu.py`; one failure stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_session import Session

from logcosh_vae.base.files import one_line
from logcosh_vae.experiments.autoencoders import AutoencoderJob
from logcosh_vae.experiments.experiment import PrepareCallbacks
from logcosh_vae.experiments.scheduler import Job, JobState, Workers, run_jobs
from logcosh_vae.training.session import Callbacks

EVALUATION_SECONDS = 30.0
"""Of a stage's time, for starting workers and measuring their runs."""

TELL_SECONDS = 20.0
"""Between two lines about runs that go on."""


@dataclass(frozen=True)
class Failure:
    """Why a job has no result."""

    reason: str


@dataclass(frozen=True)
class Attempt(Job):
    """A job whose failure is its outcome, so that one damaged run does not stop the others."""

    job: Job
    path: Path

    @property
    def label(self) -> str:
        """The job's, with the values of its loss."""
        return name_of(self.job)

    def cost(self) -> float:
        """The job's."""
        return self.job.cost()

    def cached_result(self) -> Any:
        """The job's, None where it cannot be read."""
        with suppress(Exception):
            return self.job.cached_result()
        return None

    def run(self) -> Any:
        """The job's result, or the reason why there is none."""
        try:
            return self.job.run()
        except Exception as error:
            return Failure(f"{type(error).__name__}: {one_line(error)}")


def result_of(session: Session, job: Job) -> Any:
    """A finished run's measures; None, and a message, where they cannot be read."""
    try:
        return job.cached_result()
    except Exception as error:
        session.say_once(f"{name_of(job)}: counts as not finished: {one_line(error)}")
        return None


def run_all(session: Session, jobs: Sequence[Job], record: Callable[[], None]) -> None:
    """Run jobs until the deadline, several at a time; `record` is called when some have finished, and at the end."""
    seen: set[Path] = set()
    told = time.monotonic()

    def watch(states: Sequence[JobState]) -> None:
        nonlocal told
        done = {state.job.path for state in states if state.finished}
        if done - seen:
            seen.update(done)
            session.say(f"{len(done)} of {len(states)} runs have ended")
            record()
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            session.say(_progress(states))
        session.check_time()

    workers = Workers.local(min(session.jobs, len(jobs)))
    outcomes: Mapping[Path, Any] = {}
    try:
        outcomes = run_jobs([Attempt(job, job.path) for job in jobs], workers, watch)
    finally:
        workers.stop()
        record()
    for job in jobs:
        if isinstance(outcome := outcomes[job.path], Failure):
            session.failed = True
            session.say(f"{name_of(job)}: failed: {outcome.reason}; its folder is {job.path}")


def name_of(job: Job) -> str:
    """A job's label, with what sets it apart from others of its model, loss and seed."""
    if not isinstance(job, AutoencoderJob):
        return job.label
    objective = job.config.objective
    weight = f"lambda {objective.reconstruction_weight:g}"
    return f"{job.label}, {weight if objective.a is None else f'a {objective.a:g}, {weight}'}"


def _progress(states: Sequence[JobState]) -> str:
    """How far the runs are that train at the moment, a line each, and how many have not begun."""
    lines = [
        f"{state.job.label}: epoch {at.epoch} of {at.epochs}, {at.fraction:.0%} of its steps"
        for state in states
        if not state.finished and (at := state.position) is not None
    ]
    waiting = sum(not state.finished and state.position is None for state in states)
    return "\n".join([*lines, f"{waiting} of {len(states)} runs have not begun"])


def preparing(session: Session) -> PrepareCallbacks:
    """Callbacks with which preparing ends at the deadline."""
    return PrepareCallbacks(
        on_images=lambda *_: session.check_time(),
        on_training=lambda _: Callbacks(on_step=lambda _: session.check_time()),
        on_message=session.say,
    )
