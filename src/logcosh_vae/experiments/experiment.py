"""Experiments: what to train and measure over seeds, as data, and how they become what `results/*.json` holds.

Runs are trained once and reused, by experiments that share them too; `jobs` runs them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from ..base.environment import describe
from ..data.sources import Progress
from ..training.session import Callbacks
from .results import ExperimentResults, RunCounts
from .scheduler import Job, ProgressCallback, Workers, run_jobs

J = TypeVar("J", bound=Job)

Outcomes = Mapping[Path, Any]
"""The measures of runs, by their folders."""


@dataclass(frozen=True)
class Preparing:
    """Who wants to know while an experiment prepares what its runs share.

    Attributes:
        images: told of images that are fetched or prepared.
        training: gives who is told of the training of a set's feature classifier, by the set's name.
        note: told what a person should see.
    """

    images: Progress | None = None
    training: Callable[[str], Callbacks] = lambda _: Callbacks()
    note: Callable[[str], None] = lambda _: None


class Experiment(ABC, Generic[J]):
    """Rows to train and measure alike.

    Attributes:
        name: as in `reproduce NAME`.
        title: for reports.
        profile: how the rows were scaled.
        rows: a config each, without its seed.
        source: where the reported numbers stand.
    """

    name: str
    title: str
    profile: str
    rows: Sequence[Any]
    source: str

    @abstractmethod
    def models(self) -> list[str]:
        """What `only` can choose from."""

    @abstractmethod
    def only(self, models: Sequence[str]) -> Self:
        """The rows of these models."""

    @abstractmethod
    def on_device(self, device: str) -> Self:
        """The experiment with every run on `device`."""

    @abstractmethod
    def prepare(self, store: Path, root: Path, preparing: Preparing) -> Self:
        """Make once what the runs share, before worker processes look for it; the experiment that uses it."""

    @abstractmethod
    def plan(self, seeds: int, store: Path, root: Path) -> Sequence[Sequence[J]]:
        """The jobs of each row, one a seed."""

    @abstractmethod
    def add_results(
        self, results: ExperimentResults, plan: Sequence[Sequence[J]], outcomes: Outcomes, root: Path
    ) -> ExperimentResults:
        """The results with their rows, and with whatever else was measured."""


def jobs_of(experiment: Experiment[J], seeds: int, store: Path, root: Path) -> list[J]:
    """All jobs of an experiment, the first seed of every row before the second of any."""
    return [job for row in zip(*experiment.plan(seeds, store, root), strict=True) for job in row]


def run_experiment(
    experiment: Experiment[Any],
    *,
    seeds: int,
    store: Path,
    workers: Workers,
    root: Path,
    watch: ProgressCallback | None = None,
) -> ExperimentResults:
    """Train and measure every row over `seeds` seeds; see `ExperimentResults`.

    An experiment without rows (a figure that needs no training) gives a result without measures.
    """
    started = time.perf_counter()
    plan = experiment.plan(seeds, store, root)
    jobs = jobs_of(experiment, seeds, store, root)
    reused = sum(job.cached_result() is not None for job in jobs)
    outcomes = run_jobs(jobs, workers, watch)
    results = ExperimentResults(
        experiment=experiment.name,
        title=experiment.title,
        profile=experiment.profile,
        rows=(),
        environment=describe(),
        workers=workers.count,
        runs=RunCounts(len(jobs), reused),
        seconds=0.0,
        source=experiment.source,
    )
    if jobs:
        results = experiment.add_results(results, plan, outcomes, root)
    return replace(results, seconds=round(time.perf_counter() - started, 1))
