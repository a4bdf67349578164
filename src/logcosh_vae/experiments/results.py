"""Results of experiments, as `results/NAME-PROFILE.json` holds them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..base.environment import Environment
from ..base.errors import RecordError
from ..base.records import SCHEMA_VERSION, free, optional, read_record, renamed, write_record
from ..evaluation.records import EvaluationConfig, FeaturesInfo, FidFloor, RealImages, with_present_names


@dataclass(frozen=True)
class Summary:
    """A number over seeds: mean, sample standard deviation (None for one value), and the values themselves."""

    mean: float
    std: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The summary of one value a seed.

        Example:
            >>> Summary.of([1.0, 3.0])
            Summary(mean=2.0, std=1.4142135623730951, values=(1.0, 3.0))

        Raises:
            RecordError: a value is not finite.
        """
        if not all(math.isfinite(value) for value in values):
            raise RecordError(f"a result is not finite: {', '.join(f'{value:g}' for value in values)}")
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread, tuple(values))


@dataclass(frozen=True)
class RowResult:
    """One row of a table: a model and a loss, trained and measured over seeds.

    Attributes:
        weight: `lambda` of Eq. 8.
        metrics: obtained, by name; reported: the paper's numbers under the same names.
        runs: names of the run folders, one a seed.
        config: of the training, without the seed, as plain values.
        test: every loss on the test split; for autoencoders.
        task, task_title: of restoration.
        pictures: metrics of each measured picture, a list a seed; for restoration.
        validation: metrics of each epoch, a list a seed; for restoration.
    """

    data: str
    model: str
    loss: str
    a: float | None
    weight: float
    seeds: tuple[int, ...]
    metrics: Mapping[str, Summary]
    reported: Mapping[str, float]
    training_seconds: Summary
    runs: tuple[str, ...]
    config: Mapping[str, Any]
    test: Mapping[str, Summary] | None = optional()
    task: str | None = optional()
    task_title: str | None = optional()
    pictures: Mapping[str, tuple[tuple[float, ...], ...]] | None = optional()
    validation: Mapping[str, tuple[tuple[float, ...], ...]] | None = optional()
    more: Mapping[str, Any] = free()


@dataclass(frozen=True)
class RunCounts:
    """Runs of an experiment, and how many of them were there before."""

    total: int
    reused: int


@dataclass(frozen=True)
class SplitCounts:
    """Images of a split that were used; how many the complete set has; how many were held out of training."""

    used: int
    complete: int | None = optional()
    held_out: int | None = renamed("held", is_optional=True)


@dataclass(frozen=True)
class Advice:
    """The loss that the pixels speak for (paper, footnote 1 and appendix B).

    Attributes:
        near_0_or_1: fraction of the pixels that are near 0 or 1.
        loss: the advised one.
        sentence: the same for people.
    """

    near_0_or_1: float
    loss: str
    sentence: str = renamed("words")


@dataclass(frozen=True)
class ExperimentResults:
    """What an experiment obtained.

    Attributes:
        experiment: as in `reproduce NAME`; title: for reports; source: where the reported numbers stand.
        profile: how the experiment was scaled.
        workers: runs at once; seconds: of the whole command.
        features, evaluation, real: how autoencoders were measured, see `RunEvaluation`.
        images: counts by split.
        advice, fid_floor: of autoencoders.
        pictures: names of the measured pictures; corrupted: their metrics before restoration, by task; side: of the
            central square that was measured, None for whole pictures.
    """

    experiment: str
    title: str
    profile: str
    rows: tuple[RowResult, ...]
    environment: Environment
    workers: int
    runs: RunCounts
    seconds: float
    source: str = ""
    features: FeaturesInfo | None = optional()
    evaluation: EvaluationConfig | None = optional()
    real: RealImages | None = optional()
    images: Mapping[str, SplitCounts] | None = optional()
    advice: Advice | None = optional()
    fid_floor: FidFloor | None = renamed("floor", is_optional=True)
    pictures: tuple[str, ...] | None = optional()
    corrupted: Mapping[str, Mapping[str, tuple[float, ...]]] | None = optional()
    side: int | None = optional()
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()

    @property
    def measurement(self) -> tuple[EvaluationConfig, RealImages, FidFloor]:
        """How autoencoders were measured, against which real images, and what these measure themselves.

        Raises:
            RecordError: these are results of something else.
        """
        if self.evaluation is None or self.real is None or self.fid_floor is None:
            raise RecordError(f"{self.experiment} does not say how its runs were measured")
        return self.evaluation, self.real, self.fid_floor

    @staticmethod
    def upgraded(values: dict[str, Any]) -> dict[str, Any]:
        """The JSON of older results in the present layout."""
        if values.get("schema_version", 1) < SCHEMA_VERSION:
            values["rows"] = [_upgraded_row(row) for row in values.get("rows", [])]
            values["schema_version"] = SCHEMA_VERSION
        return values


_FORMER_CONFIG_KEYS = {
    "epsilon": "eps",
    "drops": "lr_milestones",
    "weight": "reconstruction_weight",
    "side": "tile_size",
    "patch": "crop_size",
    "check_images": "val_images",
}


def _upgraded_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _FORMER_CONFIG_KEYS.get(key, key): _upgraded_config(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
    }


def _upgraded_row(row: Mapping[str, Any]) -> dict[str, Any]:
    upgraded = {**row, "config": _upgraded_config(row.get("config", {}))}
    if "test" in row:
        upgraded["test"] = with_present_names(row["test"])
    return upgraded


@dataclass(frozen=True)
class StudyResults:
    """Results of a study or a benchmark script whose rows have a layout of their own.

    Attributes:
        experiment: name of the file without its suffix.
        rows: as the script wrote them.
        seconds: of the whole command, where it was timed.
        profile: how the study was scaled, where it has profiles.
    """

    experiment: str
    rows: tuple[Mapping[str, Any], ...]
    environment: Environment
    seconds: float | None = optional()
    profile: str | None = optional()
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()


def read_results(path: Path) -> ExperimentResults:
    """Read results of this or an older version.

    Raises:
        RecordError, DamagedJsonError: the file does not hold results; the message names it.
    """
    return read_record(ExperimentResults, path)


def write_results(results: ExperimentResults | StudyResults, path: Path) -> None:
    """Write results as JSON in one step; `RecordError` where a number is not finite."""
    write_record(results, path)
