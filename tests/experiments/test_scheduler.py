"""Runs given to workers that die, whenever it is that they die."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logcosh_vae.base.errors import RunError
from logcosh_vae.experiments.scheduler import WORKER_DEATHS, Job, Workers, run_jobs


class _Named(Job):
    """A job that gives its name."""

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


class _Mortal(Executor):
    """Runs what it is given at once; dies at a given submission: refusing it, or having taken it."""

    def __init__(self, dies_at: int | None, refusing: bool) -> None:
        self.left, self.refusing = dies_at, refusing

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.left is not None and self.left <= 0:
            if self.refusing:
                raise BrokenExecutor("dead")
            future.set_exception(BrokenExecutor("dead"))
        else:
            future.set_result(function(*arguments, **options))
        self.left = None if self.left is None else self.left - 1
        return future


@settings(max_examples=25)  # workers that stop collect garbage, which is slow in a process with much in it
@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=WORKER_DEATHS))
def test_every_job_gives_its_result_however_its_workers_die(count: int, deaths: list[tuple[int, bool]]) -> None:
    executors = iter([*(_Mortal(*death) for death in deaths), _Mortal(None, False)])
    jobs = [_Named(name) for name in range(count)]
    results = run_jobs(jobs, Workers(lambda: (next(executors), lambda: None), 2))
    assert results == {job.path: {"name": job.label} for job in jobs}


@pytest.mark.parametrize("refusing", [True, False])
def test_workers_that_always_die_are_given_up(refusing: bool) -> None:
    with pytest.raises(RunError, match=r"died 4 times.*--jobs"):
        run_jobs([_Named(0)], Workers(lambda: (_Mortal(0, refusing), lambda: None), 2))
