"""What a trained model makes of its latent space: likelihood of test images, KL divergence per latent variable, codes.

`density_statistics` measures the model as a density of images and how many latent variables it uses. `codes_of` returns
the codes that densities are fitted to, and `nearest_distances` serves the check against memorised training images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.records import optional
from ..data.batches import evaluation_batches
from ..losses import Likelihood
from ..models.autoencoder import VAE, WAE
from ..models.distributions import DiagonalGaussian
from ..training.loop import make_generator

ACTIVE_VARIANCE = 0.01
"""A latent variable is active if its posterior mean varies by more than this over the images (Burda et al. 2016)."""


@dataclass(frozen=True)
class DensityStatistics:
    """A model as a density of images, and its use of the latent space, on the test split.

    Attributes:
        nll_per_dimension: mean negative log-likelihood of a pixel value given a code from the posterior (for a WAE, the
            code), in nats. Pixels are densities on [0, 1], so it can be negative. None if the loss has no likelihood.
        elbo_per_dimension: negative evidence lower bound per pixel value, in nats, which is the former with the KL
            divergence: an upper bound of the negative log-likelihood of images. VAE only.
        kl: KL divergence of each latent variable, averaged over the images, in nats. VAE only.
        active_units: number of latent variables whose code varies by more than `ACTIVE_VARIANCE` over the images.
        latent_size: number of latent variables.
        scale: learned scale of the likelihood, averaged where there are several.
        shape: learned shape, likewise.
    """

    nll_per_dimension: float | None
    elbo_per_dimension: float | None
    kl: tuple[float, ...] | None
    active_units: int
    latent_size: int
    scale: float | None = optional()
    shape: float | None = optional()


@torch.inference_mode()
def density_statistics(
    model: VAE | WAE, likelihood: Likelihood | None, images: Tensor, seed: int, batch_size: int = 100
) -> DensityStatistics:
    """Measure a model as a density.

    Args:
        model: in evaluation mode.
        likelihood: of the pixels given the reconstruction, on the model's device; None if the loss has none.
        images: test images, `(N, C, H, W)`, uint8, on the model's device.
        seed: of the posterior samples.
        batch_size: images per forward pass.
    """
    generator = make_generator(seed, "density")
    nll, kl, means = 0.0, torch.zeros(model.latent_size, dtype=torch.float64), []
    for batch in evaluation_batches(images, batch_size):
        output = model(batch.images, generator)
        if likelihood is not None:
            nll += float(likelihood.nll(output.x_hat, batch.images).double().sum())
        if output.posterior is not None:
            kl += output.posterior.kl_per_variable().double().sum(0).cpu()
        means.append((output.z if output.posterior is None else output.posterior.mean).double().cpu())
    kl /= len(images)
    dimensions, is_vae = images[0].numel(), isinstance(model, VAE)
    nll_per_dimension = None if likelihood is None else nll / (len(images) * dimensions)
    elbo_per_dimension = None
    if nll_per_dimension is not None and is_vae:
        elbo_per_dimension = nll_per_dimension + float(kl.sum()) / dimensions
    learned = {} if model.likelihood is None else model.likelihood.averages()
    return DensityStatistics(
        nll_per_dimension=nll_per_dimension,
        elbo_per_dimension=elbo_per_dimension,
        kl=tuple(kl.tolist()) if is_vae else None,
        active_units=int((torch.cat(means).var(0, correction=0) > ACTIVE_VARIANCE).sum()),
        latent_size=model.latent_size,
        scale=learned.get("scale"),
        shape=learned.get("shape"),
    )


@torch.inference_mode()
def codes_of(model: VAE | WAE, images: Tensor, seed: int, batch_size: int = 100) -> Tensor:
    """Return one code per image, `(N, d)` on the CPU: drawn from the posterior of a VAE, computed by a WAE.

    Args:
        model: in evaluation mode.
        images: `(N, C, H, W)`, uint8.
        seed: of the draws from the posterior.
        batch_size: images per forward pass.
    """
    generator, device = make_generator(seed, "codes"), next(model.parameters()).device
    codes = []
    for batch in evaluation_batches(images, batch_size):
        x = batch.images.to(device)
        encoded = model.encode(x)
        codes.append((encoded.sample(generator) if isinstance(encoded, DiagonalGaussian) else encoded).cpu())
    return torch.cat(codes)


@torch.inference_mode()
def nearest_distances(images: Tensor, others: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the distance of each image to the nearest one of `others`, as root mean square error per pixel value.

    Args:
        images: `(N, C, H, W)`, float in [0, 1], on the device that computes.
        others: `(M, C, H, W)`, uint8.
        batch_size: number of `others` that are compared at once.

    Returns:
        `(N,)`, in [0, 1], on the same device.
    """
    flat = images.flatten(1).float()
    nearest = torch.full((len(flat),), torch.inf, device=flat.device)
    for batch in evaluation_batches(others, batch_size):
        distances = torch.cdist(flat, batch.images.to(flat.device).flatten(1).float())
        nearest = torch.minimum(nearest, distances.min(dim=1).values)
    return nearest.div(flat.shape[1] ** 0.5)
