"""Training with a learned likelihood: configs, gradients, run folders, several processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.test_distributed import on_two

from logcosh_vae import load
from logcosh_vae.base.errors import ConfigError
from logcosh_vae.base.settings import digest, override
from logcosh_vae.losses import LogCoshLikelihood
from logcosh_vae.losses.likelihood_base import QUANTISATION_STD
from logcosh_vae.models.autoencoder import VAE, WAE
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.builders import build_model, build_objective, build_optimizer, pixel_std
from logcosh_vae.training.config import ObjectiveConfig, TrainConfig, resolve
from logcosh_vae.training.defaults import RECOMMENDED
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.run_folder import RunFolder

SMALL = ["data.limit=600", "log_every=2", "track_images=20", "picture_every=9"]
LEARNED = [("l2", "scale"), ("l1", "scale"), ("log-cosh", "scale"), ("log-cosh", "scale+shape")]


def small(loss: str, likelihood: str, *settings: str, epochs: int = 2) -> TrainConfig:
    config = TrainConfig(objective=ObjectiveConfig(loss, likelihood=likelihood), epochs=epochs)
    return override(config, [*SMALL, "model.hidden=[32,32]", *settings])


def test_the_papers_settings_are_the_default_and_named_fixed() -> None:
    paper = resolve(TrainConfig())
    fixed = resolve(TrainConfig(objective=ObjectiveConfig(likelihood="fixed")))
    assert fixed == paper
    assert digest(fixed) == digest(paper)
    assert paper.objective == ObjectiveConfig("log-cosh", 100.0, 1.0)


def test_auto_resolves_to_the_recommended_setting_and_keeps_other_options() -> None:
    auto = resolve(TrainConfig(objective=ObjectiveConfig("auto", warmup=2.0)))
    named = ObjectiveConfig(RECOMMENDED.loss, likelihood=RECOMMENDED.likelihood, warmup=2.0)
    assert auto == resolve(TrainConfig(objective=named))
    assert resolve(auto) == auto


def test_a_learned_likelihood_has_nothing_to_tune() -> None:
    vae = resolve(small("log-cosh", "scale+shape"))
    assert vae.objective == ObjectiveConfig("log-cosh", None, 1.0, likelihood="scale+shape", shape=1.0, per="image set")
    assert resolve(vae) == vae
    wae = resolve(small("l2", "scale", "model.family=wae"))
    assert wae.objective.reconstruction_weight == pytest.approx(1 / 784)
    faces = resolve(override(TrainConfig(), ["data.name=celeba", "model.family=wae", "objective.likelihood=scale"]))
    assert faces.objective.reconstruction_weight == pytest.approx(1 / (3 * 64 * 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["objective.likelihood=width"], "objective.likelihood: unknown 'width'"),
        (["objective.likelihood=scale", "objective.a=5"], "a is the inverse of the scale|objective.a is the inverse"),
        (["objective.loss=l2", "objective.likelihood=scale+shape"], "the likelihood of l2 has no shape to learn"),
        (
            ["objective.loss=l1", "objective.likelihood=scale", "objective.shape=2"],
            "objective.shape: the likelihood of l1",
        ),
        (["objective.likelihood=scale", "objective.shape=0"], "objective.shape must be between"),
        (["objective.likelihood=scale", "objective.per=row"], "objective.per: unknown 'row'"),
        (["objective.per=pixel"], "objective.per applies to a learned likelihood only"),
        (["objective.shape=2"], "objective.shape applies to a learned likelihood only"),
        (
            ["objective.loss=auto", "objective.likelihood=scale"],
            "objective.likelihood is part of what objective.loss=auto",
        ),
        (["objective.loss=auto", "objective.a=3"], "objective.a is part of what objective.loss=auto chooses"),
    ],
)
def test_contradictions_are_named(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(override(TrainConfig(), settings))


@pytest.mark.parametrize("per", ["image set", "channel", "pixel"])
@pytest.mark.parametrize(("loss", "likelihood"), LEARNED)
@pytest.mark.parametrize("family", ["vae", "wae"])
def test_steps_without_the_loss_have_the_same_gradient(family: str, loss: str, likelihood: str, per: str) -> None:
    config = resolve(small(loss, likelihood, f"model.family={family}", f"objective.per={per}"))
    model = build_model(config, (1, 28, 28))
    objective, x = build_objective(config, model), torch.rand(6, 1, 28, 28)
    grads = []
    for compute_loss in (True, False):
        model.zero_grad()
        objective.backward(
            model(x, make_generator(0, "noise")), x, make_generator(0, "prior"), compute_loss=compute_loss
        )
        grads.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, grad in grads[0].items():
        assert grad is not None, name
        assert torch.allclose(grads[1][name], grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max())), name


def test_the_initial_scale_is_that_of_the_images() -> None:
    images = torch.randint(0, 256, (50, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 1] = 7
    unit = images.double() / 255
    assert torch.allclose(pixel_std(images, "pixel"), unit.std(0, correction=0), atol=1e-7)
    per_channel = pixel_std(images, "channel")
    assert per_channel.shape == (3, 1, 1)
    assert per_channel[1] < 1e-6
    assert torch.allclose(pixel_std(images, "image set"), unit.var(0, correction=0).mean().sqrt(), atol=1e-7)
    likelihood = LogCoshLikelihood(1.0, 1.0, "scale", "channel", image_shape=(3, 4, 5))
    likelihood.start_from(per_channel)
    expected = per_channel.square().clamp_min(4 * QUANTISATION_STD**2)
    assert torch.allclose(likelihood.variance.double(), expected, rtol=1e-4)


def test_scales_learn_faster_than_weights() -> None:
    config = resolve(small("log-cosh", "scale+shape"))
    networks, likelihood = build_optimizer(config, build_model(config, (1, 28, 28))).param_groups
    assert likelihood["lr"] == 10 * networks["lr"]
    assert len(likelihood["params"]) == 2


@pytest.mark.parametrize(("family", "network"), [("vae", "mlp"), ("wae", "mlp"), ("vae", "conv")])
def test_runs_are_trained_resumed_and_loaded(tmp_path: Path, data_root: Path, family: str, network: str) -> None:
    size = "model.hidden=[32,32]" if network == "mlp" else "model.width=0.03125"
    settings = [*SMALL, size, f"model.family={family}", f"model.network={network}"]
    config = override(TrainConfig(objective=ObjectiveConfig("log-cosh", likelihood="scale+shape"), epochs=2), settings)
    whole = train(config, tmp_path / "whole", root=data_root)
    train(replace(config, epochs=1), tmp_path / "parts", root=data_root)
    parts = train(config, tmp_path / "parts", root=data_root, resume=True)
    assert (tmp_path / "whole" / "weights.safetensors").read_bytes() == (
        tmp_path / "parts" / "weights.safetensors"
    ).read_bytes()
    assert whole.metrics()[-1]["validation"] == parts.metrics()[-1]["validation"]
    model = load(tmp_path / "whole")
    assert isinstance(model, VAE if family == "vae" else WAE)
    assert isinstance(model.likelihood, LogCoshLikelihood)
    initial = build_model(resolve(config), (1, 28, 28)).likelihood
    assert isinstance(initial, LogCoshLikelihood)
    assert model.likelihood.shape.item() != pytest.approx(initial.shape.item(), rel=1e-3)
    assert 0.03 < model.likelihood.variance.sqrt().item() < 0.5
    recorded = whole.metrics()[-1]["validation"]
    assert recorded["scale"] == pytest.approx(model.likelihood.scale.item(), rel=1e-6)
    assert recorded["shape"] == pytest.approx(model.likelihood.shape.item(), rel=1e-6)
    assert whole.metrics()[0]["validation"]["shape"] != recorded["shape"]


def test_two_processes_learn_the_scale_of_one(tmp_path: Path, data_root: Path) -> None:
    config = small("log-cosh", "scale+shape", epochs=1)
    whole = train(config, tmp_path / "one", root=data_root).metrics()
    settings = [*SMALL, "model.hidden=[32,32]", "objective.likelihood=scale+shape"]
    given = [part for setting in settings for part in ("--set", setting)]
    shared = on_two("train", *given, "--data-root", data_root, "--out", tmp_path / "two", "--epochs", 1)
    assert shared.returncode == 0, shared.stderr
    one, two = load(tmp_path / "one").likelihood, load(tmp_path / "two").likelihood
    assert one is not None
    assert two is not None
    assert two.scale.item() == pytest.approx(one.scale.item(), rel=1e-4)
    assert RunFolder(tmp_path / "two").metrics()[0]["validation"] == pytest.approx(whole[0]["validation"], rel=1e-3)
