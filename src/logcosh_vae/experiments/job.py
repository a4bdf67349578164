"""What the scheduler runs: a job, which trains one run in its own folder, and the state of a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..training.loop import Position


class Job(ABC):
    """A run in its own folder; it is pickled and sent to a worker process.

    Attributes:
        path: run folder. Its name contains a digest of everything that decides the weights.
    """

    path: Path

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the job, as shown to the user."""

    @abstractmethod
    def cost(self) -> float:
        """Return an estimate of the computation, to weight the progress of several jobs; the unit does not matter."""

    @property
    def device(self) -> str:
        """Name of the device that the job computes on."""
        return "cpu"

    def memory(self) -> int:
        """Return a lower bound of the memory that the job needs on its device, in bytes."""
        return 0

    @abstractmethod
    def cached_result(self) -> Any:
        """Return the result in the run folder if it is complete and still valid, else None."""

    @abstractmethod
    def run(self) -> Any:
        """Train and evaluate, as far as this has not been done yet, and return the result; runs in a worker process."""


@dataclass
class JobState:
    """State of a job, as passed to the progress callback.

    Attributes:
        job: the job.
        cost: see `Job.cost`.
        position: epoch and step that the training has reached; None before it starts.
        finished: whether there is a result.
        reused: whether the result was there before.
    """

    job: Job
    cost: float = 1.0
    position: Position | None = None
    finished: bool = False
    reused: bool = False


ProgressCallback = Callable[[Sequence[JobState]], None]
"""Called with the state of all jobs."""
