"""Two losses compared picture by picture: wins, a paired test and an interval for the mean difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..base.extras import require

RESAMPLES = 10_000
CONFIDENCE = 0.95
LEAST = 6
"""Pictures: the signed ranks of fewer cannot have a p below 0.05, whatever they are."""


@dataclass(frozen=True)
class Paired:
    """One loss against another on the same pictures.

    Attributes:
        count: of the pictures; wins, losses: on how many the first has the larger, the smaller value.
        difference: mean of first minus second; low, high: bootstrap interval of 95% for it, over pictures.
        ranks: those of the positive differences by size, added up, less those of the negative ones.
        p_value: two-sided Wilcoxon signed-rank test that the differences are symmetric about 0.
    """

    count: int
    wins: int
    losses: int
    difference: float
    low: float
    high: float
    ranks: float
    p_value: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare values of the same pictures, each the mean over seeds where there are several.

    Raises:
        ValueError: the numbers of pictures differ, there are none, or a value is not finite.
    """
    require("comparing results in pairs", "scipy")
    from scipy import stats

    if len(first) != len(second) or not first:
        raise ValueError(f"both need values of the same pictures; got {len(first)} and {len(second)}")
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if not np.isfinite(differences).all():
        raise ValueError("a value of a picture is not finite")
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (RESAMPLES, len(differences))).mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p_value = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return Paired(
        len(differences),
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        float(differences.mean()),
        float(low),
        float(high),
        float((np.sign(differences) * stats.rankdata(np.abs(differences))).sum()),
        p_value,
    )


def outcome_sentence(name: str, other: str, measure: str, result: Paired) -> str:
    """A sentence on the outcome, computed from the numbers.

    Level in the mean where the interval holds 0, and by ranks where the test's p is at least 0.05. A few pictures can
    decide the mean and not the ranks, so where these differ both are said.
    """
    # as many digits as the largest end needs to be seen
    digits = max(4, 1 - math.floor(math.log10(max(abs(result.low), abs(result.high), 1e-9))))
    values = (f"{value:+.{digits}f}" for value in (result.difference, result.low, result.high))
    interval = "{} ({} to {})".format(*values).replace("-", "\N{MINUS SIGN}")
    mean = _verdict(result.difference, certain=not result.low <= 0.0 <= result.high)
    ranks = _verdict(result.ranks, certain=result.p_value < 1 - CONFIDENCE)
    if result.count < LEAST:
        verdict = f"too few pictures to tell {name} from {other}"
    elif mean == ranks:
        verdict = f"{name} and {other} are level" if mean == "level" else f"{name} is {mean} than {other}"
    else:
        verdict = f"{name} against {other} is {mean} in the mean and {ranks} by ranks"
    return (
        f"{verdict}: larger {measure} on {result.wins} of {result.count} pictures, mean difference {interval}, "
        f"Wilcoxon p = {result.p_value:.2g}."
    )


def _verdict(difference: float, *, certain: bool) -> str:
    if not certain:
        return "level"
    return "better" if difference > 0 else "worse"
