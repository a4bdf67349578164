"""Experiments with autoencoders: models and losses, trained over seeds and evaluated by sharpness and FID.

`AutoencoderExperiment` is the experiment, `Row` one of its models and losses, and `AutoencoderJob` a row with a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..base.errors import DamagedJsonError, RecordError, RunError
from ..base.records import read_record
from ..base.settings import to_dict
from ..base.versions import EVALUATION
from ..data import DATASETS, official_count
from ..data.describe import summarise
from ..evaluation.evaluate import evaluate, extractor_for, fid_floor
from ..evaluation.feature_installation import train_missing_features
from ..evaluation.feature_training import feature_config
from ..evaluation.latents import DensityStatistics
from ..evaluation.priors import check_fitted_priors
from ..evaluation.records import EvaluationConfig, RunEvaluation
from ..models.networks import ImageShape
from ..training.autoencoder import check_images, config_of, fingerprints, run_name, split, train
from ..training.builders import build_model
from ..training.config import DataConfig, ModelConfig, TrainConfig, required, resolve
from ..training.limits import check_training_memory, shape_of, training_memory
from ..training.run_folder import RunFolder
from .experiment import Experiment, Outcomes, PrepareCallbacks
from .results import Advice, ExperimentResults, RowResult, SplitCounts, Summary
from .scheduler import Job


@dataclass(frozen=True)
class Row:
    """One model and loss of a table.

    Attributes:
        config: configuration of the training; its seed is replaced by those of the experiment.
        reported: the paper's value of each metric; empty if the paper has none.
    """

    config: TrainConfig
    reported: Mapping[str, float] = field(default_factory=dict)


def count_flops(config: TrainConfig, image_shape: ImageShape) -> int:
    """Return the floating-point operations of a forward pass of one image; only matrix products and convolutions count.

    Args:
        config: names the model.
        image_shape: channels, height and width of the image.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model = build_model(config, image_shape).eval()  # batch normalisation refuses to train on one value per channel
        model(torch.zeros(1, *image_shape), torch.Generator())
    return int(counter.get_total_flops())


@cache
def _train_size(data: DataConfig, root: Path | None) -> tuple[int, ImageShape]:
    """Return the number of training images and their shape."""
    count, channels, height, width = split(TrainConfig(data), "train", root).images.shape
    return count, (channels, height, width)


@cache
def _flops_per_image(model: ModelConfig, image_shape: ImageShape) -> int:
    """Cache `count_flops` by model, since all seeds and losses share it."""
    return count_flops(TrainConfig(model=model), image_shape)


@cache
def _training_memory(config: TrainConfig, image_shape: ImageShape) -> int:
    """Cache `training_memory` by config, since all seeds share it."""
    return training_memory(config, image_shape)


@dataclass(frozen=True)
class AutoencoderJob(Job):
    """A row with a seed: one training and its evaluation.

    Attributes:
        config: resolved configuration, with the seed.
        path: run folder.
        evaluation: settings of the evaluation.
        root: data root.
    """

    config: TrainConfig
    path: Path
    evaluation: EvaluationConfig
    root: Path | None

    @property
    def label(self) -> str:
        """Model, loss, what is learned of its likelihood, and seed, as shown to the user."""
        objective = self.config.objective
        loss = objective.loss if objective.likelihood is None else f"{objective.loss} {objective.likelihood}"
        return f"{self.config.model_name} {loss} seed {self.config.seed}"

    def cost(self) -> float:
        """Return the floating-point operations of the forward passes of the whole training."""
        count, image_shape = _train_size(self.config.data, self.root)
        return float(_flops_per_image(self.config.model, image_shape) * count * required(self.config.epochs, "epochs"))

    @property
    def device(self) -> str:
        """The device of the training."""
        return self.config.device

    def memory(self) -> int:
        """Return a lower bound of the memory of the training, in bytes."""
        _, image_shape = _train_size(self.config.data, self.root)
        return _training_memory(replace(self.config, seed=0), image_shape)

    def cached_result(self) -> RunEvaluation | None:
        """Return the evaluation in the run folder if it is undamaged and belongs to this run, else None.

        It belongs to it if the folder has this config and finished weights with the digest in the evaluation, and if
        version, settings and features are the current ones. The fingerprints of the images are part of the folder's
        name, so a folder that has been renamed is recognised.
        """
        folder = RunFolder(self.path)
        try:
            result = read_record(RunEvaluation, self.path / "evaluation.json", sealed=True)
            config, image_shape = config_of(folder)
            name = run_name(self.config, folder.config().get("images", {}))
            weights = folder.read_weights()
        except (OSError, RecordError, DamagedJsonError, RunError, KeyError, TypeError):
            return None  # train or evaluate again, which reports what is wrong
        epochs = required(self.config.epochs, "epochs")
        if name != self.path.name and name.rpartition("_")[0] == self.path.name.rpartition("_")[0]:
            return None  # the folder has the name of a run with other images
        if (resolve(config), weights.epochs or epochs, weights.digest) != (self.config, epochs, result.weights):
            return None
        if result.evaluation != self.evaluation or result.version != EVALUATION:
            return None
        extractor = extractor_for(self.config.data.name, image_shape, self.evaluation, self.root)
        features = extractor.describe() if extractor is not None else None
        expected = {"sharpness_reconstructed", "sharpness_generated"}
        if features is not None and result.real.count > 1:
            expected |= {"fid", *(f"fid_{name}" for name in self.evaluation.priors or ())}
        is_complete = set(result.metrics) >= expected and len(result.test) > 0
        return result if is_complete and result.features == features else None

    def run(self) -> RunEvaluation:
        """Train and evaluate, as far as this has not been done yet."""
        train(self.config, self.path, resume=True, root=self.root)
        result = self.cached_result()
        return evaluate(self.path, self.evaluation, root=self.root) if result is None else result


def _row_result(jobs: Sequence[AutoencoderJob], outcomes: Outcomes, row: Row) -> RowResult:
    """Summarise the evaluations of a row over its seeds."""
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
        density=_density_summary([run.density for run in runs if run.density is not None]),
    )


def _density_summary(seeds: Sequence[DensityStatistics]) -> dict[str, Summary] | None:
    """Summarise the numbers of `DensityStatistics` over seeds; None for runs that were evaluated without them."""
    if not seeds:
        return None
    names = ("nll_per_dimension", "elbo_per_dimension", "active_units", "scale", "shape")
    values = {name: [getattr(each, name) for each in seeds] for name in names}
    return {name: Summary.of(each) for name, each in values.items() if None not in each}


def _image_counts(config: TrainConfig, root: Path | None) -> dict[str, SplitCounts]:
    """Return the number of images used of each split, and of the complete data set if it is known."""
    return {
        name: SplitCounts(len(split(config, name, root).images), official_count(config.data.name, name))
        for name in ("train", "test")
    }


def _loss_advice(config: TrainConfig, root: Path | None) -> Advice:
    """Return the loss that the paper advises for the pixel values of the test images (footnote 1, appendix B)."""
    summary = summarise(split(config, "test", root))
    return Advice(summary.near_0_or_1, summary.advised_loss, summary.advice)


@dataclass(frozen=True)
class AutoencoderExperiment(Experiment[AutoencoderJob]):
    """Models and losses, trained and evaluated in the same way.

    Attributes:
        name, title, profile, source: see `Experiment`.
        rows: the models and losses.
        evaluation: settings of the evaluation.
        features: fields of `FeatureConfig` to set for the feature classifiers, for quick checks that do not need
            accurate ones.
    """

    name: str
    title: str
    profile: str
    rows: tuple[Row, ...]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    source: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)

    def models(self) -> list[str]:
        """Return the names of the models, such as `vae-mlp`."""
        return list(dict.fromkeys(row.config.model_name for row in self.rows))

    def configs(self) -> list[TrainConfig]:
        """Return the resolved config of each row."""
        return [resolve(row.config) for row in self.rows]

    def only(self, models: Sequence[str]) -> Self:
        """Return the experiment with only the rows of these models."""
        return replace(self, rows=tuple(row for row in self.rows if row.config.model_name in models))

    def on_device(self, device: str) -> Self:
        """Return the experiment with all runs on `device`."""
        return replace(self, rows=tuple(replace(row, config=replace(row.config, device=device)) for row in self.rows))

    def prepare(self, runs_folder: Path, root: Path, callbacks: PrepareCallbacks) -> Self:
        """Prepare the images, check all rows against them, and train missing classifiers; see `Experiment.prepare`.

        Classifiers with changed settings (`features`) are kept beside the runs, so that no other experiment uses them.
        """
        configs = self.configs()
        for config in configs:
            check_training_memory(config, shape_of(config))
        target = runs_folder / "features" if self.features else None
        for data in dict.fromkeys(config.data for config in configs):
            images = [split(TrainConfig(data), name, root, progress=callbacks.on_images) for name in ("train", "test")]
            for config in configs:
                if config.data == data:
                    check_images(config, *images)
            check_fitted_priors(data.name, len(images[0].images), self.evaluation.priors or ())
            if images[0].complaint is not None:
                callbacks.on_message(images[0].complaint)
            if data.name in DATASETS:
                channels, height, width = images[0].images.shape[1:]
                train_missing_features(
                    feature_config(data.name, size=data.size, **self.features),
                    (channels, height, width),
                    runs_folder,
                    target,
                    root=root,
                    make_callbacks=lambda config: callbacks.on_training(config.data),
                )
        return replace(self, evaluation=replace(self.evaluation, features=str(target) if target else None))

    def plan(self, seeds: Sequence[int], runs_folder: Path, root: Path) -> list[list[AutoencoderJob]]:
        """Return the jobs of each row, one per seed."""
        plans = []
        images: dict[DataConfig, dict[str, str]] = {}
        for row in self.rows:
            configs = [resolve(replace(row.config, seed=seed)) for seed in seeds]
            data = configs[0].data
            if data not in images:
                images[data] = fingerprints(configs[0], root)
            paths = [runs_folder / run_name(config, images[data]) for config in configs]
            plans.append([AutoencoderJob(*pair, self.evaluation, root) for pair in zip(configs, paths, strict=True)])
        return plans

    def add_results(
        self,
        results: ExperimentResults,
        plan: Sequence[Sequence[AutoencoderJob]],
        outcomes: Outcomes,
        root: Path,
    ) -> ExperimentResults:
        """Return the results with rows, features, image counts, advised loss and FID floor filled in."""
        config = plan[0][0].config
        first: RunEvaluation = outcomes[plan[0][0].path]
        return replace(
            results,
            rows=tuple(_row_result(jobs, outcomes, row) for jobs, row in zip(plan, self.rows, strict=True)),
            features=first.features,
            evaluation=first.evaluation,
            real=first.real,
            images=_image_counts(config, root),
            advice=_loss_advice(config, root),
            fid_floor=fid_floor(config, self.evaluation, root=root),
        )
