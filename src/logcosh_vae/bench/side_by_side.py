"""Runs beside each other, each a process with one thread: how much more is done in the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from .peer import peer
from .timing import Contender

ONE, TWO = "one run", "two runs at once, each as long"


@contextmanager
def contenders(network: str, width: float | None = None) -> Iterator[list[Contender]]:
    """A run alone, and two at once; times are of all runs together, so that level means that they do not hinder."""
    settings = {"network": network} | ({} if width is None else {"width": width})
    command = f"{sys.executable} -m logcosh_vae.bench.child"
    with ExitStack() as stack:
        first, second = (stack.enter_context(peer(command, settings)) for _ in range(2))
        pool = stack.enter_context(ThreadPoolExecutor(2))

        def both(count: int) -> None:
            for waiting in [pool.submit(one.run, count) for one in (first, second)]:
                waiting.result()

        yield [Contender(ONE, first.run), Contender(TWO, both)]
