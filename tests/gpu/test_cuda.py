"""What runs on a GPU gives what the CPU gives; all of it is left out where there is none."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import logcosh_vae
from logcosh_vae.base.settings import override
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.losses import (
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
    LogCoshLikelihood,
    l1,
    log_cosh,
    log_cosh_grad,
    log_cosh_surrogate,
    squared_l2,
)
from logcosh_vae.restoration.config import RestorationConfig
from logcosh_vae.restoration.training import load_restoration, train_restoration
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.loop import make_generator
from logcosh_vae.training.session import Callbacks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device was found"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", [squared_l2, l1, log_cosh, log_cosh_surrogate])
def test_losses(loss, dtype) -> None:  # type: ignore[no-untyped-def]
    prediction, target = torch.randn(2, 5_000, generator=make_generator(0, "x")).to(dtype)
    results = []
    for device in ("cpu", "cuda"):
        leaf = prediction.to(device).detach().requires_grad_()
        value = loss(leaf, target.to(device))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        assert value.dtype == gradient.dtype == dtype
        results.append((value.detach().cpu(), gradient.cpu()))
    rtol = 2e-6 if dtype == torch.float32 else torch.finfo(dtype).eps
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("a", [1e-3, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_log_cosh_is_exact_at_every_scale(a: float, layout: torch.memory_format) -> None:
    scales = torch.logspace(-12, 6, 4 * 6 * 25, dtype=torch.float64).view(4, 6, 5, 5)
    residuals = (scales * torch.where(torch.arange(5) % 2 == 0, 1.0, -1.0)).float()
    prediction = residuals.to("cuda", memory_format=layout).requires_grad_()
    target = torch.zeros_like(residuals, device="cuda")
    value = log_cosh(prediction, target, a=a)
    x = a * residuals.double()
    expected = (
        torch.where(x.abs() < 1e-3, x * x / 2 - x**4 / 12, x.abs() + (-2 * x.abs()).exp().log1p() - math.log(2)) / a
    )
    torch.testing.assert_close(value.detach().cpu().double(), expected, rtol=5e-7, atol=1e-37)
    factors = torch.rand(residuals.shape, generator=make_generator(0, "factors"))
    (gradient,) = torch.autograd.grad(value, prediction, factors.cuda(), retain_graph=True)
    torch.testing.assert_close(gradient.cpu().double(), x.tanh() * factors.double(), rtol=5e-7, atol=1e-37)
    slope = log_cosh_grad(prediction, target, a=a, factor=0.25)
    torch.testing.assert_close(slope.cpu().double(), 0.25 * x.tanh(), rtol=5e-7, atol=1e-37)
    (first,) = torch.autograd.grad(value.sum(), prediction, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), prediction)
    torch.testing.assert_close(second.cpu().double(), a * (1 - x.tanh() ** 2), rtol=1e-5, atol=1e-6 * a)


def test_log_cosh_uses_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("computed operation by operation")

    monkeypatch.setattr("logcosh_vae.losses.autograd.residual", refuse)
    prediction = torch.randn(1_000, device="cuda", requires_grad=True)
    log_cosh(prediction, torch.zeros_like(prediction), a=100.0).sum().backward()
    log_cosh_grad(prediction, torch.zeros_like(prediction), a=100.0, factor=0.5)


@pytest.mark.parametrize("per", ["image set", "channel"])
@pytest.mark.parametrize(
    ("likelihood", "learn"),
    [
        (LogCoshLikelihood, "scale"),
        (LogCoshLikelihood, "scale+shape"),
        (GaussianLikelihood, "scale"),
        (LaplaceLikelihood, "scale"),
    ],
)
def test_likelihoods(likelihood: type[Likelihood], learn: str, per: str) -> None:
    prediction, target = torch.rand(2, 8, 3, 5, 5, generator=make_generator(0, "x"))
    results = []
    for device in ("cpu", "cuda"):
        density = likelihood(0.05, learn=learn, per=per, image_shape=(3, 5, 5)).to(device)
        leaf = prediction.to(device).detach().requires_grad_()
        total = density.nll_total(leaf, target.to(device))
        gradients = torch.autograd.grad(total, [leaf, *density.parameters()])
        results.append([value.detach().cpu() for value in (total, *gradients)])
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("vae-mlp", ["model.hidden=[64,64]"]),
        ("wae-conv", ["model.width=0.03125"]),
        ("vae-mlp", ["model.hidden=[64,64]", "objective.loss=log-cosh", "objective.likelihood=scale+shape"]),
        ("vae-conv", ["model.width=0.03125", "objective.likelihood=scale"]),
    ],
)
def test_training(model: str, settings: list[str], tmp_path: Path, data_root: Path) -> None:
    family, _, network = model.partition("-")
    settings = [f"model.family={family}", f"model.network={network}", *settings, "data.limit=1000", "log_every=5"]
    config = override(TrainConfig(epochs=2), settings)
    notes: list[str] = []
    callbacks = Callbacks(on_message=notes.append)
    tracked = {}
    for name, device, more in (
        ("cpu", "cpu", []),
        ("step by step", "cuda", ["cuda_graph=false"]),
        ("graph", "cuda", []),
    ):
        run = train(
            override(replace(config, device=device), more), tmp_path / name, root=data_root, callbacks=callbacks
        )
        tracked[name] = [point for epoch in run.metrics() for point in epoch["tracked"]]
    # interrupted after an epoch: the step is recorded anew
    train(replace(config, device="cuda", epochs=1), tmp_path / "resumed", root=data_root)
    run = train(replace(config, device="cuda"), tmp_path / "resumed", root=data_root, resume=True)
    tracked["resumed"] = [point for epoch in run.metrics() for point in epoch["tracked"]]
    assert not notes
    assert run.config()["train"]["cuda_graph"] is True
    # the same order and noise everywhere; on a GPU convolutions multiply in bfloat16
    for name, tolerance in (("step by step", 2e-2), ("graph", 2e-2), ("resumed", 2e-2)):
        for on_gpu, on_cpu in zip(tracked[name], tracked["cpu"], strict=True):
            assert on_gpu == pytest.approx(on_cpu, rel=tolerance, abs=1e-3), name
    assert logcosh_vae.load(tmp_path / "graph").sample(2).device.type == "cpu"


def test_a_run_is_measured_alike_on_both(tmp_path: Path, data_root: Path) -> None:
    config = override(
        TrainConfig(epochs=1, device="cuda"), ["model.network=conv", "model.width=0.03125", "data.limit=1000"]
    )
    run = train(config, tmp_path / "run", root=data_root)
    few = EvaluationConfig(sharpness_images=200, fid_images=500)
    results = [evaluate(run.path, few, root=data_root, device=device) for device in (None, "cpu")]
    assert [result.device for result in results] == ["cuda", "cpu"]
    assert results[0].metrics == pytest.approx(results[1].metrics, rel=1e-3)
    assert results[0].test == pytest.approx(results[1].test, rel=1e-3)


def test_restoration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    for number in range(6):
        coarse = np.random.default_rng(number).integers(0, 256, (5, 6, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC).save(tmp_path / "set" / f"{number}.png")
    config = RestorationConfig(
        str(tmp_path / "set"), task="denoise", widths=(8, 12), tile_size=48, crop_size=32, device="cuda"
    )
    train_restoration(replace(config, epochs=1, steps=4, val_images=2), tmp_path / "run")
    assert not load_restoration(tmp_path / "run")[0].training
