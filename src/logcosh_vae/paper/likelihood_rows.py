"""The rows of a study of learned likelihoods, sorted by what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from ..experiments.results import ExperimentResults, RowResult, Summary
from ..reporting.labels import learned_text

SELECTION = "validation_fid_mixture"
"""Metric by which the best setting of a grid is chosen."""

FID = "fid_mixture"
"""Metric by which settings are compared: samples from a mixture that is fitted to the codes."""


def _objective(row: RowResult, key: str) -> Any:
    return row.config["objective"].get(key)


def learned_part(row: RowResult) -> str | None:
    """Return what a row learns of its likelihood: `scale` or `scale+shape`; None if it learns nothing."""
    learned: str | None = _objective(row, "likelihood")
    return learned


def is_learned(row: RowResult) -> bool:
    """Return whether a row learns its likelihood."""
    return learned_part(row) is not None


def has_options(row: RowResult) -> bool:
    """Return whether a row has a warm-up of the KL divergence or free bits."""
    return (_objective(row, "warmup"), _objective(row, "free_bits")) != (None, None)


def setting_text(row: RowResult) -> str:
    """Return what is set or learned in a row: `a = 100, weight 5`, or `learned scale and shape, warm-up`."""
    learned = learned_part(row)
    if learned is None:
        a = "" if row.a is None else f"a = {row.a:g}, "
        return f"{a}weight {row.weight:g}"
    text = learned_text(learned)
    if _objective(row, "warmup") is not None:
        text += f", warm-up of {_objective(row, 'warmup'):g} epochs"
    if _objective(row, "free_bits") is not None:
        text += f", {_objective(row, 'free_bits'):g} free nats per variable"
    return text


def number(row: RowResult, name: str) -> Summary | None:
    """Return a number of a row by name, wherever it is kept; None if it was not measured."""
    for numbers in (row.metrics, row.test or {}, row.density or {}):
        if name in numbers:
            return numbers[name]
    return None


def chosen(rows: Sequence[RowResult]) -> RowResult | None:
    """Return the row of a grid with the smallest validation FID; None if there was no validation."""
    candidates = [(value.mean, index) for index, row in enumerate(rows) if (value := row.metrics.get(SELECTION))]
    return rows[min(candidates)[1]] if candidates else None


@dataclass(frozen=True)
class StudyRows:
    """The rows of a study by what they are.

    Attributes:
        grids: the rows with settings made by hand, by loss.
        scale: the rows with a learned scale, by loss.
        shape: log-cosh with learned scale and shape.
        options: rows like `shape` with an option of the KL divergence.
        paper: log-cosh with the paper's `a` and the weight 1.
    """

    grids: dict[str, list[RowResult]]
    scale: dict[str, RowResult]
    shape: RowResult
    options: list[RowResult]
    paper: RowResult

    @classmethod
    def of(cls, results: ExperimentResults) -> Self | None:
        """Sort the rows of a study; None if its results are incomplete."""
        grids: dict[str, list[RowResult]] = {}
        for row in results.rows:
            if not is_learned(row):
                grids.setdefault(row.loss, []).append(row)
        plain = [row for row in results.rows if is_learned(row) and not has_options(row)]
        shape = [row for row in plain if learned_part(row) == "scale+shape"]
        paper = [row for row in grids.get("log-cosh", []) if (row.a, row.weight) == (100.0, 1.0)]
        if not shape or not paper:
            return None
        options = [row for row in results.rows if has_options(row)]
        scale = {row.loss: row for row in plain if learned_part(row) == "scale"}
        return cls(grids, scale, shape[0], options, paper[0])


def interpolated(rows: Sequence[RowResult], kl: float, seed: int) -> float | None:
    """Return the FID of one seed of a grid at a KL divergence.

    Its logarithm is interpolated between the weights whose divergences are next to `kl`.

    Args:
        rows: rows of a grid that differ in their weight.
        kl: KL divergence on test images, in nats.
        seed: which value of each row to use.

    Returns:
        The FID; None if `kl` is outside the grid.
    """
    points = sorted(
        (divergence.values[seed], math.log(row.metrics[FID].values[seed]))
        for row in rows
        if (divergence := number(row, "kl")) is not None and FID in row.metrics
    )
    for (low, first), (high, last) in pairwise(points):
        if low <= kl <= high and low < high:
            return math.exp(first + (last - first) * (kl - low) / (high - low))
    return None
