"""Checks of a config against image sizes and memory, before images are loaded or weights are allocated."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from ..base.errors import ConfigError, RunError
from ..base.launch import local_world_size, rank_and_world_size
from ..base.memory import check_memory
from ..data.sizes import FIXED_SIZE
from ..models.autoencoder import VAE, WAE
from ..models.footprint import FLOAT_BYTES, activation_bytes, state_bytes, training_bytes, without_data
from ..models.networks import ImageShape
from .builders import build_model
from .config import TrainConfig

FIXED_SHAPE = (1, 28, 28)
"""Shape of the images of the data sets with a fixed size."""


def shape_of(config: TrainConfig) -> ImageShape:
    """Return channels, height and width of the images of a resolved config."""
    data = config.data
    if data.name in FIXED_SIZE or data.size is None or data.channels is None:
        return FIXED_SHAPE
    return data.channels, data.size[0], data.size[-1]


def check_network(config: TrainConfig, image_shape: ImageShape) -> VAE | WAE:
    """Return the config's network without data, after checking that it can process images of `image_shape`.

    Raises:
        ConfigError: it cannot, for example because the images are too small.
    """
    try:
        return without_data(lambda: build_model(config, image_shape))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def training_memory(config: TrainConfig, image_shape: ImageShape) -> int:
    """Return a lower bound of the memory of training a resolved config, in bytes: weights, Adam's averages, one batch.

    Of several processes of `torchrun` it is the memory of this one.

    Raises:
        ConfigError: the network cannot process the images.
    """
    model = check_network(config, image_shape)
    encoder, decoder = list(model.encoder.children()), list(model.decoder.children())
    rows = math.ceil(config.batch_size / rank_and_world_size()[1])
    activations = rows * (activation_bytes(encoder, image_shape) + activation_bytes(decoder, (model.latent_size,)))
    if config.model.family == "wae":  # the kernels of the MMD, for every pair of codes of the whole batch
        activations += FLOAT_BYTES * config.batch_size**2 * (2 * len(config.objective.mmd_scales) + 2)
    return training_bytes(state_bytes(model), activations)


def check_training_memory(config: TrainConfig, image_shape: ImageShape, device: torch.device | None = None) -> None:
    """Check that the memory suffices to train a resolved config; on a CPU for all processes of `torchrun` there.

    Raises:
        ConfigError: it does not, or the network cannot process the images.
    """
    channels, height, width = image_shape
    purpose = f"training {config.model_name} on images of {height}x{width}x{channels}"
    purpose += f" with batch_size {config.batch_size}"
    advice = "choose a smaller --size, batch_size or network"
    needed, on_gpu = training_memory(config, image_shape), device is not None and device.type == "cuda"
    check_memory(needed, purpose, advice, device if on_gpu else None)
    processes = local_world_size()
    if processes > 1 and not on_gpu:
        purpose += f" in {processes} processes"
        check_memory(processes * needed, purpose, f"{advice}, or fewer processes", shared=True)


def check_holds(weights: Path, needed: int) -> None:
    """Check that a file is large enough to hold weights of `needed` bytes, before memory is taken for them.

    A config from elsewhere may describe a network of any size, but its weights lie in a file beside it.

    Args:
        weights: the file; no error if it is missing.
        needed: size of the weights that the config describes.

    Raises:
        RunError: it is too small.
    """
    if weights.is_file() and weights.stat().st_size < needed:
        raise RunError(
            f"{weights} cannot be loaded: it has {weights.stat().st_size:,} bytes, but the network of config.json has "
            f"weights of {needed:,} bytes"
        )
