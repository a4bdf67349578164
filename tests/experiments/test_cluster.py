"""A Dask cluster whose scheduler or workers are gone ends the command with one line."""

from __future__ import annotations

import sys
import time
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logcosh_vae.base.errors import RunError
from logcosh_vae.experiments import cluster
from logcosh_vae.experiments.scheduler import Job, Workers, run_jobs

ADDRESS = "tcp://nowhere:8786"


class _Client:
    """Stands for `distributed.Client`: its workers, and what becomes of its jobs, are attributes of the class."""

    workers: int | Exception = 1
    result: BaseException | None = None

    def __init__(self, *_: Any, **__: Any) -> None:
        self.scheduler = SimpleNamespace(ncores=None)

    def sync(self, _: Any, callback_timeout: float) -> dict[int, int]:  # noqa: ARG002
        if isinstance(self.workers, Exception):
            raise self.workers
        return dict.fromkeys(range(self.workers), 1)

    def get_executor(self, **_: Any) -> Executor:
        client = self

        class _Executor(Executor):
            def submit(self, *_: Any, **__: Any) -> Future[Any]:
                future: Future[Any] = Future()
                if client.result is not None:
                    future.set_exception(client.result)
                return future

            def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
                raise OSError("the connection is lost")

        return _Executor()


class KilledWorker(Exception):  # noqa: N818 - Dask's name
    pass


class _Job(Job):
    path = Path("/nowhere/job")
    label = "job"

    def cost(self) -> float:
        return 1.0

    def cached_result(self) -> None:
        return None

    def run(self) -> None:
        raise NotImplementedError


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[_Client]:
    class Client(_Client):
        pass

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    for name in ("CHECK_SECONDS", "LOST_SECONDS", "NO_WORKERS_SECONDS"):
        monkeypatch.setattr(cluster, name, 0.1)
    return Client


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": OSError("closed")}, "does not answer any more; finished runs are kept"),
        ({"workers": TimeoutError()}, "does not answer any more; finished runs are kept"),
        ({"workers": 0}, "has had no workers for 0 seconds: start some with 'dask worker'; finished runs are kept"),
        ({"result": CancelledError()}, "does not answer any more; finished runs are kept"),
    ],
)
def test_jobs_of_a_cluster_that_is_gone_end_with_one_line(
    change: dict[str, Any], message: str, client: type[_Client]
) -> None:
    workers = Workers.cluster(ADDRESS)
    for name, value in change.items():
        setattr(client, name, value)
    started = time.monotonic()
    with pytest.raises(RunError, match=f"^the Dask scheduler at {ADDRESS} {message}"):
        run_jobs([_Job()], workers)
    assert time.monotonic() - started < 10.0


def test_a_job_whose_workers_all_die_is_reported_like_local_workers_that_die(client: type[_Client]) -> None:
    client.result = KilledWorker("a long text")
    with pytest.raises(RunError, match="worker processes died 4 times"):
        run_jobs([_Job()], Workers.cluster(ADDRESS))


@pytest.mark.parametrize(("workers", "message"), [(0, "has no workers"), (OSError("closed"), "has no workers")])
def test_a_cluster_without_workers_is_refused(workers: int | Exception, message: str, client: type[_Client]) -> None:
    client.workers = workers
    with pytest.raises(RunError, match=message):
        Workers.cluster(ADDRESS)
