"""Two training runs at once, each a process with one thread, beside one run alone."""

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
    """Yield one run alone, and two runs at once; two runs in bfloat16 too if the processor supports it.

    A turn of two runs ends when both have taken their steps, so a ratio of 1 means that they do not slow each other
    down.

    Args:
        network: `mlp` or `conv`.
        width: factor on the channels of the convolutions.
    """
    settings = {"network": network} | ({} if width is None else {"width": width})
    command = f"{sys.executable} -m logcosh_vae.bench.child"
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))

        def two(name: str, products: str) -> tuple[Contender, Contender]:
            """Start two processes; return the first of them alone, and both at once."""
            options = settings | {"products": products}
            first, second = (stack.enter_context(peer(command, options)) for _ in range(2))

            def both(count: int) -> None:
                for future in [pool.submit(each.run, count) for each in (first, second)]:
                    future.result()

            return Contender(ONE, first.run), Contender(name, both)

        others = [two(BFLOAT16, "bfloat16")[1]] if takes_bfloat16(torch.device("cpu")) else []
        yield [*two(TWO, "float32"), *others]
