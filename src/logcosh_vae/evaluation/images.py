"""Images of a trained autoencoder as tensors: samples, reconstructions and interpolations, in batches of one size.

The module also draws the real images that they are compared with, and computes the feature statistics of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import add

import torch
from torch import Tensor

from ..base.memory import check_memory
from ..base.text import counted
from ..data import ImageSet
from ..data.batches import evaluation_batches, to_unit
from ..metrics.classifier import feature_statistics
from ..metrics.frechet import FeatureStatistics
from ..models.autoencoder import VAE, WAE
from ..models.density import CodeDensity
from ..models.distributions import standard_normal
from ..training.loop import make_generator
from .features import Extractor

BATCH_SIZE = 100
"""Images per forward pass. The activations of larger batches do not fit the cache of a CPU."""


def choose_images(images: Tensor, count: int, seed: int, name: str) -> Tensor:
    """Draw images without replacement.

    Args:
        images: `(N, C, H, W)`, uint8.
        count: number of images to draw; all `N` are taken if there are fewer.
        seed: of the draw.
        name: purpose of the draw; draws for different purposes are independent.

    Returns:
        `(min(count, N), C, H, W)`, float32 in [0, 1].
    """
    return to_unit(images[choose_rows(images, count, seed, name)])


def choose_rows(images: Tensor, count: int, seed: int, name: str) -> Tensor:
    """Draw the indices of `choose_images`."""
    return torch.randperm(len(images), generator=make_generator(seed, name))[:count]


@torch.inference_mode()
def generate(model: VAE | WAE, count: int, seed: int, density: CodeDensity | None = None) -> Tensor:
    """Decode `count` latent codes drawn from the prior or from a density that was fitted to the codes of images.

    Codes from the prior depend only on the seed and the latent size, so models of the same latent size decode the same.

    Args:
        model: in evaluation mode.
        count: number of images.
        seed: of the draws.
        density: to draw from instead of the prior `N(0, I)`.

    Returns:
        Images `(count, C, H, W)` in [0, 1], on the CPU.
    """
    return _concatenated(generated_batches(model, count, seed, density), count)


def generated_batches(model: VAE | WAE, count: int, seed: int, density: CodeDensity | None = None) -> Iterator[Tensor]:
    """Yield the images of `generate` in batches."""
    like = next(model.parameters())
    generator = make_generator(seed, "generate")
    if density is None:
        codes = standard_normal((count, model.latent_size), like=like, generator=generator)
    else:
        codes = density.sample(count, generator).to(like)
    for batch in codes.split(BATCH_SIZE):
        yield model.decode(batch).cpu()


@torch.inference_mode()
def reconstruct(model: VAE | WAE, images: Tensor) -> Tensor:
    """Reconstruct images `(N, C, H, W)` in [0, 1]; the input and the result are on the CPU."""
    device = next(model.parameters()).device
    return _concatenated((model.reconstruct(batch.to(device)).cpu() for batch in images.split(BATCH_SIZE)), len(images))


def _concatenated(batches: Iterable[Tensor], count: int) -> Tensor:
    """Concatenate batches of `count` images, after checking that the memory suffices.

    Raises:
        ConfigError: it does not.
    """
    parts: list[Tensor] = []
    for batch in batches:
        if not parts:
            needed = 2 * count * batch[0].nbytes  # the parts and their concatenation
            check_memory(
                needed, f"computing {counted(count, 'image')} of shape {tuple(batch.shape[1:])}", "choose fewer images"
            )
        parts.append(batch)
    return torch.cat(parts)


def paired_reconstructions(model: VAE | WAE, real: Tensor, columns: int) -> Tensor:
    """Arrange images and their reconstructions for a grid: a row of images, then the row of their reconstructions.

    Args:
        model: in evaluation mode.
        real: `(N, C, H, W)` in [0, 1].
        columns: images per row of the grid; grey images fill the last two rows.

    Returns:
        `(2 * ceil(N / columns) * columns, C, H, W)` in [0, 1].
    """
    reconstructed = reconstruct(model, real)
    blank = torch.full((-len(real) % columns, *real.shape[1:]), 0.5)
    rows = [torch.cat([images, blank]).unflatten(0, (-1, columns)) for images in (real, reconstructed)]
    return torch.stack(rows, dim=1).flatten(0, 2)


@torch.inference_mode()
def interpolations(model: VAE | WAE, real: Tensor, steps: int) -> Tensor:
    """Interpolate in the latent space from image `i` to image `i + n`, for `2 n` images.

    Args:
        model: in evaluation mode.
        real: `(2 n, C, H, W)` in [0, 1].
        steps: images per pair, both ends included.

    Returns:
        `(n * steps, C, H, W)` in [0, 1], on the CPU, pair after pair.
    """
    half = len(real) // 2
    real = real.to(next(model.parameters()).device)
    return model.interpolate(real[:half], real[half : 2 * half], steps).flatten(0, 1).cpu()


_REAL_STATISTICS: dict[tuple[str, str], FeatureStatistics] = {}
"""Cache by fingerprint of the features and of the images, for a process that evaluates several runs."""


def real_statistics(images: ImageSet, extractor: Extractor) -> FeatureStatistics:
    """Return the feature statistics of all images of a split, computed once per process."""
    key = (extractor.fingerprint, images.fingerprint)
    if key not in _REAL_STATISTICS:
        batches = evaluation_batches(images.images, BATCH_SIZE)
        _REAL_STATISTICS[key] = reduce(add, (feature_statistics(extractor.features, batch.images) for batch in batches))
    return _REAL_STATISTICS[key]
