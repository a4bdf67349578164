"""Restoration experiments: several tasks and losses, trained alike and evaluated on the same whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ..base.errors import DataError
from ..base.settings import to_dict
from ..data import ImageSet, text_removal
from ..experiments.experiment import Experiment, Outcomes, PrepareCallbacks
from ..experiments.results import ExperimentResults, RowResult, SplitCounts, Summary
from .config import RestorationConfig, resolve_restoration
from .corruptions import CORRUPTIONS
from .evaluation import RestorationJob, RestorationMeasures, check_test_images
from .picture_files import find_pictures
from .training import check_restoration_memory, load_splits, run_name

URBAN100_COUNT = 100
"""Number of images in Urban100, the test set of the paper."""


@dataclass(frozen=True)
class RestorationExperiment(Experiment[RestorationJob]):
    """Rows of tasks and losses, trained alike and evaluated on the same images.

    Attributes:
        name, title, profile, rows, source: see `Experiment`.
        center_crop: evaluate only the central square of this size in pixels, for quick checks.
        test: folder of the test images; by default the paper's.
    """

    name: str
    title: str
    profile: str
    rows: tuple[RestorationConfig, ...]
    source: str = ""
    center_crop: int | None = None
    test: Path | None = None

    def models(self) -> list[str]:
        """Return the model name of each task, such as `restoration-text`."""
        return list(dict.fromkeys(f"restoration-{row.task}" for row in self.rows))

    def configs(self) -> list[RestorationConfig]:
        """Return the resolved config of each row."""
        return [resolve_restoration(row) for row in self.rows]

    def only(self, models: Sequence[str]) -> Self:
        """Return the experiment with the rows of these models only."""
        return replace(self, rows=tuple(row for row in self.rows if f"restoration-{row.task}" in models))

    def on_device(self, device: str) -> Self:
        """Return the experiment with all runs on `device`."""
        return replace(self, rows=tuple(replace(row, device=device) for row in self.rows))

    def prepare(self, runs_folder: Path, root: Path, callbacks: PrepareCallbacks) -> Self:  # noqa: ARG002
        """Check the test images, and cut the training images into tiles."""
        for config in self.configs():
            check_restoration_memory(config)
        check_test_images(self._test_folder(root))
        for row in {(row.data, row.tile_size): row for row in self.rows}.values():
            train, _ = load_splits(row, root, callbacks.on_images)
            if train.complaint is not None:
                callbacks.on_message(train.complaint)
        return self

    def _test_folder(self, root: Path) -> Path:
        folder = text_removal("test", root) if self.test is None else self.test
        if not list(find_pictures([folder])):
            raise DataError(f"{folder} holds no test images; name a folder of pictures")
        return folder

    def plan(self, seeds: Sequence[int], runs_folder: Path, root: Path) -> list[list[RestorationJob]]:
        """Return the jobs of each row, one per seed."""
        test = self._test_folder(root)
        plans = []
        images: dict[tuple[str, int], tuple[ImageSet, ImageSet]] = {}
        for row in self.rows:
            key = (row.data, row.tile_size)
            if key not in images:
                images[key] = load_splits(row, root, None)
            configs = [resolve_restoration(replace(row, seed=seed)) for seed in seeds]
            paths = [runs_folder / run_name(config, *images[key]) for config in configs]
            plans.append(
                [RestorationJob(*pair, root, test, self.center_crop) for pair in zip(configs, paths, strict=True)]
            )
        return plans

    def add_results(
        self,
        results: ExperimentResults,
        plan: Sequence[Sequence[RestorationJob]],
        outcomes: Outcomes,
        root: Path,
    ) -> ExperimentResults:
        """Return the results with the metrics of every image, and those of the corrupted images."""
        first: list[RestorationMeasures] = [outcomes[jobs[0].path] for jobs in plan]
        train, held_out = load_splits(plan[0][0].config, root, None)
        return replace(
            results,
            rows=tuple(_row_result(jobs, outcomes) for jobs in plan),
            pictures=first[0].images,
            corrupted={
                jobs[0].config.task: {"ssim": outcome.corrupted_ssim, "psnr": outcome.corrupted_psnr}
                for jobs, outcome in zip(plan, first, strict=True)
            },
            images={
                "train": SplitCounts(len(train.images), held_out=len(held_out.images)),
                "test": SplitCounts(len(first[0].images), URBAN100_COUNT if self.test is None else None),
            },
            side=self.center_crop,
        )


def _row_result(jobs: Sequence[RestorationJob], outcomes: Outcomes) -> RowResult:
    config = jobs[0].config
    runs: list[RestorationMeasures] = [outcomes[job.path] for job in jobs]
    values = {"ssim": [run.ssim for run in runs], "psnr": [run.psnr for run in runs]}
    return RowResult(
        data=config.data,
        model="restoration",
        loss=config.loss,
        a=config.a,
        weight=1.0,
        seeds=tuple(job.config.seed for job in jobs),
        metrics={name: Summary.of([sum(run) / len(run) for run in each]) for name, each in values.items()},
        reported={},
        training_seconds=Summary.of([run.training_seconds for run in runs]),
        runs=tuple(job.path.name for job in jobs),
        config={key: value for key, value in to_dict(config).items() if key != "seed"},
        task=config.task,
        task_title=CORRUPTIONS[config.task].title,
        pictures={name: tuple(each) for name, each in values.items()},
        validation={name: tuple(tuple(epoch[name] for epoch in run.validation) for run in runs) for name in values},
    )
