"""Runs given to workers: processes of this machine or a cluster's, with progress, reuse and the replacing of the dead.

Each run has a folder named by its config and code, so a run that another experiment (or a killed one) has finished is
not trained again. Any `concurrent.futures.Executor` does whose workers see the same files.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .autoencoders import config_of, split, train
from .build import build_model
from .config import DataConfig, ModelConfig, TrainConfig, required
from .environment import evaluation_fingerprint
from .evaluation import EvaluationConfig, evaluate
from .features import load_extractor
from .files import DamagedJsonError, brief, read_json
from .networks import ImageShape
from .runs import RunError, RunFolder
from .training import Position

POLL_SECONDS = 0.5
WORKER_DEATHS = 3
"""How often workers may die in one command before it gives up."""


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

    @cache
    def shape(data: DataConfig, root: Path | None) -> tuple[int, ...]:
        return tuple(split(TrainConfig(data), "train", root).images.shape)

    @cache
    def of_one_image(model: ModelConfig, image_shape: ImageShape) -> int:
        return operations(TrainConfig(model=model), image_shape)

    works = []
    for job in jobs:
        count, channels, height, width = shape(job.config.data, job.root)
        each = of_one_image(job.config.model, (channels, height, width))
        works.append(float(each * count * required(job.config.epochs, "epochs")))
    return works


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


def _obey(leash: Connection) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent lets go of the leash or has ended itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_when_let_go() -> None:
        with suppress(EOFError, OSError):
            leash.recv()
        os._exit(1)

    threading.Thread(target=leave_when_let_go, daemon=True).start()


def _processes(count: int) -> tuple[Executor, Callable[[], None]]:
    """Processes on this machine, and how to end them at once. They are spawned: a fork would carry torch's threads."""
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_obey, initargs=(theirs,))

    def end() -> None:
        ours.close()
        executor.shutdown(wait=True)
        theirs.close()

    return executor, end


class Workers:
    """Where jobs run: an executor that is started when it is needed, and again when its workers have died.

    Attributes:
        count: jobs that run at once.
    """

    def __init__(self, start: Callable[[], tuple[Executor, Callable[[], None]]], count: int) -> None:
        self.count = count
        self._start = start  # gives an executor, and what ends its workers at once
        self._running: tuple[Executor, Callable[[], None]] | None = None

    @classmethod
    def local(cls, count: int) -> Workers:
        """Processes on this machine."""
        return cls(lambda: _processes(count), count)

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
        def start() -> tuple[Executor, Callable[[], None]]:
            executor = client.get_executor(pure=False, retries=WORKER_DEATHS)
            return executor, lambda: executor.shutdown(wait=False)

        return cls(start, count)

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Give a job to a worker."""
        if self._running is None:
            self._running = self._start()
        return self._running[0].submit(run_job, job)

    def restart(self) -> None:
        """End the workers that are left; the next job starts new ones."""
        self.stop()

    def stop(self, *, wait_for_them: bool = False) -> None:
        """Take no more jobs, and end the workers: when they are done, or at once."""
        if self._running is None:
            return
        executor, end = self._running
        if wait_for_them:
            executor.shutdown(wait=True)
        end()
        self._running = None
        del executor, end
        gc.collect()  # its semaphores go now: a process that leaves at once does not tidy up


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
