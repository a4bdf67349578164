"""Tables 1 to 4 as experiments. Adding a row is a name in `TABLES`; a profile is a change of the config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..evaluation.records import EvaluationConfig
from ..experiments.autoencoders import AutoencoderExperiment, Row
from ..training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, required, resolve
from .reported import reported

LOSSES = ("l2", "log-cosh", "l1")
LAPTOP_WIDTH = 0.125
"""Channels of the laptop profile's convolutions, over the paper's."""


@dataclass(frozen=True)
class Profile:
    """How an experiment is scaled.

    Attributes:
        change: applied to every config.
        evaluation: how runs are measured.
        features: changes of the feature classifier's training; empty means the classifier as it is meant to be.
    """

    change: Callable[[TrainConfig], TrainConfig]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    features: Mapping[str, Any] = field(default_factory=dict)


def _paper(config: TrainConfig) -> TrainConfig:
    return config


def _laptop(config: TrainConfig) -> TrainConfig:
    if config.model.network == "mlp":
        return replace(config, epochs=10)
    model = replace(config.model, width=LAPTOP_WIDTH)
    if config.data.name == "celeba":
        # 24 epochs of 6,400 images are 1,536 batches of 100, too few for the codes to lose their correlations (the
        # paper has 110,000): batches of 25, and the paper's learning rate over the width, as narrow networks allow.
        rate = config.optimizer.learning_rate / LAPTOP_WIDTH
        optimizer = replace(config.optimizer, learning_rate=rate, lr_milestones=((12.0, 0.5), (18.0, 0.2)))
        return replace(config, model=model, epochs=24, batch_size=25, optimizer=optimizer)
    return replace(config, model=model, epochs=5)


def _smoke(config: TrainConfig) -> TrainConfig:
    small = {"hidden": (64, 64)} if config.model.network == "mlp" else {"width": 1 / 32}
    return replace(
        config,
        epochs=2,
        data=replace(config.data, limit=1_000),
        model=replace(config.model, **small),
        log_every=10,
    )


PROFILES: dict[str, Profile] = {
    "paper": Profile(_paper),
    "laptop": Profile(_laptop),
    "smoke": Profile(
        _smoke,
        EvaluationConfig(sharpness_images=200, fid_images=500),
        features={"epochs": 2, "limit": 1_000},
    ),
}
"""`paper` is the paper's setting; `laptop` has fewer epochs, and convolutions of an eighth of the channels; `smoke`
takes seconds and only shows that all works."""


@dataclass(frozen=True)
class Table:
    """What a table of the paper compares."""

    title: str
    data: str
    models: tuple[str, ...]
    source: str


TABLES = {
    "table1": Table(
        "Table 1: sharpness and FID on MNIST", "mnist", ("vae-mlp", "vae-conv", "wae-mlp", "wae-conv"), "Tables 1 and 3"
    ),
    "table2": Table("Table 2: sharpness and FID on CelebA", "celeba", ("vae-conv", "wae-conv"), "Tables 2 and 4"),
    "table3": Table(
        "Table 3: sharpness and FID on MNIST with L1",
        "mnist",
        ("vae-mlp", "vae-conv", "wae-mlp", "wae-conv"),
        "Tables 1 and 3",
    ),
    "table4": Table(
        "Table 4: sharpness and FID on CelebA with L1", "celeba", ("vae-conv", "wae-conv"), "Tables 2 and 4"
    ),
}
"""Tables 1 and 2 have L1 beside them as Tables 3 and 4 do, so that both pairs share their runs."""


def configuration(data: str, model: str, loss: str) -> TrainConfig:
    """The paper's config for a model and a loss (A.2, A.3); what is left open is resolved to its values."""
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(data),
        model=ModelConfig(family=family, network=network),
        objective=ObjectiveConfig(loss=loss),
    )


def table(name: str, profile: str) -> AutoencoderExperiment:
    """A table of the paper at a profile."""
    declared, scale = TABLES[name], PROFILES[profile]
    rows = tuple(
        Row(scale.change(configuration(declared.data, model, loss)), reported(declared.data, model, loss))
        for model in declared.models
        for loss in LOSSES
    )
    return AutoencoderExperiment(
        name, declared.title, profile, rows, scale.evaluation, source=declared.source, features=scale.features
    )


def excerpt(experiment: AutoencoderExperiment, epochs: int) -> AutoencoderExperiment:
    """The rows of an experiment on faces, trained for fewer epochs, all for as many.

    The learning rate falls at the same fractions of the training as in the paper (A.3).
    """

    def shortened(config: TrainConfig) -> TrainConfig:
        whole = resolve(config)
        factor = epochs / required(whole.epochs, "epochs")
        drops = tuple((after * factor, by) for after, by in whole.optimizer.lr_milestones or ())
        return replace(config, epochs=epochs, optimizer=replace(config.optimizer, lr_milestones=drops))

    rows = tuple(replace(row, config=shortened(row.config)) for row in experiment.rows)
    return replace(experiment, rows=rows, profile="excerpt")
