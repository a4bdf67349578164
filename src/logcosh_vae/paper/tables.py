"""Tables 1 to 4 of the paper as experiments.

`TABLES` says which models each table compares; a further model is a further name there. `PROFILES` says how each
profile changes the config of every run.
"""

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
"""Factor on the channels of the paper's convolutions in the laptop profile."""


@dataclass(frozen=True)
class Profile:
    """How an experiment is scaled down.

    Attributes:
        change: applied to every config.
        evaluation: how runs are evaluated.
        features: changes to the training of the feature classifier for FID; empty means its standard training.
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
        # 24 epochs of 6,400 images are 1,536 batches of 100, too few to decorrelate the latent codes (the paper
        # trains on 110,000): use batches of 25, and divide the learning rate by the width, which narrow networks allow.
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
"""`paper` uses the settings of the paper; `laptop` trains for fewer epochs, with an eighth of the channels in
convolutions; `smoke` takes seconds and only checks that everything runs."""


@dataclass(frozen=True)
class Table:
    """What a table of the paper compares.

    Attributes:
        title: title in reports.
        data: name of the image set.
        models: the models, one block of rows each; every model is trained with each of `LOSSES`.
        source: the paper's tables that hold the reported values.
    """

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
"""Tables 1 and 2 include L1, as tables 3 and 4 do in the paper, so that both pairs share their runs."""


def configuration(data: str, model: str, loss: str) -> TrainConfig:
    """Return the config for a model and a loss with the paper's settings (A.2, A.3).

    Fields that are left open are filled in by `resolve`.

    Args:
        data: name of the image set.
        model: family and network, for example `vae-conv`.
        loss: name of the loss.
    """
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(data),
        model=ModelConfig(family=family, network=network),
        objective=ObjectiveConfig(loss=loss),
    )


def table(name: str, profile: str) -> AutoencoderExperiment:
    """Return a table of the paper as an experiment at a profile (`paper`, `laptop` or `smoke`)."""
    entry, scale = TABLES[name], PROFILES[profile]
    rows = tuple(
        Row(scale.change(configuration(entry.data, model, loss)), reported(entry.data, model, loss))
        for model in entry.models
        for loss in LOSSES
    )
    return AutoencoderExperiment(
        name, entry.title, profile, rows, scale.evaluation, source=entry.source, features=scale.features
    )


def excerpt(experiment: AutoencoderExperiment, epochs: int) -> AutoencoderExperiment:
    """Return an experiment with all its rows trained for the given number of epochs.

    The learning rate drops at the same fractions of the training as in the paper (A.3).
    """

    def shortened(config: TrainConfig) -> TrainConfig:
        full = resolve(config)
        factor = epochs / required(full.epochs, "epochs")
        milestones = tuple((epoch * factor, by) for epoch, by in full.optimizer.lr_milestones or ())
        return replace(config, epochs=epochs, optimizer=replace(config.optimizer, lr_milestones=milestones))

    rows = tuple(replace(row, config=shortened(row.config)) for row in experiment.rows)
    return replace(experiment, rows=rows, profile="excerpt")
