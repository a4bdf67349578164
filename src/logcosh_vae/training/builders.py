"""From a config to what `fit` trains: model, objective, optimizer and step."""

from __future__ import annotations

import math

import torch

from ..data.batches import Batch
from ..losses import make_loss
from ..models.autoencoder import MODELS, VAE, WAE
from ..models.networks import HIDDEN, ImageShape, Size
from .config import TrainConfig, required
from .distributed import SINGLE_PROCESS, Processes
from .loop import Schedule, Step, make_generator
from .objective import Losses, Objective


def build_model(config: TrainConfig, image_shape: ImageShape) -> VAE | WAE:
    """The config's model with fresh weights, decided by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_generator(config.seed, "weights").initial_seed())
        model = MODELS[config.model.family].from_network(
            config.model.network,
            image_shape=image_shape,
            latent_size=required(config.model.latent_size, "model.latent_size"),
            size=Size(config.model.hidden or HIDDEN, config.model.width or 1.0),
        )
    # channels last: 1.2 to 1.7 times as fast on a CPU, and what tensor cores want
    if config.model.network == "conv":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
    model.trains_in_bfloat16 = bool(config.bfloat16)
    return model


def build_objective(config: TrainConfig) -> Objective:
    """The config's objective; the config must be resolved."""
    loss = make_loss(config.objective.loss, config.objective.a)
    return Objective(
        loss,
        required(config.objective.reconstruction_weight, "objective.reconstruction_weight"),
        config.objective.mmd_scales,
    )


def build_optimizer(config: TrainConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Adam as the config says; fused, which takes one pass over the weights."""
    settings = config.optimizer
    betas = required(settings.betas, "optimizer.betas")
    return torch.optim.Adam(model.parameters(), settings.learning_rate, betas, settings.eps, fused=True)


def build_schedule(config: TrainConfig, steps: int) -> Schedule:
    """The config's epochs of `steps` each, the learning rate multiplied after the epochs it names."""
    epochs, milestones = required(config.epochs, "epochs"), config.optimizer.lr_milestones or ()

    def factor(fraction: float) -> float:
        # the last step of an epoch still belongs to it, whichever way the fraction was rounded
        done = fraction * epochs - 1e-6
        return math.prod(by for after, by in milestones if done > after)

    return Schedule(epochs, steps, config.seed, config.log_every, factor)


def autoencoding_step(model: VAE | WAE, objective: Objective, processes: Processes = SINGLE_PROCESS) -> Step:
    """The step of an autoencoder. Of several processes each has its rows of the batch; the MMD is over all codes."""

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> Losses:
        output = model(batch.images, processes.local_noise(generator))
        if output.posterior is None:
            output = output._replace(z=processes.gather(output.z))
        return processes.average(objective.backward(output, batch.images, generator, compute_loss=compute_loss))

    return step
