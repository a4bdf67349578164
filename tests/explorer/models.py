"""Models with random weights, and runs for the page made of them."""

import torch
from torch import nn

from logcosh_vae.explorer.runs import ExplorerRun, networks_of
from logcosh_vae.models import VAE, WAE, ImageShape, Size


def random_model(
    network: str, shape: ImageShape = (1, 28, 28), latent_size: int = 8, *, family: type[VAE | WAE] = VAE, seed: int = 0
) -> VAE | WAE:
    """A model in evaluation mode whose normalisations have statistics and whose images have contrast."""
    torch.manual_seed(seed)
    size = Size(hidden=(64, 48), width=0.0625)
    model = family.from_network(network, image_shape=shape, latent_size=latent_size, size=size)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, nn.Linear | nn.ConvTranspose2d):
            with torch.no_grad():
                module.weight.mul_(3.0)
    return model.eval()


def explorer_run(
    network: str, shape: ImageShape = (1, 28, 28), latent_size: int = 8, *, label: str | None = None, seed: int = 0
) -> ExplorerRun:
    """A run for the page with the networks of a random model."""
    model = random_model(network, shape, latent_size, seed=seed)
    return ExplorerRun(
        label or network, "a test", "mnist", shape, networks_of(model, shape), deviations=(1.0,) * latent_size
    )
