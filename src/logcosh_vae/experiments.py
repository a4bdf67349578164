"""Running many auto-encoders as one experiment: rows of configs, each over seeds, trained once and reused.

An experiment is data: what to train, and what was reported. The runner takes any `concurrent.futures.Executor`
whose workers see the same files; it starts each run in a folder named by its config and code, so a run that another
experiment (or a killed one) has finished is not trained again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .autoencoders import config_of, run_name, split, train
from .build import build_model
from .config import ModelConfig, TrainConfig, required, resolve, to_dict
from .data import whole_count
from .data.describe import summarise
from .environment import describe, evaluation_fingerprint
from .evaluation import EvaluationConfig, evaluate, floor
from .features import load_extractor
from .files import DamagedJsonError, brief, read_json, write_json
from .networks import ImageShape
from .runs import RunError, RunFolder
from .training import Position

POLL_SECONDS = 0.5
WORKER_DEATHS = 3
"""How often workers may die in one command before it gives up."""


@dataclass(frozen=True)
class Row:
    """One model and loss of a table.

    Attributes:
        config: without its seed.
        reported: the paper's numbers by metric, empty where it gives none.
    """

    config: TrainConfig
    reported: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Rows to train and measure alike.

    Attributes:
        name: as in `reproduce NAME`.
        title: for the report.
        profile: how the rows were scaled.
        source: where the reported numbers stand.
        features: changes of the feature classifiers' training, for checks that need no good ones.
    """

    name: str
    title: str
    profile: str
    rows: tuple[Row, ...]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    source: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run: a row with a seed, in its folder."""

    config: TrainConfig
    path: Path
    evaluation: EvaluationConfig
    root: Path | None


@dataclass
class JobState:
    """What a watcher is shown of a job.

    Attributes:
        work: of the whole job, to weigh its progress with.
    """

    job: Job
    work: float = 1.0
    position: Position | None = None
    finished: bool = False
    reused: bool = False


Watcher = Callable[[Sequence[JobState]], None]


def operations(config: TrainConfig, image_shape: ImageShape) -> int:
    """Floating point operations of the products and convolutions of one image's way through the config's model."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        build_model(config, image_shape)(torch.zeros(1, *image_shape), torch.Generator())
    return int(counter.get_total_flops())


def works_of(jobs: Sequence[Job]) -> list[float]:
    """Operations of each job's training, up to a factor: those of one image forwards, times images and epochs."""
    of_one_image: dict[tuple[ModelConfig, ImageShape], int] = {}
    works = []
    for job in jobs:
        images = split(job.config, "train", job.root).images
        channels, height, width = images.shape[1:]
        key = job.config.model, (channels, height, width)
        if key not in of_one_image:
            of_one_image[key] = operations(job.config, key[1])
        works.append(float(of_one_image[key] * len(images) * required(job.config.epochs, "epochs")))
    return works


def plan(experiment: Experiment, seeds: int, store: Path, root: Path | None = None) -> list[list[Job]]:
    """The jobs of each row, one a seed."""
    plans = []
    for row in experiment.rows:
        configs = [resolve(replace(row.config, seed=seed)) for seed in range(seeds)]
        plans.append([Job(c, store / run_name(c), experiment.evaluation, root) for c in configs])
    return plans


def evaluation_of(job: Job) -> dict[str, Any] | None:
    """The job's evaluation if it was made by this code with these features and settings, else None."""
    path = job.path / "evaluation.json"
    if not path.is_file() or not RunFolder(job.path).is_finished(required(job.config.epochs, "epochs")):
        return None
    try:
        result: dict[str, Any] = read_json(path)
    except DamagedJsonError:
        return None  # it is measured anew
    if result.get("evaluation") != asdict(job.evaluation) or result.get("code") != evaluation_fingerprint():
        return None
    _, image_shape = config_of(RunFolder(job.path))
    extractor = load_extractor(job.config.data.name, image_shape, job.root, job.evaluation.features)
    features = extractor.describe() if extractor is not None else None
    return result if result.get("features") == features else None


def run_job(job: Job) -> dict[str, Any]:
    """Train and measure, as far as that has not been done; runs in a worker process."""
    train(job.config, job.path, resume=True, root=job.root)
    result = evaluation_of(job)
    return evaluate(job.path, job.evaluation, root=job.root) if result is None else result


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it has ended, however that came."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def leave_with_parent() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=leave_with_parent, daemon=True).start()


class Workers:
    """Where jobs run: an executor that is started when it is needed, and again when its workers have died.

    Attributes:
        count: jobs that run at once.
    """

    def __init__(self, start: Callable[[], Executor], count: int) -> None:
        self.count = count
        self._start = start
        self._executor: Executor | None = None

    @classmethod
    def local(cls, count: int) -> Workers:
        """Processes on this machine. They are spawned: a fork would carry over torch's threads."""
        context = multiprocessing.get_context("spawn")
        return cls(lambda: ProcessPoolExecutor(count, mp_context=context, initializer=_follow_parent), count)

    @classmethod
    def cluster(cls, scheduler: str) -> Workers:
        """The workers of a Dask cluster, which see the same files under the same paths.

        Raises:
            RunError: Dask is not installed, or no scheduler answers at that address.
        """
        try:
            distributed = import_module("distributed")
        except ImportError:
            raise RunError("--scheduler needs Dask: pip install 'logcosh-vae[cluster]'") from None
        try:
            client = distributed.Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RunError(f"no Dask scheduler answers at {scheduler} ({brief(error)})") from None
        count = len(client.scheduler_info()["workers"])
        if count == 0:
            raise RunError(f"the Dask scheduler at {scheduler} has no workers")
        # a run computes on threads of its own, so a worker gets one at a time
        return cls(lambda: client.get_executor(pure=False, retries=WORKER_DEATHS), count)

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Give a job to a worker."""
        if self._executor is None:
            self._executor = self._start()
        return self._executor.submit(run_job, job)

    def restart(self) -> None:
        """Leave the workers that are left, and start new ones for the next job."""
        self.stop()

    def stop(self, *, wait_for_them: bool = False) -> None:
        """Take no more jobs; without waiting, jobs under way end with this process."""
        if self._executor is not None:
            self._executor.shutdown(wait=wait_for_them)  # what waits in it was cancelled by `run_jobs`
            self._executor = None


def default_jobs(threads: int = 1) -> int:
    """As many runs at once as the usable cores carry."""
    return max(1, len(os.sched_getaffinity(0)) // threads)


def run_jobs(jobs: Sequence[Job], workers: Workers, watch: Watcher | None = None) -> dict[Path, dict[str, Any]]:
    """Run jobs to the end and return their evaluations by folder.

    A worker process that dies (killed, or out of memory) is replaced, and its run goes on where it was. The first
    failure of a run stops the rest that has not begun and is raised; finished runs stay and are reused.

    Raises:
        RunError: workers died again and again.
    """
    states = {job.path: JobState(job, work) for job, work in zip(jobs, works_of(jobs), strict=True)}
    results: dict[Path, dict[str, Any]] = {}
    pending: dict[Future[dict[str, Any]], Job] = {}
    deaths = 0
    for job in {job.path: job for job in jobs}.values():
        done = evaluation_of(job)
        if done is not None:
            results[job.path] = done
            states[job.path].finished = states[job.path].reused = True
        else:
            pending[workers.submit(job)] = job
    try:
        while pending:
            ended, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            try:
                for future in ended:
                    results[pending[future].path] = future.result()
                    states[pending.pop(future).path].finished = True
            except BrokenExecutor:
                deaths += 1
                if deaths > WORKER_DEATHS:
                    raise RunError(
                        f"worker processes died {deaths} times; is there memory for {workers.count} runs at once? "
                        "Try fewer with --jobs"
                    ) from None
                workers.restart()
                pending = {workers.submit(job): job for job in pending.values()}
            for state in states.values():
                if not state.finished:
                    state.position = RunFolder(state.job.path).progress()
            if watch is not None:
                watch(list(states.values()))
    finally:
        for future in pending:
            future.cancel()
    return results


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one value) and the values themselves."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": spread, "values": list(values)}


def _row_result(jobs: Sequence[Job], results: Mapping[Path, Mapping[str, Any]], row: Row) -> dict[str, Any]:
    config = jobs[0].config
    runs = [results[job.path] for job in jobs]
    return {
        "data": config.data.name,
        "model": config.model_name,
        "loss": config.objective.loss,
        "a": config.objective.a,
        "weight": config.objective.weight,
        "seeds": [job.config.seed for job in jobs],
        "metrics": {name: summary([run["metrics"][name] for run in runs]) for name in runs[0]["metrics"]},
        "test": {name: summary([run["test"][name] for run in runs]) for name in runs[0]["test"]},
        "training_seconds": summary([run["training_seconds"] for run in runs]),
        "reported": dict(row.reported),
        "runs": [job.path.name for job in jobs],
        "config": {key: value for key, value in to_dict(config).items() if key != "seed"},
    }


def jobs_of(experiment: Experiment, seeds: int, store: Path, root: Path | None = None) -> list[Job]:
    """All jobs of an experiment, the first seed of every row before the second of any."""
    return [job for row in zip(*plan(experiment, seeds, store, root), strict=True) for job in row]


def _images(config: TrainConfig, root: Path | None) -> dict[str, dict[str, int]]:
    """How many images of each split were used, and how many the complete set has where that is known."""
    counts = {name: {"used": len(split(config, name, root).images)} for name in ("train", "test")}
    for name, count in counts.items():
        complete = whole_count(config.data.name, name)
        if complete is not None:
            count["complete"] = complete
    return counts


def _advice(config: TrainConfig, root: Path | None) -> dict[str, Any]:
    """What the test images' pixels speak for (paper, footnote 1 and appendix B)."""
    summary = summarise(split(config, "test", root))
    return {"near_0_or_1": summary.near, "loss": summary.advised_loss, "words": summary.advice}


def run_experiment(
    experiment: Experiment,
    *,
    seeds: int,
    store: Path,
    workers: Workers,
    root: Path | None = None,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Train and measure every row over `seeds` seeds; the result is what `results/*.json` holds.

    An experiment without rows (a figure that needs no training) gives a result without measures.
    """
    started = time.perf_counter()
    plans = plan(experiment, seeds, store, root)
    jobs = jobs_of(experiment, seeds, store, root)
    reused = sum(evaluation_of(job) is not None for job in jobs)
    results = run_jobs(jobs, workers, watch)
    measured: dict[str, Any] = {}
    if jobs:
        first = results[jobs[0].path]
        measured = {name: first[name] for name in ("features", "evaluation", "real")}
        measured["images"] = _images(jobs[0].config, root)
        measured["advice"] = _advice(jobs[0].config, root)
        measured["floor"] = floor(jobs[0].config, experiment.evaluation, root=root)
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "profile": experiment.profile,
        "source": experiment.source,
        "rows": [_row_result(row_jobs, results, row) for row_jobs, row in zip(plans, experiment.rows, strict=True)],
        **measured,
        "environment": describe(),
        "workers": workers.count,
        "runs": {"total": len(jobs), "reused": reused},
        "seconds": round(time.perf_counter() - started, 1),
    }


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Write results as JSON in one step."""
    write_json(path, json.loads(json.dumps(results)))
