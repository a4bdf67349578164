"""Things timed against each other on a machine that is never quiet: in turns, compared round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.environment import describe
from .records import BenchResults, BenchRow, Spread

ROUNDS = 9
ROUND_SECONDS = 0.25


@dataclass(frozen=True)
class Contender:
    """A way to do a piece of work.

    Attributes:
        name: for people.
        run: does the work so many times, and returns when it is done.
        unit: work is done in multiples of this, for loops that do something every so many steps.
        close: lets go of what it holds; it does no work after that.
    """

    name: str
    run: Callable[[int], object]
    unit: int = 1
    close: Callable[[], object] = lambda: None


Times = Mapping[str, Sequence[float]]
"""Seconds for the work done once, one value a round, by contender."""


def _count(contender: Contender, seconds: float, clock: Callable[[], float]) -> int:
    """How often the work is done in about so many seconds; this is the warming up, too."""
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
    """Time contenders in turns, every second round in reverse, so that neither drift nor order favours one.

    Args:
        contenders: with names of their own.
        rounds: in each, everyone has one turn.
        seconds: of a turn, about.
        clock: in seconds.
        after_round: called with the rounds done and all of them.

    Returns:
        See `Times`.

    Example:
        >>> times = in_turns([Contender("add", lambda n: [1 + 1 for _ in range(n)])], rounds=2, seconds=0.001)
        >>> len(times["add"])
        2
    """
    counts = {contender.name: _count(contender, seconds, clock) for contender in contenders}
    if len(counts) < len(contenders):
        raise ValueError(f"contenders need names of their own; got {[c.name for c in contenders]}")
    times: dict[str, list[float]] = {name: [] for name in counts}
    for number in range(rounds):
        for contender in contenders[:: 1 if number % 2 == 0 else -1]:
            started = clock()
            contender.run(counts[contender.name])
            times[contender.name].append((clock() - started) / counts[contender.name])
        after_round(number + 1, rounds)
    return times


def spread(values: Sequence[float]) -> Spread:
    """Median, and the quartiles around it."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(times: Times, name: str, other: str) -> Spread:
    """How many times as long `name` takes as `other`, round by round."""
    return spread([a / b for a, b in zip(times[name], times[other], strict=True)])


def row(what: str, times: Times, against: str, **more: Any) -> BenchRow:
    """The result of one comparison."""
    return BenchRow(
        what,
        against,
        {name: spread(values) for name, values in times.items()},
        {name: ratio(times, name, against) for name in times if name != against},
        more,
    )


def record(name: str, rows: Sequence[BenchRow], *, threads: int, rounds: int, started: float) -> BenchResults:
    """The results of a benchmark; `started` is a reading of `time.perf_counter`."""
    seconds = round(time.perf_counter() - started, 1)
    return BenchResults(f"bench-{name}", threads, rounds, tuple(rows), describe(), seconds)
