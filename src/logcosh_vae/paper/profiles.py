"""The profiles: how experiments are scaled down from the paper's settings. `--profile` chooses one.

Every experiment of the paper declares its rows at the paper's settings; a profile changes their configs and how the
trained models are evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..evaluation.records import EvaluationConfig
from ..restoration.config import RestorationConfig
from ..training.config import TrainConfig

LAPTOP_WIDTH = 0.125
"""Factor on the channels of the paper's convolutions in the laptop profile."""


@dataclass(frozen=True)
class Profile:
    """How experiments are scaled down.

    Attributes:
        autoencoder: change of every config of an autoencoder.
        restoration: change of every config of a restoration network.
        evaluation: how autoencoders are evaluated.
        features: changes to the training of the feature classifier for FID; empty means its standard training.
        center_crop: side in pixels of the central square on which restoration is measured; None for whole pictures.
    """

    autoencoder: Callable[[TrainConfig], TrainConfig]
    restoration: Callable[[RestorationConfig], RestorationConfig]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    features: Mapping[str, Any] = field(default_factory=dict)
    center_crop: int | None = None


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
        # At that rate VAEs with log-cosh or L1 did not settle with beta1 = 0.5, the default of convolutional networks
        # (results/table4-beta1-laptop.json), so it is 0.9 here. That was before models.networks limited the variance.
        optimizer = replace(
            config.optimizer,
            learning_rate=rate,
            betas=(0.9, 0.999),
            lr_milestones=((12.0, 0.5), (18.0, 0.2)),
        )
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


def _paper_restoration(config: RestorationConfig) -> RestorationConfig:
    """Use about as many parameters as RED30 (4.1 million)."""
    widths = (64, 96, 128, 192)
    return replace(config, widths=widths, blocks=2, batch_size=32, epochs=100, steps=1000)


def _laptop_restoration(config: RestorationConfig) -> RestorationConfig:
    """Train for three tenths of the steps.

    Figure 10 with three seeds takes about an hour and a half on two cores, as does the experiment `restoration`.
    """
    return replace(config, epochs=max(1, round(0.3 * config.epochs)))


def _smoke_restoration(config: RestorationConfig) -> RestorationConfig:
    small = replace(config, widths=(8, 8), tile_size=64, crop_size=32, batch_size=2, targets=2, val_images=2)
    return replace(small, epochs=1, steps=4)


PROFILES: dict[str, Profile] = {
    "paper": Profile(_paper, _paper_restoration),
    "laptop": Profile(_laptop, _laptop_restoration),
    "smoke": Profile(
        _smoke,
        _smoke_restoration,
        EvaluationConfig(sharpness_images=200, fid_images=500),
        features={"epochs": 2, "limit": 1_000},
        center_crop=96,
    ),
}
"""By the name in `--profile`. `paper` uses the settings of the paper; `laptop` trains for fewer epochs, with an eighth
of the channels in convolutions; `smoke` takes seconds and only checks that everything works."""
