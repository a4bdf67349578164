"""Experiments: rows to train and evaluate over seeds, and how their runs become results.

`Experiment` is the interface, `run_experiment` runs one and returns its `ExperimentResults`. A run is trained once;
experiments that share it reuse it.
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
"""The result of each job, by its run folder."""


@dataclass(frozen=True)
class PrepareCallbacks:
    """Functions called while an experiment prepares its images and feature classifiers.

    Attributes:
        on_images: called with the progress of downloading and preparing images.
        on_training: called with the name of a data set before its feature classifier is trained; returns the callbacks
            of that training.
        on_message: called with messages for the user.
    """

    on_images: Progress | None = None
    on_training: Callable[[str], Callbacks] = lambda _: Callbacks()
    on_message: Callable[[str], None] = lambda _: None


class Experiment(ABC, Generic[J]):
    """Rows that are trained and evaluated in the same way.

    Attributes:
        name: as in `reproduce NAME`.
        title: for reports.
        profile: name of the profile, which scales the rows.
        rows: the configurations, without their seeds.
        source: where the reported numbers are found.
    """

    name: str
    title: str
    profile: str
    rows: Sequence[Any]
    source: str

    @abstractmethod
    def models(self) -> list[str]:
        """Return the names that `only` accepts."""

    @abstractmethod
    def configs(self) -> list[Any]:
        """Return the resolved configuration of each row, with the seed 0."""

    @abstractmethod
    def only(self, models: Sequence[str]) -> Self:
        """Return the experiment with only the rows of these models."""

    @abstractmethod
    def on_device(self, device: str) -> Self:
        """Return the experiment with all runs on `device`."""

    @abstractmethod
    def prepare(self, runs_folder: Path, root: Path, callbacks: PrepareCallbacks) -> Self:
        """Prepare what all runs need, so that worker processes do not prepare it at the same time.

        Args:
            runs_folder: folder of the runs.
            root: data root.
            callbacks: called with the progress.

        Returns:
            The experiment to run, which uses what was prepared.
        """

    @abstractmethod
    def plan(self, seeds: Sequence[int], runs_folder: Path, root: Path) -> Sequence[Sequence[J]]:
        """Return the jobs of each row, one per seed, with run folders in `runs_folder`."""

    @abstractmethod
    def add_results(
        self, results: ExperimentResults, plan: Sequence[Sequence[J]], outcomes: Outcomes, root: Path
    ) -> ExperimentResults:
        """Return the results with the rows and all other measurements filled in.

        Args:
            results: the results so far, without rows.
            plan: as returned by `plan`.
            outcomes: result of each job.
            root: data root.
        """


def jobs_of(experiment: Experiment[J], seeds: Sequence[int], runs_folder: Path, root: Path) -> list[J]:
    """Return all jobs of an experiment: the first seed of every row, then the second, and so on."""
    return [job for row in zip(*experiment.plan(seeds, runs_folder, root), strict=True) for job in row]


def run_experiment(
    experiment: Experiment[Any],
    *,
    seeds: Sequence[int],
    runs_folder: Path,
    workers: Workers,
    root: Path,
    on_progress: ProgressCallback | None = None,
) -> ExperimentResults:
    """Train and evaluate every row of a prepared experiment over several seeds.

    Args:
        experiment: as returned by `prepare`.
        seeds: seeds of the runs of each row.
        runs_folder: folder of the runs; finished runs in it are reused.
        workers: where the jobs run.
        root: data root.
        on_progress: called regularly with the state of all jobs.

    Returns:
        The results; without rows for an experiment that needs no training.

    Raises:
        RunError: worker processes died repeatedly; errors of a run are raised as they are.
    """
    started = time.perf_counter()
    plan = experiment.plan(seeds, runs_folder, root)
    jobs = jobs_of(experiment, seeds, runs_folder, root)
    reused = sum(job.cached_result() is not None for job in jobs)
    outcomes = run_jobs(jobs, workers, on_progress)
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
