"""Tables 1 and 3 as experiments. Adding a row is a line in `_ROWS`; a profile is a change of the config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig
from ..evaluation import EvaluationConfig
from ..experiments import Experiment, Row
from .reported import reported

LOSSES = ("l2", "log-cosh", "l1")
MODELS = ("vae-mlp", "wae-mlp")


def _paper(config: TrainConfig) -> TrainConfig:
    return config


def _laptop(config: TrainConfig) -> TrainConfig:
    return replace(config, epochs=10)


def _smoke(config: TrainConfig) -> TrainConfig:
    return replace(
        config,
        epochs=2,
        data=replace(config.data, limit=2_000),
        model=replace(config.model, hidden=(64, 64)),
        log_every=10,
    )


PROFILES: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "paper": _paper,
    "laptop": _laptop,
    "smoke": _smoke,
}
"""`paper` is the paper's setting, `laptop` the same networks with fewer epochs, `smoke` seconds for checks."""


def configuration(data: str, model: str, loss: str) -> TrainConfig:
    """The paper's config for a model and a loss (A.2), open values left open."""
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(data),
        model=ModelConfig(family=family, network=network),
        objective=ObjectiveConfig(loss=loss),
    )


def _mnist(name: str, title: str, profile: str) -> Experiment:
    rows = tuple(
        Row(PROFILES[profile](configuration("mnist", model, loss)), reported("mnist", model, loss))
        for model in MODELS
        for loss in LOSSES
    )
    evaluation = EvaluationConfig()
    if profile == "smoke":
        evaluation = EvaluationConfig(sharpness_images=200, fid_images=500)
    return Experiment(name, title, profile, rows, evaluation, source="Tables 1 and 3")


def table1(profile: str) -> Experiment:
    """Sharpness and FID on MNIST; the MLP rows, L1 beside them as in Table 3."""
    return _mnist("table1", "Table 1: sharpness and FID on MNIST (MLP rows)", profile)


def table3(profile: str) -> Experiment:
    """Table 1 with L1 (appendix B): the same runs."""
    return _mnist("table3", "Table 3: sharpness and FID on MNIST with L1 (MLP rows)", profile)


EXPERIMENTS: dict[str, Callable[[str], Experiment]] = {"table1": table1, "table3": table3}
"""What `reproduce NAME` knows."""
