"""Tables 1 to 4 of the paper as experiments.

`TABLES` says which models each table compares; a further model is a further name there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..experiments.autoencoders import AutoencoderExperiment, Row
from ..training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, required, resolve
from .profiles import PROFILES
from .reported import reported

LOSSES = ("l2", "log-cosh", "l1")


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
        Row(scale.autoencoder(configuration(entry.data, model, loss)), reported(entry.data, model, loss))
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
