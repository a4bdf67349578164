"""Runs that a verb needs, several at a time, with progress and an end that leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment
    from ..experiments.results import ExperimentResults
    from ..experiments.scheduler import Workers


def _prepare(experiment: Experiment[Any], store: Path, data_root: Path) -> Experiment[Any]:
    """Fetch and prepare images once, with progress, before worker processes look for them; train missing features."""
    from ..experiments.experiment import PrepareCallbacks
    from ..training.session import Callbacks
    from .terminal import FetchDisplay, TrainingDisplay

    fetching, training = FetchDisplay(), TrainingDisplay()

    def on_training(name: str) -> Callbacks:
        fetching.close()
        print(f"{name}: training the classifier whose features the FID is measured in", flush=True)
        return Callbacks(training.step, training.epoch)

    try:
        return experiment.prepare(store, data_root, PrepareCallbacks(fetching, on_training, training.note))
    finally:
        fetching.close()


@contextmanager
def _workers(jobs: int | None, scheduler: str | None, wanted: int, store: Path) -> Iterator[Workers]:
    """Workers that end at once when something goes wrong or the user stops."""
    from ..experiments.scheduler import Workers, default_jobs

    workers = Workers.cluster(scheduler) if scheduler else Workers.local(min(jobs or default_jobs(), max(1, wanted)))
    try:
        yield workers
    except BaseException as error:
        workers.stop()
        if isinstance(error, KeyboardInterrupt):
            print(f"stopped; the same command goes on with what is in {store}", file=sys.stderr)
        raise
    workers.stop(wait=True)


def run_all(
    experiments: Sequence[Experiment[Any]],
    seeds: int,
    store: Path,
    data_root: Path | None,
    jobs: int | None,
    scheduler: str | None = None,
) -> Iterator[ExperimentResults]:
    """The results of experiments, whose runs are all done first, several at a time and none twice."""
    from ..data import data_root as find_root
    from ..experiments.experiment import jobs_of, run_experiment
    from ..experiments.scheduler import run_jobs
    from .terminal import ExperimentDisplay

    # workers on other machines have another folder and environment
    store, data_root = store.resolve(), find_root(data_root).resolve()
    ready = [_prepare(experiment, store, data_root) for experiment in experiments]
    wanted = [job for experiment in ready for job in jobs_of(experiment, seeds, store, data_root)]
    display = ExperimentDisplay()
    with _workers(jobs, scheduler, len(wanted), store) as workers:
        try:
            if len(ready) > 1:
                run_jobs(wanted, workers, display)
            for experiment in ready:
                yield run_experiment(
                    experiment, seeds=seeds, runs_folder=store, workers=workers, root=data_root, on_progress=display
                )
        finally:
            display.close()
