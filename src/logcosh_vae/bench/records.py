"""Types of benchmark results, as stored in `results/bench-NAME.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.environment import Environment
from ..base.records import SCHEMA_VERSION, free


@dataclass(frozen=True)
class Spread:
    """Median, lower quartile and upper quartile of one value per round."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class BenchRow:
    """One comparison of contenders that do the same work.

    Attributes:
        what: description of the work, shown in reports.
        against: name of the contender that the others are compared with.
        seconds: seconds per unit of work, by contender.
        ratio: time relative to `against`, computed round by round, by contender; `against` itself has no entry.
        more: other values of the row, such as the number of elements.
    """

    what: str
    against: str
    seconds: Mapping[str, Spread]
    ratio: Mapping[str, Spread]
    more: Mapping[str, Any] = free()


@dataclass(frozen=True)
class BenchResults:
    """Results of one benchmark.

    Attributes:
        experiment: `bench-NAME`, the name of the file without its suffix.
        threads: threads that torch computed with.
        rounds: timed turns per contender.
        rows: the comparisons.
        environment: machine, versions and commit.
        seconds: duration of the whole benchmark.
    """

    experiment: str
    threads: int
    rounds: int
    rows: tuple[BenchRow, ...]
    environment: Environment
    seconds: float
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()
