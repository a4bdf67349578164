"""From a config to what `fit` trains: model, objective, optimizer and step."""

from __future__ import annotations

import torch

from .config import ConfigError, TrainConfig
from .data.batches import Batch
from .losses import make_loss
from .models import MODELS, VAE, WAE
from .networks import ImageShape
from .objectives import Objective, Terms
from .training import Step, stream


def build_model(config: TrainConfig, image_shape: ImageShape) -> VAE | WAE:
    """The config's model with fresh weights, decided by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(config.seed, "weights").initial_seed())
        return MODELS[config.model.family].from_network(
            config.model.network,
            image_shape=image_shape,
            latent_size=config.model.latent_size,
            hidden=config.model.hidden,
        )


def build_objective(config: TrainConfig) -> Objective:
    """The config's objective; the config must be resolved."""
    if config.objective.weight is None:
        raise ConfigError("objective.weight is open: resolve() the config first")
    loss = make_loss(config.objective.loss, config.objective.a)
    return Objective(loss, config.objective.weight, config.objective.mmd_scales)


def build_optimizer(config: TrainConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Adam as the config says; fused, which takes one pass over the weights."""
    settings = config.optimizer
    return torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, fused=True
    )


def autoencoding_step(model: VAE | WAE, objective: Objective) -> Step:
    """The step of an auto-encoder: its loss is evaluated only where `fit` asks for exact terms."""

    def step(batch: Batch, generator: torch.Generator, exact: bool) -> Terms:
        output = model(batch.images, generator)
        if exact:
            return objective(output, batch.images, generator)
        return {"objective": objective.for_training(output, batch.images, generator)}

    return step
