"""A Dask cluster as the place where jobs run: its executor, and a watch over its scheduler and workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..base.errors import RunError
from ..base.files import one_line

RETRIES = 3
"""Number of times that a job is run again when its worker dies."""

CHECK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
"""How long to wait for an answer of the scheduler."""
LOST_SECONDS = 15.0
"""How long the connection to the scheduler may be lost before the command fails."""
NO_WORKERS_SECONDS = 60.0
"""How long the cluster may be without any worker before the command fails."""

AGAIN = "finished runs are kept and used by the next command (with compare, add --resume)"


class Cluster:
    """A connection to a Dask scheduler. All workers must see the same files under the same paths.

    Args:
        address: of the scheduler, such as `tcp://HOST:8786`.

    Raises:
        RunError: Dask is not installed, no scheduler answers at that address, or it has no workers.

    Attributes:
        count: number of workers; each runs one job at a time, because a run has its own threads.
    """

    def __init__(self, address: str) -> None:
        try:
            distributed = import_module("distributed")
        except ImportError:
            raise RunError("--scheduler needs Dask: pip install 'logcosh-vae[cluster]'") from None
        try:
            self._client = distributed.Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RunError(f"no Dask scheduler answers at {address} ({one_line(error)})") from None
        self.address = address
        self.count = self._worker_count() or 0
        if self.count == 0:
            raise RunError(f"the Dask scheduler at {address} has no workers: start some with 'dask worker'")
        self._checked = self._connected = self._staffed = time.monotonic()

    def _worker_count(self) -> int | None:
        """Ask the scheduler for the number of its workers; None if it does not answer."""
        try:
            return len(self._client.sync(self._client.scheduler.ncores, callback_timeout=ANSWER_SECONDS))
        except Exception:  # Dask raises several types for a lost connection
            return None

    def start(self) -> tuple[Executor, Callable[[], None]]:
        """Return an executor, and a function that cancels its unfinished jobs without waiting for them."""
        executor: Any = self._client.get_executor(pure=False, retries=RETRIES)

        def end() -> None:
            with suppress(Exception):  # of a connection that is lost
                executor.shutdown(wait=False)

        return executor, end

    def check(self) -> None:
        """Check, at most once a second, that the cluster can still compute.

        Raises:
            RunError: the scheduler has been out of reach, or without workers, for too long.
        """
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        workers = self._worker_count()
        self._checked = time.monotonic()  # asking takes seconds if there is no answer
        if workers is not None:
            self._connected = now
        elif now - self._connected > LOST_SECONDS:
            raise self.lost()
        if workers != 0:
            self._staffed = now
        if now - self._staffed > NO_WORKERS_SECONDS:
            raise RunError(
                f"the Dask scheduler at {self.address} has had no workers for {NO_WORKERS_SECONDS:.0f} seconds: start "
                f"some with 'dask worker'; {AGAIN}"
            )

    def lost(self) -> RunError:
        """Return the error about a scheduler that is out of reach."""
        return RunError(f"the Dask scheduler at {self.address} does not answer any more; {AGAIN}")
