"""Results of benchmarks, as `results/bench-NAME.json` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.environment import Environment
from ..base.records import SCHEMA_VERSION, free


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of one value a round."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class BenchRow:
    """One comparison: seconds of each contender, and how many times as long as the one named `against` it takes.

    Attributes:
        what: for people.
        seconds: of one unit of work, by contender.
        ratio: round by round, by contender; the one named `against` has none.
    """

    what: str
    against: str
    seconds: Mapping[str, Spread]
    ratio: Mapping[str, Spread]
    more: Mapping[str, Any] = free()


@dataclass(frozen=True)
class BenchResults:
    """A benchmark: its comparisons, the threads torch computed on, and the turns each contender had."""

    experiment: str
    threads: int
    rounds: int
    rows: tuple[BenchRow, ...]
    environment: Environment
    seconds: float
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()
