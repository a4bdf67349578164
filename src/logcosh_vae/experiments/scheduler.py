"""Runs given to workers: processes of this machine or a cluster's, with progress, reuse and the replacing of the dead.

A run that another experiment (or a killed one) has finished is not trained again. Any
`concurrent.futures.Executor` does whose workers see the same files.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..base.devices import usable_cores
from ..base.errors import RunError
from ..base.files import one_line
from ..base.memory import keep_freed_memory
from ..training.loop import Position
from ..training.run_folder import RunFolder

POLL_SECONDS = 0.5
WORKER_DEATHS = 3
"""How often workers may die in one command before it gives up."""


class Job(ABC):
    """One run in a folder of its own, named by its config and code; it is sent to a worker process.

    Attributes:
        path: of the run folder.
    """

    path: Path

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name for people."""

    @abstractmethod
    def cost(self) -> float:
        """About how much there is to compute, to weigh the progress of several jobs with."""

    @abstractmethod
    def cached_result(self) -> Any:
        """The run's measures, a record, if it is finished and they are of this version and these images; else None."""

    @abstractmethod
    def run(self) -> Any:
        """Train and measure, as far as that has not been done; in a worker process."""


@dataclass
class JobState:
    """What a watcher is shown of a job.

    Attributes:
        cost: of the whole job, to weigh its progress with.
    """

    job: Job
    cost: float = 1.0
    position: Position | None = None
    finished: bool = False
    reused: bool = False


ProgressCallback = Callable[[Sequence[JobState]], None]


def _run(job: Job) -> Any:
    keep_freed_memory()  # here, so that a cluster's workers do as well
    return job.run()


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
            raise RunError(f"no Dask scheduler answers at {scheduler} ({one_line(error)})") from None
        count = len(client.scheduler_info()["workers"])
        if count == 0:
            raise RunError(f"the Dask scheduler at {scheduler} has no workers")

        # a run computes on threads of its own, so a worker gets one at a time
        def start() -> tuple[Executor, Callable[[], None]]:
            executor = client.get_executor(pure=False, retries=WORKER_DEATHS)
            return executor, lambda: executor.shutdown(wait=False)  # cancels what has not ended

        return cls(start, count)

    def submit(self, job: Job) -> Future[Any]:
        """Give a job to a worker."""
        if self._running is None:
            self._running = self._start()
        return self._running[0].submit(_run, job)

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
    return max(1, usable_cores() // threads)


def run_jobs(jobs: Sequence[Job], workers: Workers, watch: ProgressCallback | None = None) -> dict[Path, Any]:
    """Run jobs to the end and return their evaluations by folder.

    A worker process that dies (killed, or out of memory) is replaced, and its run goes on where it was. The first
    failure of a run stops the rest that has not begun and is raised; finished runs stay and are reused.

    Raises:
        RunError: workers died again and again.
    """
    states = {job.path: JobState(job, job.cost()) for job in jobs}
    results: dict[Path, Any] = {}
    waiting: list[Job] = []
    pending: dict[Future[Any], Job] = {}
    deaths = 0
    for job in {job.path: job for job in jobs}.values():
        done = job.cached_result()
        if done is not None:
            results[job.path] = done
            states[job.path].finished = states[job.path].reused = True
        else:
            waiting.append(job)
    try:
        while waiting or pending:
            try:
                while waiting:  # a worker may die at any time, so giving it a job may be what fails
                    pending[workers.submit(waiting[0])] = waiting[0]
                    waiting.pop(0)
                ended, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
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
                waiting = [*pending.values(), *waiting]
                pending = {}
            for state in states.values():
                if not state.finished:
                    state.position = RunFolder(state.job.path).progress()
            if watch is not None:
                watch(list(states.values()))
    except BaseException:
        workers.stop()
        raise
    return results
