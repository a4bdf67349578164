"""Time alternatives against each other on a busy machine.

The alternatives take turns in every round and are compared round by round, so that other load and a changing clock
frequency affect all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.environment import describe
from .records import BenchResults, BenchRow, Spread

ROUNDS = 9
"""Default number of timed turns per contender."""

ROUND_SECONDS = 0.25
"""Default duration of a turn."""


@dataclass(frozen=True)
class Contender:
    """One of the alternatives that are timed against each other.

    Attributes:
        name: name in results and tables.
        run: does the given number of units of work, and returns when they are done.
        unit: the number of units is a multiple of this, for loops that log every few steps.
        close: releases memory and threads; `run` must not be called afterwards.
    """

    name: str
    run: Callable[[int], object]
    unit: int = 1
    close: Callable[[], object] = lambda: None


Times = Mapping[str, Sequence[float]]
"""Seconds per unit of work, one value per round, by contender."""


def _count(contender: Contender, seconds: float, clock: Callable[[], float]) -> int:
    """Return how many units of work take about `seconds`; measuring this also warms the contender up."""
    contender.run(contender.unit)
    count = contender.unit
    while True:
        started = clock()
        contender.run(count)
        taken = clock() - started
        if taken >= 0.3 * seconds:
            wanted = count * seconds / taken
            return max(1, round(wanted / contender.unit)) * contender.unit
        count *= 4


def in_turns(
    contenders: Sequence[Contender],
    *,
    rounds: int = ROUNDS,
    seconds: float = ROUND_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
    after_round: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> dict[str, list[float]]:
    """Time contenders in interleaved rounds, every second round in reverse order.

    Neither a slow drift of the machine nor the order then favours one contender.

    Args:
        contenders: alternatives with different names.
        rounds: number of rounds; every contender has one turn in each.
        seconds: approximate duration of a turn.
        clock: returns the time in seconds.
        after_round: called with the rounds done and the number of rounds.

    Returns:
        Seconds per unit of work, one value per round, by contender.

    Raises:
        ValueError: two contenders have the same name.

    Example:
        >>> times = in_turns([Contender("add", lambda n: [1 + 1 for _ in range(n)])], rounds=2, seconds=0.001)
        >>> len(times["add"])
        2
    """
    counts = {contender.name: _count(contender, seconds, clock) for contender in contenders}
    if len(counts) < len(contenders):
        raise ValueError(f"contenders need different names; got {[c.name for c in contenders]}")
    times: dict[str, list[float]] = {name: [] for name in counts}
    for number in range(rounds):
        for contender in contenders[:: 1 if number % 2 == 0 else -1]:
            started = clock()
            contender.run(counts[contender.name])
            times[contender.name].append((clock() - started) / counts[contender.name])
        after_round(number + 1, rounds)
    return times


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of values; of a single value, that value three times."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(times: Times, name: str, other: str) -> Spread:
    """Return the time of `name` relative to `other`: median and quartiles of the ratio in each round."""
    return spread([a / b for a, b in zip(times[name], times[other], strict=True)])


def row(what: str, times: Times, against: str, **more: Any) -> BenchRow:
    """Return the result of one comparison.

    Args:
        what: description of the work.
        times: what `in_turns` returned.
        against: name of the contender that the others are compared with.
        more: other values to store in the row.
    """
    return BenchRow(
        what,
        against,
        {name: spread(values) for name, values in times.items()},
        {name: ratio(times, name, against) for name in times if name != against},
        more,
    )


def record(name: str, rows: Sequence[BenchRow], *, threads: int, rounds: int, started: float) -> BenchResults:
    """Return the results of a benchmark with the environment and the duration.

    Args:
        name: the experiment is named `bench-NAME`.
        rows: its comparisons.
        threads: threads that torch computed with.
        rounds: timed turns per contender.
        started: reading of `time.perf_counter` at the start.
    """
    seconds = round(time.perf_counter() - started, 1)
    return BenchResults(f"bench-{name}", threads, rounds, tuple(rows), describe(), seconds)
