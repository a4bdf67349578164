"""Typed results of experiments, as stored in `results/NAME-PROFILE.json`.

`read_results` and `write_results` read and write `ExperimentResults`; older layouts are converted when they are read.
"""

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
from ..evaluation.records import EvaluationConfig, FeaturesInfo, FidFloor, RealImages, with_current_names


@dataclass(frozen=True)
class Summary:
    """A number over seeds.

    Attributes:
        mean: mean of the values.
        std: sample standard deviation; None for a single value.
        values: one value per seed.
    """

    mean: float
    std: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise one value per seed.

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
    """One row of a table: a model and a loss, trained and evaluated over seeds.

    Attributes:
        data: name of the data set.
        model: name of the model.
        loss: name of the reconstruction loss.
        a: parameter of log-cosh; None for other losses.
        weight: weight of the reconstruction loss, `lambda` of Eq. 8.
        seeds: the seeds.
        metrics: obtained values by name of the metric.
        reported: the paper's values by name of the metric.
        training_seconds: time of the training steps, in seconds.
        runs: names of the run folders, one per seed.
        config: configuration of the training, without the seed, as JSON values.
        test: losses on the test split by name; autoencoders only.
        density: numbers of `DensityStatistics` by name; autoencoders only.
        task: name of the task; restoration only.
        task_title: name of the task in tables; restoration only.
        pictures: values of each metric per seed and test image; restoration only.
        validation: values of each metric per seed and epoch on held-out tiles; restoration only.
        more: keys of the file that have no attribute.
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
    density: Mapping[str, Summary] | None = optional()
    task: str | None = optional()
    task_title: str | None = optional()
    pictures: Mapping[str, tuple[tuple[float, ...], ...]] | None = optional()
    validation: Mapping[str, tuple[tuple[float, ...], ...]] | None = optional()
    more: Mapping[str, Any] = free()

    def run_in(self, folder: Path) -> Path:
        """Return the folder of the first seed's run, or of the first that `folder` has.

        Runs of earlier commands may be on another machine.
        """
        paths = [folder / name for name in self.runs]
        return next(filter(Path.is_dir, paths), paths[0])

    @property
    def likelihood(self) -> str | None:
        """What was learned of the likelihood, `scale` or `scale+shape`; None for a fixed loss."""
        learned: str | None = self.config.get("objective", self.config).get("likelihood")
        return learned


@dataclass(frozen=True)
class RunCounts:
    """Numbers of runs.

    Attributes:
        total: runs of the experiment.
        reused: those that were finished before the command started.
    """

    total: int
    reused: int


@dataclass(frozen=True)
class Session:
    """What one command added to results that were extended by further seeds.

    Attributes:
        seeds: its seeds.
        environment: machine and software.
        workers: number of runs at the same time.
        runs: numbers of its runs.
        seconds: wall time of the command, in seconds.
    """

    seeds: tuple[int, ...]
    environment: Environment
    workers: int
    runs: RunCounts
    seconds: float


@dataclass(frozen=True)
class SplitCounts:
    """Numbers of images of a split.

    Attributes:
        used: images that were used.
        complete: images of the complete data set, if it is known.
        held_out: images held out of the training split for validation.
    """

    used: int
    complete: int | None = optional()
    held_out: int | None = renamed("held", is_optional=True)


@dataclass(frozen=True)
class Advice:
    """The loss that the paper advises for a data set (footnote 1, appendix B).

    Attributes:
        near_0_or_1: fraction of the pixel values that are near 0 or 1.
        loss: name of the advised loss.
        sentence: the advice as a sentence.
    """

    near_0_or_1: float
    loss: str
    sentence: str = renamed("words")


@dataclass(frozen=True)
class ExperimentResults:
    """The results of an experiment.

    Attributes:
        experiment: name, as in `reproduce NAME`.
        title: for reports.
        profile: name of the profile that scaled the experiment.
        rows: one per model and loss, or per task and loss.
        environment: machine and software.
        workers: number of runs at the same time.
        runs: numbers of runs.
        seconds: wall time of the whole command, in seconds.
        source: where the reported numbers are found.
        features: features of the FID, see `RunEvaluation`; autoencoders only, like the next five.
        evaluation: settings of the evaluation.
        real: the real images of the evaluation.
        images: numbers of images by split; also for restoration.
        advice: the loss that the paper advises for the data set.
        fid_floor: metrics of real images.
        pictures: names of the test images; restoration only, like the next two.
        corrupted: values of each metric per corrupted test image, by task and metric.
        side: size in pixels of the central square that was evaluated; None for whole images.
        sessions: the commands that added the seeds, in this order; None if one command trained all. `environment`
            and `workers` are those of the last, `runs` and `seconds` are sums.
        schema_version: version of this layout.
        more: keys of the file that have no attribute.
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
    sessions: tuple[Session, ...] | None = optional()
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()

    @property
    def measurement(self) -> tuple[EvaluationConfig, RealImages, FidFloor]:
        """Settings, real images and FID floor of an experiment with autoencoders.

        Raises:
            RecordError: one of them is missing, as in results of restoration.
        """
        if self.evaluation is None or self.real is None or self.fid_floor is None:
            raise RecordError(f"the results of {self.experiment} lack 'evaluation', 'real' or 'fid_floor'")
        return self.evaluation, self.real, self.fid_floor

    @staticmethod
    def upgraded(values: dict[str, Any]) -> dict[str, Any]:
        """Convert the JSON of an older version to the current layout."""
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
    """Rename the keys of a config of version 1, at any depth."""
    return {
        _FORMER_CONFIG_KEYS.get(key, key): _upgraded_config(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
    }


def _upgraded_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a row of version 1 to the current layout."""
    upgraded = {**row, "config": _upgraded_config(row.get("config", {}))}
    if "test" in row:
        upgraded["test"] = with_current_names(row["test"])
    return upgraded


@dataclass(frozen=True)
class StudyResults:
    """Results of a study or a benchmark script that defines the layout of its rows itself.

    Attributes:
        experiment: name of the file without suffix.
        rows: as written by the script.
        environment: machine and software.
        seconds: wall time of the whole command in seconds, if it was measured.
        profile: name of the profile, if the study has profiles.
        schema_version: version of this layout.
        more: keys of the file that have no attribute.
    """

    experiment: str
    rows: tuple[Mapping[str, Any], ...]
    environment: Environment
    seconds: float | None = optional()
    profile: str | None = optional()
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()


def read_results(path: Path) -> ExperimentResults:
    """Read results of the current or an older version.

    Raises:
        RecordError: a key is missing, unknown or of the wrong type; the message names file and key.
        DamagedJsonError: the file is not JSON; the message names it.
    """
    return read_record(ExperimentResults, path)


def write_results(results: ExperimentResults | StudyResults, path: Path) -> None:
    """Write results as JSON; the file is replaced atomically.

    Raises:
        RecordError: a number is not finite.
    """
    write_record(results, path)
