"""Scheduler of experiments: runs jobs on several workers, with progress, reuse of results and replacement of workers.

`run_jobs` runs `Job`s on `Workers`, which are processes of this machine or of a Dask cluster. Any
`concurrent.futures.Executor` can be used if its workers see the same files. A run that is already finished, by another
experiment or an interrupted command, is not trained again.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..base.devices import usable_cores
from ..base.errors import RunError
from ..base.memory import keep_freed_memory
from ..training.loop import Position
from ..training.run_folder import RunFolder
from .cluster import Cluster

POLL_SECONDS = 0.5
WORKER_DEATHS = 3
"""Number of times that workers may die within one call of `run_jobs` before it fails."""


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


def _run(job: Job) -> Any:
    keep_freed_memory()  # set here and not at the start of a process, because workers of a cluster start differently
    return job.run()


def _initialize_worker(parent: Connection) -> None:
    """Ignore Ctrl-C, which the parent handles, and exit as soon as the parent closes its end of the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def exit_with_parent() -> None:
        with suppress(EOFError, OSError):
            parent.recv()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def _start_processes(count: int) -> tuple[Executor, Callable[[], None]]:
    """Start worker processes on this machine; return the executor, and a function that ends the processes at once.

    The processes are spawned, because torch's threads do not survive a fork.
    """
    context = multiprocessing.get_context("spawn")
    worker_end, own_end = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_initialize_worker, initargs=(worker_end,))

    def end() -> None:
        own_end.close()
        executor.shutdown(wait=True)
        worker_end.close()

    return executor, end


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back inside the `with` block; processes that are started in it never receive it.

    A worker ignores Ctrl-C once it runs our code. Before that it imports for seconds, and would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers:
    """Executor for jobs, started on first use and again after `restart` or `stop`.

    Args:
        start: starts an executor; returns it with a function that ends its workers at once.
        count: number of jobs that run at the same time.
        check: called regularly while jobs run; raises `RunError` if they cannot be finished any more.
        lost: returns the error about jobs that were dropped.

    Attributes:
        count, check, lost: the arguments.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Executor, Callable[[], None]]],
        count: int,
        *,
        check: Callable[[], None] = lambda: None,
        lost: Callable[[], RunError] = lambda: RunError("the workers have dropped a run; start the command again"),
    ) -> None:
        self.count, self.check, self.lost = count, check, lost
        self._start = start
        self._running: tuple[Executor, Callable[[], None]] | None = None

    @classmethod
    def local(cls, count: int) -> Workers:
        """Return workers that are `count` processes on this machine."""
        return cls(lambda: _start_processes(count), count)

    @classmethod
    def cluster(cls, scheduler: str) -> Workers:
        """Return the workers of a Dask cluster. They must see the same files under the same paths.

        Args:
            scheduler: address of the scheduler, such as `tcp://HOST:8786`.

        Raises:
            RunError: Dask is not installed, no scheduler answers at that address, or it has no workers.
        """
        cluster = Cluster(scheduler)
        return cls(cluster.start, cluster.count, check=cluster.check, lost=cluster.lost)

    def submit(self, job: Job) -> Future[Any]:
        """Submit a job; starts the executor if necessary."""
        if self._running is None:
            self._running = self._start()
        with _interrupts_blocked():
            return self._running[0].submit(_run, job)

    def restart(self) -> None:
        """End the remaining workers; the next submitted job starts new ones."""
        self.stop()

    def stop(self, *, wait: bool = False) -> None:
        """End the workers: at once, or after their current jobs if `wait`."""
        if self._running is None:
            return
        executor, end = self._running
        if wait:
            executor.shutdown(wait=True)
        end()
        self._running = None
        del executor, end
        gc.collect()  # releases semaphores now: a process that exits with os._exit would leave them behind


def default_jobs(threads: int = 1) -> int:
    """Return the number of runs with `threads` threads each that the usable cores can run at the same time."""
    return max(1, usable_cores() // threads)


class _Queue:
    """Jobs of one call of `run_jobs`: those that wait, those that run, and the results.

    Attributes:
        states: state of each job, by run folder.
        results: results so far, by run folder.
    """

    def __init__(self, jobs: Sequence[Job], workers: Workers) -> None:
        self.workers = workers
        self.states = {job.path: JobState(job, job.cost()) for job in jobs}
        self.results: dict[Path, Any] = {}
        self._waiting: list[Job] = []
        self._running: dict[Future[Any], Job] = {}
        self._deaths = 0
        for job in {job.path: job for job in jobs}.values():
            result = job.cached_result()
            if result is None:
                self._waiting.append(job)
            else:
                self._finish(job, result)
                self.states[job.path].reused = True

    def __bool__(self) -> bool:
        """Whether any job is unfinished."""
        return bool(self._waiting or self._running)

    def poll(self) -> None:
        """Submit waiting jobs, wait for results for at most `POLL_SECONDS`, and update the states.

        Raises:
            RunError: workers have died too often, or cannot be reached any more.
        """
        self.workers.check()
        try:
            self._submit()
            self._collect()
        except BrokenExecutor:
            self._replace_workers()
        for state in self.states.values():
            if not state.finished:
                state.position = RunFolder(state.job.path).progress()

    def _submit(self) -> None:
        while self._waiting:  # a job stays in the list until it is submitted, because the submission itself can fail
            self._running[self.workers.submit(self._waiting[0])] = self._waiting[0]
            self._waiting.pop(0)

    def _collect(self) -> None:
        finished, _ = wait(self._running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in finished:
            try:
                result = future.result()
            except CancelledError:
                raise self.workers.lost() from None
            except Exception as error:
                if type(error).__name__ == "KilledWorker":  # Dask's error of a job whose workers have all died
                    raise BrokenExecutor from None
                raise
            self._finish(self._running.pop(future), result)

    def _finish(self, job: Job, result: Any) -> None:
        self.results[job.path] = result
        self.states[job.path].finished = True

    def _replace_workers(self) -> None:
        """Restart the workers, and put the jobs that were running back at the front."""
        self._deaths += 1
        if self._deaths > WORKER_DEATHS:
            raise RunError(
                f"worker processes died {self._deaths} times, perhaps because the memory does not suffice for "
                f"{self.workers.count} runs at the same time: use fewer with --jobs"
            ) from None
        self.workers.restart()
        self._waiting = [*self._running.values(), *self._waiting]
        self._running = {}


def run_jobs(jobs: Sequence[Job], workers: Workers, on_progress: ProgressCallback | None = None) -> dict[Path, Any]:
    """Run jobs to the end.

    A worker process that dies (killed, or out of memory) is replaced, and its run resumes. The first error of a run
    stops all others and is raised; finished runs stay and are reused by the next command.

    Args:
        jobs: jobs with the same run folder run once.
        workers: where the jobs run.
        on_progress: called with the states of all jobs, about every `POLL_SECONDS`.

    Returns:
        The result of each job, by its run folder.

    Raises:
        RunError: workers died more than `WORKER_DEATHS` times. Errors of a run are raised as they are.
    """
    queue = _Queue(jobs, workers)
    try:
        while queue:
            queue.poll()
            if on_progress is not None:
                on_progress(list(queue.states.values()))
    except BaseException:
        workers.stop()
        raise
    return queue.results
