"""The benchmarks by name, as `logcosh-vae bench NAME` runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..paper.profiles import LAPTOP_WIDTH
from ..training.session import on_threads
from . import batches, loss, measuring, side_by_side, startup, step
from .peer import peer
from .records import BenchResults
from .timing import ROUNDS, Contender, in_turns, record, row

Contenders = list[Contender]


@dataclass(frozen=True)
class Comparison:
    """One row of a benchmark.

    Attributes:
        what: description of the work, shown in reports.
        contenders: creates the contenders; called only when the row is measured, to save memory.
        against: name of the contender that the others are compared with.
        seconds: approximate duration of a turn.
        more: other values to store in the row.
        peer: options for another program to time in the same rounds (`peer`); None if the row does not support one.
    """

    what: str
    contenders: Callable[[], Contenders | AbstractContextManager[Contenders]]
    against: str
    seconds: float = 0.25
    more: Mapping[str, Any] = field(default_factory=dict)
    peer: Mapping[str, Any] | None = None


LOSS_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)
MLP = "VAE (MLP), batch 100"
CONV = f"VAE (Conv, width {LAPTOP_WIDTH:g}), batch 100"

SUITE: dict[str, tuple[Comparison, ...]] = {
    "step": (
        Comparison(MLP, lambda: step.contenders("mlp"), step.LIMIT, 1.5, peer={"network": "mlp"}),
        Comparison(
            CONV,
            lambda: step.contenders("conv", LAPTOP_WIDTH),
            step.LIMIT,
            6.0,
            peer={"network": "conv", "width": LAPTOP_WIDTH},
        ),
    ),
    "loss": tuple(
        Comparison(f"{size:,} elements", lambda size=size: loss.contenders(size), loss.MSE, more={"elements": size})  # type: ignore[misc]
        for size in LOSS_SIZES
    ),
    "data": (
        Comparison("100 of 28x28, grey", lambda: batches.contenders(1, 28), batches.LIMIT),
        Comparison("100 of 64x64, colour", lambda: batches.contenders(3, 64), batches.LIMIT, 0.5),
    ),
    "evaluation": (
        Comparison(
            "sharpness and FID of 10,000 samples, VAE (MLP)", measuring.evaluation_contenders, measuring.LIMIT, 0.5
        ),
        Comparison("text removed from a megapixel", measuring.restoration_contenders, measuring.LIMIT, 0.5),
    ),
    "side-by-side": (
        Comparison(MLP, lambda: side_by_side.contenders("mlp"), side_by_side.ONE, 2.0),
        Comparison(CONV, lambda: side_by_side.contenders("conv", LAPTOP_WIDTH), side_by_side.ONE, 6.0),
    ),
    "start-up": (Comparison("until it has begun and ended", startup.contenders, startup.TORCH, 2.0),),
}
"""The rows of each benchmark, by the name that `logcosh-vae bench NAME` takes."""


def run(
    name: str,
    *,
    threads: int = 1,
    rounds: int = ROUNDS,
    other: str | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,  # noqa: ARG005
) -> BenchResults:
    """Run one benchmark.

    Args:
        name: a key of `SUITE`.
        threads: threads that torch computes with.
        rounds: timed turns per contender.
        other: command line of another program to time in the same rounds; ignored by rows that do not support one.
        progress: called after every round with the row's description, the rounds done and the number of rounds.

    Returns:
        The content of `results/bench-NAME.json` or, with several threads, of `bench-NAME-T-threads.json`.

    Raises:
        PeerError: the other program failed.
    """
    started = time.perf_counter()
    rows = []
    for comparison in SUITE[name]:

        def after(done: int, total: int, what: str = comparison.what) -> None:
            progress(what, done, total)

        with on_threads(threads), ExitStack() as stack:
            made = comparison.contenders()
            contenders = stack.enter_context(nullcontext(made) if isinstance(made, list) else made)
            if other is not None and comparison.peer is not None:
                contenders = [*contenders, stack.enter_context(peer(other, {**comparison.peer, "threads": threads}))]
            times = in_turns(contenders, rounds=rounds, seconds=comparison.seconds, after_round=after)
        rows.append(row(comparison.what, times, comparison.against, **comparison.more))
    suffix = "" if threads == 1 else f"-{threads}-threads"
    return record(name + suffix, rows, threads=threads, rounds=rounds, started=started)
