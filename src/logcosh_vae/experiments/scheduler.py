"""Scheduler of experiments: runs jobs on several workers, with progress, reuse of results and replacement of workers.

`run_jobs` runs `Job`s on `Workers`. A run that is already finished, by another experiment or an interrupted command, is
not trained again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from pathlib import Path
from typing import Any

from ..base.errors import RunError
from ..training.run_folder import RunFolder
from .job import Job, JobState, ProgressCallback
from .job_memory import check_jobs_memory
from .workers import Workers, default_jobs

__all__ = ["WORKER_DEATHS", "Job", "JobState", "ProgressCallback", "Workers", "default_jobs", "run_jobs"]

POLL_SECONDS = 0.5
WORKER_DEATHS = 3
"""Number of times that workers may die within one call of `run_jobs` before it fails."""


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
        if workers.on_this_machine:
            check_jobs_memory(self._waiting, workers.count)

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
        ConfigError: this machine lacks the memory for as many runs at the same time.
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
