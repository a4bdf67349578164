"""Jobs are completed although workers die at any time."""

from __future__ import annotations

import signal
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logcosh_vae.base.errors import RunError
from logcosh_vae.experiments.scheduler import WORKER_DEATHS, Job, Workers, run_jobs


class _NameJob(Job):
    """A job whose result is its name."""

    def __init__(self, name: int) -> None:
        self.path = Path(f"/nowhere/{name}")

    @property
    def label(self) -> str:
        return self.path.name

    def cost(self) -> float:
        return 1.0

    def cached_result(self) -> dict[str, Any] | None:
        return None

    def run(self) -> dict[str, Any]:
        return {"name": self.label}


class _FailingExecutor(Executor):
    """Runs jobs in `submit` until it breaks.

    Args:
        dies_at: index of the submission at which it breaks; None for never.
        refuses: whether that submission raises, or returns a future that raises.
    """

    def __init__(self, dies_at: int | None, refuses: bool) -> None:
        self.left, self.refuses = dies_at, refuses

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.left is not None and self.left <= 0:
            if self.refuses:
                raise BrokenExecutor("dead")
            future.set_exception(BrokenExecutor("dead"))
        else:
            future.set_result(function(*arguments, **options))
        self.left = None if self.left is None else self.left - 1
        return future


@settings(max_examples=25)  # stopping workers collects garbage, which is slow in the process of a test suite
@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=WORKER_DEATHS))
def test_all_jobs_return_their_result_although_workers_die(count: int, deaths: list[tuple[int, bool]]) -> None:
    executors = iter([*(_FailingExecutor(*death) for death in deaths), _FailingExecutor(None, False)])
    jobs = [_NameJob(name) for name in range(count)]
    results = run_jobs(jobs, Workers(lambda: (next(executors), lambda: None), 2))
    assert results == {job.path: {"name": job.label} for job in jobs}


@pytest.mark.parametrize("refuses", [True, False])
def test_workers_that_always_die_are_an_error(refuses: bool) -> None:
    with pytest.raises(RunError, match=r"died 4 times.*--jobs"):
        run_jobs([_NameJob(0)], Workers(lambda: (_FailingExecutor(0, refuses), lambda: None), 2))


class _MaskJob(_NameJob):
    """A job whose result is whether Ctrl-C is held back in its process."""

    def run(self) -> dict[str, Any]:
        return {"blocked": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])}


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held back on this system")
def test_ctrl_c_reaches_no_worker_not_even_while_it_starts() -> None:
    workers = Workers.local(1)
    try:
        results = run_jobs([_MaskJob(0)], workers)
    finally:
        workers.stop()
    assert list(results.values()) == [{"blocked": True}]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
