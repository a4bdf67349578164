"""Check what an installation without extras must do; run as `python tests/minimal_install.py RUN_FOLDER`.

`tests/test_packaging.py` runs this file with the optional packages blocked, `tools/check_packaging.py` where they are
not installed.
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

import torch

import logcosh_vae
from logcosh_vae.losses import cpu_kernel, make_loss
from logcosh_vae.metrics.frechet import FeatureStatistics, frechet_distance
from logcosh_vae.metrics.image_quality import psnr
from logcosh_vae.metrics.sharpness import sharpness
from logcosh_vae.training.objective import Objective

OPTIONAL = (
    "PIL",
    "dask",
    "distributed",
    "efficientnet_lite_pytorch",
    "huggingface_hub",
    "matplotlib",
    "mlflow",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "platformdirs",
    "rich",
    "scipy",
    "tensorboard",
    "torchmetrics",
    "trackio",
    "typer",
    "wandb",
)
"""Modules that only the extras bring (torch itself brings Jinja2)."""

NEEDS = {
    "import logcosh_vae.evaluation.evaluate": "Pillow",
    "import logcosh_vae.paper.figures": "Pillow",
    "import logcosh_vae.reporting.html": "Pillow",
    "import logcosh_vae.restoration.photographs": "Pillow",
    "import torch; from logcosh_vae.base.image_grid import grid; grid(torch.zeros(1, 1, 2, 2), 1)": "Pillow",
    "import torch; from logcosh_vae.metrics.image_quality import ssim; ssim(*torch.zeros(2, 3, 8, 8))": "torchmetrics",
    "from logcosh_vae.data import data_root; data_root()": "platformdirs",
    "from logcosh_vae.training.autoencoder import train; train(None, None)": "Pillow",
    "from logcosh_vae import VAE; VAE.from_pretrained('someone/digits')": "huggingface-hub",
}
"""Code that needs an extra, and what its error message asks for."""


def check_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand(2, 8, 3, 16, 16, generator=generator)
    assert logcosh_vae.log_cosh(prediction, target, a=10.0).shape == prediction.shape
    assert logcosh_vae.LogCoshLoss(a=10.0)(prediction, target) > 0
    assert psnr(prediction[0], target[0]) > 0
    assert sharpness(prediction).isfinite().all()


def check_gradients() -> None:
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for family in (logcosh_vae.VAE, logcosh_vae.WAE):
        model = family.from_network("mlp", image_shape=(1, 28, 28), latent_size=4)
        Objective(make_loss("log-cosh", a=10.0))(model(images), images)["loss"].backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def check_trained_model(run_folder: str) -> None:
    samples = logcosh_vae.load(run_folder).sample(16)
    statistics = FeatureStatistics.of(samples.flatten(1)[:, :4])
    assert abs(frechet_distance(statistics, statistics)) < 1e-6


def check_pretrained_model(run_folder: str) -> None:
    model = logcosh_vae.VAE.from_pretrained(run_folder)
    with TemporaryDirectory() as folder:
        model.save_pretrained(f"{folder}/model", precision="float16")
        assert logcosh_vae.load(f"{folder}/model").sample(4).shape == model.sample(4).shape


def check_messages() -> None:
    for code, names in NEEDS.items():
        message = None
        try:
            exec(code, {})
        except ImportError as error:
            message = str(error)
        assert message is not None, f"no error without {names}: {code}"
        extra = "hub" if names == "huggingface-hub" else "all"
        assert message.endswith(f" needs {names}: pip install 'logcosh-vae[{extra}]'"), message


if __name__ == "__main__":
    check_losses()
    check_gradients()
    check_trained_model(sys.argv[1])
    check_pretrained_model(sys.argv[1])
    check_messages()
    loaded = [name for name in OPTIONAL if sys.modules.get(name) is not None]
    assert not loaded, f"imported although optional: {loaded}"
    print(f"compiled kernel: {'loaded' if cpu_kernel.library() else 'missing'}")
