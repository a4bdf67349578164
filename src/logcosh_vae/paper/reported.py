"""The numbers that the paper reports in tables 1 to 4, by image set, model and loss.

Each entry is (sharpness of reconstructions, sharpness of generated samples, FID), in the order of `METRICS`.
"""

from __future__ import annotations

from ..training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, resolve

METRICS = ("sharpness_reconstructed", "sharpness_generated", "fid")

_MNIST = {
    ("vae-mlp", "l2"): (0.052, 0.040, 200.0),
    ("vae-mlp", "log-cosh"): (0.168, 0.138, 65.0),
    ("vae-mlp", "l1"): (0.175, 0.149, 61.0),
    ("vae-conv", "l2"): (0.068, 0.063, 114.0),
    ("vae-conv", "log-cosh"): (0.156, 0.146, 25.0),
    ("vae-conv", "l1"): (0.162, 0.154, 22.0),
    ("wae-mlp", "l2"): (0.082, 0.078, 101.0),
    ("wae-mlp", "log-cosh"): (0.158, 0.149, 35.0),
    ("wae-mlp", "l1"): (0.162, 0.155, 37.0),
    ("wae-conv", "l2"): (0.111, 0.100, 56.0),
    ("wae-conv", "log-cosh"): (0.166, 0.159, 24.0),
    ("wae-conv", "l1"): (0.161, 0.152, 31.0),
}

_CELEBA = {
    ("vae-conv", "l2"): (3.1e-3, 2.3e-3, 46.0),
    ("vae-conv", "log-cosh"): (4.1e-3, 3.0e-3, 31.0),
    ("vae-conv", "l1"): (4.0e-3, 3.0e-3, 39.0),
    ("wae-conv", "l2"): (6.7e-3, 5.8e-3, 30.0),
    ("wae-conv", "log-cosh"): (7.0e-3, 5.7e-3, 21.0),
    ("wae-conv", "l1"): (6.5e-3, 5.1e-3, 33.0),
}

TABLES = {"mnist": _MNIST, "celeba": _CELEBA}
"""Tables 1 and 3 (MNIST), 2 and 4 (CelebA). Only tables 3 and 4 contain L1."""


def reported(data: str, model: str, loss: str) -> dict[str, float]:
    """Return the reported numbers by metric; empty if the paper reports none for this combination.

    Example:
        >>> reported("mnist", "vae-mlp", "l2")["fid"]
        200.0
    """
    values = TABLES.get(data, {}).get((model, loss))
    return dict(zip(METRICS, values, strict=True)) if values else {}


def reported_for(config: TrainConfig) -> dict[str, float]:
    """Return the reported numbers for a run; empty if it is not trained as in the paper, such as for fewer epochs.

    Raises:
        ConfigError: a value of the config is invalid.

    Example:
        >>> reported_for(TrainConfig(objective=ObjectiveConfig("l2")))["fid"], reported_for(TrainConfig(epochs=1))
        (200.0, {})
    """
    paper = TrainConfig(
        DataConfig(config.data.name),
        ModelConfig(config.model.family, config.model.network),
        ObjectiveConfig(config.objective.loss),
    )
    if _training_values(config) != _training_values(paper):
        return {}
    return reported(config.data.name, config.model_name, config.objective.loss)


def _training_values(config: TrainConfig) -> tuple[object, ...]:
    """Return what decides how good a run becomes: everything but the seed, the hardware and what is recorded."""
    config = resolve(config)
    return config.data, config.model, config.objective, config.optimizer, config.epochs, config.batch_size
