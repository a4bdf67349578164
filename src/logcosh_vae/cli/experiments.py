"""Running experiments for the verbs `compare` and `reproduce`, with progress.

`run_all` trains all runs that the experiments need, several at a time, and returns the results of each experiment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .streams import inform, silenced, stopped, tell

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment
    from ..experiments.job import Job
    from ..experiments.results import ExperimentResults
    from ..experiments.workers import Workers
    from ..training.session import Callbacks


def _prepare(experiment: Experiment[Any], store: Path, data_root: Path) -> Experiment[Any]:
    """Prepare what the runs share, in this process: fetch the images and train a feature network if there is none."""
    from ..experiments.experiment import PrepareCallbacks
    from .terminal import FetchDisplay, TrainingDisplay

    with FetchDisplay() as fetching, TrainingDisplay() as training:

        def feature_callbacks(name: str) -> Callbacks:
            fetching.close()
            inform(f"{name}: training the feature network of the FID")
            return training.callbacks()

        return experiment.prepare(store, data_root, PrepareCallbacks(fetching, feature_callbacks, training.note))


@contextmanager
def _workers(count: int | None, scheduler: str | None, jobs: Sequence[Job], store: Path) -> Iterator[Workers]:
    """The workers that train; they stop at once on an error or Ctrl-C, and finish their work otherwise."""
    from ..experiments.job_memory import fitting_count
    from ..experiments.workers import Workers, default_jobs

    if scheduler:
        workers = Workers.cluster(scheduler)
    elif count is not None:
        workers = Workers.local(min(count, max(1, len(jobs))))
    else:
        wanted = min(default_jobs(), max(1, len(jobs)))
        workers = Workers.local(fitting_count(jobs, wanted))
        if workers.count < wanted:
            tell(f"note: {workers.count} runs at the same time instead of {wanted}, because of the memory they need")
    try:
        yield workers
    except BaseException as error:
        workers.stop()
        if isinstance(error, KeyboardInterrupt):
            stopped(f"the runs so far are in {store} and will be used again")
        raise
    workers.stop(wait=True)


def run_all(
    experiments: Sequence[Experiment[Any]],
    seeds: Sequence[int],
    store: Path,
    data_root: Path | None,
    jobs: int | None,
    scheduler: str | None = None,
) -> Iterator[ExperimentResults]:
    """Run experiments and yield the results of each, in order.

    The runs of all experiments are trained before the first results are yielded; a run that several of them share is
    trained once, and one that `store` already holds is reused.

    Args:
        seeds: seeds of the runs of each row.
        store: folder of the run folders.
        jobs: number of runs at the same time; None for one per core, or fewer if the memory does not suffice.
        scheduler: address of a Dask scheduler whose workers train instead of processes of this machine.
    """
    from ..data import data_root as find_root
    from ..experiments.experiment import jobs_of, run_experiment
    from ..experiments.scheduler import run_jobs
    from .terminal import ExperimentDisplay

    # workers on other machines have another working directory and environment
    store, data_root = store.resolve(), find_root(data_root).resolve()
    prepared = [_prepare(experiment, store, data_root) for experiment in experiments]
    all_jobs = [job for experiment in prepared for job in jobs_of(experiment, seeds, store, data_root)]
    with _workers(jobs, scheduler, all_jobs, store) as workers, ExperimentDisplay() as display:
        if len(prepared) > 1:
            run_jobs(all_jobs, workers, display)
        for experiment in prepared:
            results = run_experiment(
                experiment, seeds=seeds, runs_folder=store, workers=workers, root=data_root, on_progress=display
            )
            display.close()
            yield results


def track_runs(folders: Sequence[Path], trackers: Sequence[str]) -> None:
    """Send finished runs to trackers, those that a tracker has got before only as far as they are new to it."""
    from ..training.tracking import Tracking

    hints: dict[str, None] = {}
    with silenced():
        for folder in folders:
            with Tracking(folder, trackers, lambda message: tell(f"note: {message}")) as tracking:
                pass
            trackers = tracking.trackers  # without those that have failed
            hints |= dict.fromkeys(f"{name}: {hint}" for name, hint in tracking.hints.items())
    inform(*hints)
