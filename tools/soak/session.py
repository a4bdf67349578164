"""A session: workers run trials of one attack after another, and their results are added to the figures."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from logcosh_vae.base.records import write_record

from .record import SoakResults
from .worker import Worker

SAVE_SECONDS = 20.0
"""The results are written at least this often, so that a session that is killed can be continued."""


class Session:
    """Runs attacks, prints failures and saves the figures.

    Args:
        results: figures to add to; they hold the seed.
        out: file for them; None to write none.
        work: folder for inputs and trials.
        kept: folder that the files of failed trials are moved to.
    """

    def __init__(self, results: SoakResults, out: Path | None, work: Path, kept: Path) -> None:
        self.results, self.out, self.work, self.kept = results, out, work, kept
        self.saved = time.monotonic()
        self.lock = threading.Lock()

    def run(self, name: str, indices: Iterable[int], end: float, jobs: int) -> None:
        """Run trials of one attack.

        Args:
            name: the attack.
            indices: numbers of the trials.
            end: value of `time.monotonic()` after which no trial begins.
            jobs: number of trials that run at the same time.

        Raises:
            RuntimeError: a worker cannot prepare the inputs.
        """
        waiting = iter(indices)
        stop = threading.Event()

        def work(number: int) -> None:
            worker = Worker(name, self.results.seed, self.work / f"{name}-{number}")
            try:
                while time.monotonic() < end and not stop.is_set():
                    with self.lock:
                        index = next(waiting, None)
                    if index is None:
                        break
                    self._try(worker, index)
            finally:
                worker.stop()

        with ThreadPoolExecutor(jobs) as pool:
            try:
                for future in [pool.submit(work, number) for number in range(jobs)]:
                    future.result()
            finally:
                stop.set()

    def _try(self, worker: Worker, index: int) -> None:
        name, start = worker.attack.name, time.monotonic()
        result = worker.run(index)
        seconds = time.monotonic() - start
        # the record is kept in the repository, where folders of this machine mean nothing
        failure = result.failure.replace(str(worker.trial_folder(index)), "TRIAL").replace(str(self.work), "WORK")
        with self.lock:
            self.results = self.results.with_trial(name, index, failure, seconds, result.peak_bytes)
            if failure:
                seed = self.results.seed
                _keep(worker.trial_folder(index), self.kept / f"{name}-{seed}-{index}")
                print(f"failed: --only {name} --seed {seed} --index {index}: {failure}", flush=True)
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self.save()

    def save(self) -> None:
        """Write the figures."""
        if self.out is not None:
            write_record(self.results, self.out)
        self.saved = time.monotonic()

    def failed(self) -> int:
        """Return the number of failed trials."""
        return sum(counts.failed for counts in self.results.attacks.values())


def _keep(source: Path, target: Path) -> None:
    """Move the files of a failed trial; whatever cannot be moved is lost, and the trial can be repeated."""
    with suppress(OSError, shutil.Error):
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
