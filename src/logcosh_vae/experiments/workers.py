"""Workers, on which the scheduler runs jobs: processes of this machine or of a Dask cluster.

Any `concurrent.futures.Executor` can be used if its workers see the same files.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from ..base.devices import usable_cores
from ..base.errors import RunError
from ..base.memory import keep_freed_memory
from .cluster import Cluster
from .job import Job


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
        on_this_machine: whether all jobs share the memory of this machine.

    Attributes:
        count, check, lost, on_this_machine: the arguments.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Executor, Callable[[], None]]],
        count: int,
        *,
        check: Callable[[], None] = lambda: None,
        lost: Callable[[], RunError] = lambda: RunError("the workers have dropped a run; start the command again"),
        on_this_machine: bool = False,
    ) -> None:
        self.count, self.check, self.lost, self.on_this_machine = count, check, lost, on_this_machine
        self._start = start
        self._running: tuple[Executor, Callable[[], None]] | None = None

    @classmethod
    def local(cls, count: int) -> Workers:
        """Return workers that are `count` processes on this machine."""
        return cls(lambda: _start_processes(count), count, on_this_machine=True)

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
