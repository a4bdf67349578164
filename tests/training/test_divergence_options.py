"""Warm-up of the divergence's weight, and free bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from logcosh_vae.base.errors import ConfigError
from logcosh_vae.base.settings import override
from logcosh_vae.models.distributions import DiagonalGaussian
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.builders import build_model, build_objective, build_schedule
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.loop import make_generator

SMALL = ["data.limit=600", "model.hidden=[32,32]", "log_every=2", "track_images=20", "picture_every=9"]


def small(*settings: str) -> TrainConfig:
    return resolve(override(TrainConfig(epochs=4), [*SMALL, *settings]))


def test_the_weight_grows_linearly_and_stays_at_one() -> None:
    config = small("objective.warmup=2")
    objective = build_objective(config, build_model(config, (1, 28, 28)))
    assert objective.divergence_weight is not None
    schedule, weights = build_schedule(config, 6, objective), []
    for step in range(1, 25):
        schedule.prepare(step / 24)
        weights.append(objective.divergence_weight.item())
    assert weights == pytest.approx([min(1.0, step / 12) for step in range(1, 25)])


@pytest.mark.parametrize(
    "settings", [["objective.free_bits=0.4"], ["objective.warmup=3"], ["model.family=wae", "objective.warmup=3"]]
)
def test_steps_without_the_loss_have_the_same_gradient(settings: list[str]) -> None:
    config = small(*settings)
    model = build_model(config, (1, 28, 28)).double()
    objective, x = build_objective(config, model), torch.rand(6, 1, 28, 28, dtype=torch.float64)
    if objective.divergence_weight is not None:
        objective.divergence_weight.fill_(0.3)
    grads = []
    for compute_loss in (True, False):
        model.zero_grad()
        noise, prior = make_generator(0, "noise"), make_generator(0, "prior")
        objective.backward(model(x, noise), x, prior, compute_loss=compute_loss)
        grads.append([parameter.grad for parameter in model.parameters()])
    for first, second in zip(*grads, strict=True):
        assert first is not None
        assert second is not None
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-12)


def test_free_bits_cost_nothing_and_have_no_gradient() -> None:
    mean = torch.tensor([[0.1, 2.0]], requires_grad=True)
    posterior = DiagonalGaussian(mean, torch.zeros(1, 2))
    assert posterior.kl_per_variable().tolist() == [pytest.approx([0.005, 2.0])]
    total = posterior.kl(free_bits=0.5)
    assert total.tolist() == pytest.approx([2.5])
    (grad,) = torch.autograd.grad(total.sum(), mean)
    assert grad.tolist() == posterior.kl_grads(free_bits=0.5)[0].tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["objective.warmup=0"], "objective.warmup must be a positive number of epochs"),
        (["objective.free_bits=-1"], "objective.free_bits must be positive"),
        (["model.family=wae", "objective.free_bits=1"], "objective.free_bits must be left out for a WAE"),
    ],
)
def test_bad_values_are_named(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(*settings)


def test_a_run_is_resumed_within_its_warm_up(tmp_path: Path, data_root: Path) -> None:
    config = small("objective.warmup=3", "objective.free_bits=0.2")
    whole = train(config, tmp_path / "whole", root=data_root)
    train(replace(config, epochs=2), tmp_path / "parts", root=data_root)
    train(config, tmp_path / "parts", root=data_root, resume=True)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    plain = train(small(), tmp_path / "plain", root=data_root).metrics()
    assert whole.metrics()[0]["validation"]["kl"] > plain[0]["validation"]["kl"]  # the divergence costs little at first
