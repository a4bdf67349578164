"""What runs on a GPU gives what the CPU gives; all of it is left out where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import logcosh_vae
from logcosh_vae.autoencoders import train
from logcosh_vae.config import TrainConfig
from logcosh_vae.losses import l1, log_cosh, log_cosh_gradient_only, squared_l2
from logcosh_vae.restoration.learning import RestorationConfig, learn, load_restoration
from logcosh_vae.running import Watch
from logcosh_vae.settings import override
from logcosh_vae.training import stream

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("loss", [squared_l2, l1, log_cosh, log_cosh_gradient_only])
def test_losses(loss) -> None:  # type: ignore[no-untyped-def]
    prediction, target = torch.randn(2, 5_000, generator=stream(0, "x"))
    results = []
    for device in ("cpu", "cuda"):
        leaf = prediction.to(device).detach().requires_grad_()
        value = loss(leaf, target.to(device))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        results.append((value.detach().cpu(), gradient.cpu()))
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=2e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore")  # of torch while it compiles
@pytest.mark.parametrize(("model", "size"), [("vae-mlp", "model.hidden=[64,64]"), ("wae-conv", "model.width=0.03125")])
def test_training(model: str, size: str, tmp_path: Path, data_root: Path) -> None:
    family, _, network = model.partition("-")
    settings = [f"model.family={family}", f"model.network={network}", size, "data.limit=1000", "log_every=1"]
    config = override(TrainConfig(epochs=1), settings)
    notes: list[str] = []
    tracked = {
        device: train(
            replace(config, device=device), tmp_path / device, root=data_root, watch=Watch(note=notes.append)
        ).metrics()[0]["tracked"]
        for device in ("cpu", "cuda")
    }
    assert not notes, "the MLP is compiled"
    # the same order and noise on both; on a GPU convolutions multiply in bfloat16, and the MLP runs by CUDA graphs
    for on_gpu, on_cpu in zip(tracked["cuda"], tracked["cpu"], strict=True):
        assert on_gpu == pytest.approx(on_cpu, rel=1e-2)
    assert logcosh_vae.load(tmp_path / "cuda").sample(2).device.type == "cpu"


def test_restoration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    for number in range(6):
        coarse = np.random.default_rng(number).integers(0, 256, (5, 6, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC).save(tmp_path / "set" / f"{number}.png")
    config = RestorationConfig(str(tmp_path / "set"), task="denoise", widths=(8, 12), side=48, patch=32, device="cuda")
    learn(replace(config, epochs=1, steps=4, check_images=2), tmp_path / "run")
    assert not load_restoration(tmp_path / "run")[0].training
