"""Paired comparison of two losses on the same images.

`paired` computes wins, a Wilcoxon signed-rank test and a bootstrap interval of the mean difference; `outcome_sentence`
states the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..base.extras import require

RESAMPLES = 10_000
"""Bootstrap resamples."""
CONFIDENCE = 0.95
MIN_IMAGES = 6
"""With fewer images, the signed-rank test cannot reach p < 0.05."""
NOT_SIGNIFICANT = "not significantly different"


@dataclass(frozen=True)
class Paired:
    """Comparison of two losses on the same images.

    Attributes:
        count: number of images.
        wins, losses: number of images on which the first loss has the larger, or the smaller, value.
        difference: mean of first minus second.
        low, high: bootstrap interval of the mean difference over images, at 95% confidence.
        ranks: sum of the ranks by magnitude of the positive differences, minus that of the negative ones.
        p_value: two-sided Wilcoxon signed-rank test; the null hypothesis is a distribution symmetric about 0.
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
    """Compare the values of two losses on the same images.

    Args:
        first, second: one value per image, the mean over seeds if there are several.

    Raises:
        ValueError: the numbers of values differ or are 0, or a value is not finite.
    """
    require("comparing results in pairs", "scipy")
    from scipy import stats

    if len(first) != len(second) or not first:
        raise ValueError(
            f"both losses need one value for each of the same images; got {len(first)} and {len(second)} values"
        )
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if not np.isfinite(differences).all():
        raise ValueError("a value is not finite, so the losses cannot be compared")
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
    """Return a sentence on the outcome of a comparison.

    The mean shows no significant difference if its interval contains 0, and the ranks if p is at least 0.05. A few
    images can decide the mean but not the ranks, so the sentence has both outcomes if they differ.

    Args:
        name, other: names of the first and second loss.
        measure: name of the metric, of which larger values are better.
        result: the comparison.
    """
    # enough digits to show the end of the interval that is larger in magnitude
    digits = max(4, 1 - math.floor(math.log10(max(abs(result.low), abs(result.high), 1e-9))))
    values = (f"{value:+.{digits}f}" for value in (result.difference, result.low, result.high))
    interval = "{} ({} to {})".format(*values).replace("-", "\N{MINUS SIGN}")
    mean = _verdict(result.difference, significant=not result.low <= 0.0 <= result.high)
    ranks = _verdict(result.ranks, significant=result.p_value < 1 - CONFIDENCE)
    if result.count < MIN_IMAGES:
        verdict = f"too few images to compare {name} with {other}"
    elif mean != ranks:
        verdict = f"{name} compared with {other} is {mean} in the mean but {ranks} by ranks"
    elif mean == NOT_SIGNIFICANT:
        verdict = f"{name} and {other} are {NOT_SIGNIFICANT}"
    else:
        verdict = f"{name} is {mean} than {other}"
    return (
        f"{verdict}: larger {measure} on {result.wins} of {result.count} images, mean difference {interval}, "
        f"Wilcoxon p = {result.p_value:.2g}."
    )


def _verdict(difference: float, *, significant: bool) -> str:
    if not significant:
        return NOT_SIGNIFICANT
    return "better" if difference > 0 else "worse"
