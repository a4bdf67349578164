"""Runs beside each other, each a process with one thread: how much more is done in the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import torch

from ..base.devices import takes_bfloat16
from .peer import peer
from .timing import Contender

ONE, TWO = "one run", "two runs at once, each as long"
BFLOAT16 = f"{TWO}, bfloat16"


@contextmanager
def contenders(network: str, width: float | None = None) -> Iterator[list[Contender]]:
    """A run alone, and two at once; times are of all runs together, so that level means that they do not hinder.

    Where the processor has bfloat16, two of such runs, too.
    """
    settings = {"network": network} | ({} if width is None else {"width": width})
    command = f"{sys.executable} -m logcosh_vae.bench.child"
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))

        def two(name: str, products: str) -> tuple[Contender, Contender]:
            """One of two processes, and both at once."""
            asked = settings | {"products": products}
            first, second = (stack.enter_context(peer(command, asked)) for _ in range(2))

            def both(count: int) -> None:
                for waiting in [pool.submit(one.run, count) for one in (first, second)]:
                    waiting.result()

            return Contender(ONE, first.run), Contender(name, both)

        others = [two(BFLOAT16, "bfloat16")[1]] if takes_bfloat16(torch.device("cpu")) else []
        yield [*two(TWO, "float32"), *others]
