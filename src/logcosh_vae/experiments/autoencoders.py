"""Auto-encoders as an experiment: rows of models and losses, trained, and measured in sharpness and FID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..base.errors import DamagedJsonError, RecordError
from ..base.records import read_record
from ..base.settings import to_dict
from ..base.versions import EVALUATION
from ..data import DATASETS, official_count
from ..data.describe import summarise
from ..evaluation.evaluate import evaluate, fid_floor
from ..evaluation.feature_training import ensure_features, feature_config
from ..evaluation.features import load_extractor
from ..evaluation.records import EvaluationConfig, RunEvaluation
from ..models.networks import ImageShape
from ..training.autoencoder import config_of, fingerprints, run_name, split, train
from ..training.builders import build_model
from ..training.config import DataConfig, ModelConfig, TrainConfig, required, resolve
from ..training.run_folder import RunFolder
from .experiment import Experiment, Outcomes, Preparing
from .results import Advice, ExperimentResults, RowResult, SplitCounts, Summary
from .scheduler import Job


@dataclass(frozen=True)
class Row:
    """One model and loss of a table.

    Attributes:
        config: without its seed.
        reported: the paper's numbers by metric, empty where it gives none.
    """

    config: TrainConfig
    reported: Mapping[str, float] = field(default_factory=dict)


def count_flops(config: TrainConfig, image_shape: ImageShape) -> int:
    """Floating point operations of the products and convolutions of one image's way through the config's model."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        build_model(config, image_shape)(torch.zeros(1, *image_shape), torch.Generator())
    return int(counter.get_total_flops())


@cache
def _shape(data: DataConfig, root: Path | None) -> tuple[int, ImageShape]:
    count, channels, height, width = split(TrainConfig(data), "train", root).images.shape
    return count, (channels, height, width)


@cache
def _of_one_image(model: ModelConfig, image_shape: ImageShape) -> int:
    return count_flops(TrainConfig(model=model), image_shape)


@dataclass(frozen=True)
class AutoencoderJob(Job):
    """A row with a seed."""

    config: TrainConfig
    path: Path
    evaluation: EvaluationConfig
    root: Path | None

    @property
    def label(self) -> str:
        """Model, loss and seed."""
        return f"{self.config.model_name} {self.config.objective.loss} seed {self.config.seed}"

    def cost(self) -> float:
        """Operations of one image's way, times images and epochs."""
        count, image_shape = _shape(self.config.data, self.root)
        return float(_of_one_image(self.config.model, image_shape) * count * required(self.config.epochs, "epochs"))

    def cached_result(self) -> RunEvaluation | None:
        """The evaluation if this version made it with these features and settings, else None.

        That it is of these images follows from the folder's name.
        """
        path = self.path / "evaluation.json"
        if not path.is_file() or not RunFolder(self.path).is_finished(required(self.config.epochs, "epochs")):
            return None
        try:
            result = read_record(RunEvaluation, path)
        except (RecordError, DamagedJsonError):
            return None  # it is measured anew
        if result.evaluation != self.evaluation or result.version != EVALUATION:
            return None
        _, image_shape = config_of(RunFolder(self.path))
        extractor = load_extractor(self.config.data.name, image_shape, self.root, self.evaluation.features)
        features = extractor.describe() if extractor is not None else None
        return result if result.features == features else None

    def run(self) -> RunEvaluation:
        """Train and evaluate."""
        train(self.config, self.path, resume=True, root=self.root)
        result = self.cached_result()
        return evaluate(self.path, self.evaluation, root=self.root) if result is None else result


def _row_result(jobs: Sequence[AutoencoderJob], outcomes: Outcomes, row: Row) -> RowResult:
    config = jobs[0].config
    runs: list[RunEvaluation] = [outcomes[job.path] for job in jobs]
    return RowResult(
        data=config.data.name,
        model=config.model_name,
        loss=config.objective.loss,
        a=config.objective.a,
        weight=required(config.objective.reconstruction_weight, "objective.reconstruction_weight"),
        seeds=tuple(job.config.seed for job in jobs),
        metrics={name: Summary.of([run.metrics[name] for run in runs]) for name in runs[0].metrics},
        reported=dict(row.reported),
        training_seconds=Summary.of([run.training_seconds for run in runs]),
        runs=tuple(job.path.name for job in jobs),
        config={key: value for key, value in to_dict(config).items() if key != "seed"},
        test={name: Summary.of([run.test[name] for run in runs]) for name in runs[0].test},
    )


def _images(config: TrainConfig, root: Path | None) -> dict[str, SplitCounts]:
    """How many images of each split were used, and how many the complete set has where that is known."""
    return {
        name: SplitCounts(len(split(config, name, root).images), official_count(config.data.name, name))
        for name in ("train", "test")
    }


def _advice(config: TrainConfig, root: Path | None) -> Advice:
    """The loss that the test images' pixels speak for (paper, footnote 1 and appendix B)."""
    summary = summarise(split(config, "test", root))
    return Advice(summary.near_0_or_1, summary.advised_loss, summary.advice)


@dataclass(frozen=True)
class AutoencoderExperiment(Experiment[AutoencoderJob]):
    """Models and losses, trained and measured alike.

    Attributes:
        evaluation: how runs are measured.
        features: changes of the feature classifiers' training, for checks that need no good ones.
    """

    name: str
    title: str
    profile: str
    rows: tuple[Row, ...]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    source: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)

    def models(self) -> list[str]:
        """Names such as `vae-mlp`."""
        return list(dict.fromkeys(row.config.model_name for row in self.rows))

    def only(self, models: Sequence[str]) -> Self:
        """The rows of these models."""
        return replace(self, rows=tuple(row for row in self.rows if row.config.model_name in models))

    def on_device(self, device: str) -> Self:
        """The experiment with every run on `device`."""
        return replace(self, rows=tuple(replace(row, config=replace(row.config, device=device)) for row in self.rows))

    def prepare(self, store: Path, root: Path, preparing: Preparing) -> Self:
        """Fetch and prepare images, and train missing features.

        Features that are only good for a check are kept beside the runs, so that nothing else is measured in them.
        """
        target = store / "features" if self.features else None
        for data in dict.fromkeys(resolve(row.config).data for row in self.rows):
            images = [split(TrainConfig(data), name, root, progress=preparing.images) for name in ("train", "test")]
            if images[0].complaint is not None:
                preparing.note(images[0].complaint)
            if data.name in DATASETS:
                channels, height, width = images[0].images.shape[1:]
                features = feature_config(data.name, size=data.size, **self.features)
                shape = (channels, height, width)
                ensure_features(
                    features, shape, store, target, root=root, callbacks=lambda config: preparing.training(config.data)
                )
        return replace(self, evaluation=replace(self.evaluation, features=str(target) if target else None))

    def plan(self, seeds: int, store: Path, root: Path) -> list[list[AutoencoderJob]]:
        """The jobs of each row, one a seed."""
        plans = []
        images: dict[DataConfig, dict[str, str]] = {}
        for row in self.rows:
            configs = [resolve(replace(row.config, seed=seed)) for seed in range(seeds)]
            data = configs[0].data
            if data not in images:
                images[data] = fingerprints(configs[0], root)
            paths = [store / run_name(config, images[data]) for config in configs]
            plans.append([AutoencoderJob(*pair, self.evaluation, root) for pair in zip(configs, paths, strict=True)])
        return plans

    def add_results(
        self,
        results: ExperimentResults,
        plan: Sequence[Sequence[AutoencoderJob]],
        outcomes: Outcomes,
        root: Path,
    ) -> ExperimentResults:
        """The results with rows, features, images, what their pixels speak for, and what real images measure."""
        config = plan[0][0].config
        first: RunEvaluation = outcomes[plan[0][0].path]
        return replace(
            results,
            rows=tuple(_row_result(jobs, outcomes, row) for jobs, row in zip(plan, self.rows, strict=True)),
            features=first.features,
            evaluation=first.evaluation,
            real=first.real,
            images=_images(config, root),
            advice=_advice(config, root),
            fid_floor=fid_floor(config, self.evaluation, root=root),
        )
