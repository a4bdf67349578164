"""The benchmarks by name, as `logcosh-vae bench NAME` runs them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..environment import describe
from ..paper.tables import LAPTOP_WIDTH
from ..running import on_threads
from . import loss, startup, step
from .timing import ROUNDS, Contender, in_turns, row


@dataclass(frozen=True)
class Comparison:
    """One row of a benchmark.

    Attributes:
        what: for people.
        contenders: makes those that are timed in turns; not before the row's turn, for the memory.
        against: whom the others are compared with.
        seconds: of a turn.
        more: what else the row says.
    """

    what: str
    contenders: Callable[[], list[Contender]]
    against: str
    seconds: float = 0.25
    more: tuple[tuple[str, Any], ...] = ()


LOSS_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)

SUITE: dict[str, tuple[Comparison, ...]] = {
    "step": (
        Comparison("VAE (MLP), batch 100", lambda: step.contenders("mlp"), step.LIMIT, 1.5),
        Comparison(
            f"VAE (Conv, width {LAPTOP_WIDTH:g}), batch 100",
            lambda: step.contenders("conv", LAPTOP_WIDTH),
            step.LIMIT,
            6.0,
        ),
    ),
    "loss": tuple(
        Comparison(f"{size:,} elements", lambda size=size: loss.contenders(size), loss.MSE, more=(("elements", size),))  # type: ignore[misc]
        for size in LOSS_SIZES
    ),
    "start-up": (Comparison("until it has begun and ended", startup.contenders, startup.TORCH, 2.0),),
}
"""By the name used in `logcosh-vae bench`."""


def run(
    name: str,
    *,
    threads: int = 1,
    rounds: int = ROUNDS,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,  # noqa: ARG005
) -> dict[str, Any]:
    """Measure one benchmark; the result is what `results/bench-NAME.json` holds.

    Args:
        name: a key of `SUITE`.
        threads: that torch computes on.
        rounds: turns of each contender.
        progress: called with a row's name, the rounds done in it and all of them.
    """
    started = time.perf_counter()
    rows = []
    with on_threads(threads):
        for comparison in SUITE[name]:

            def after(done: int, total: int, what: str = comparison.what) -> None:
                progress(what, done, total)

            times = in_turns(comparison.contenders(), rounds=rounds, seconds=comparison.seconds, after_round=after)
            rows.append(row(comparison.what, times, comparison.against, **dict(comparison.more)))
    return {
        "experiment": f"bench-{name}",
        "threads": threads,
        "rounds": rounds,
        "rows": rows,
        "environment": describe(),
        "seconds": round(time.perf_counter() - started, 1),
    }
