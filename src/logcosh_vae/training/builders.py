"""Build what `fit` trains from a resolved config: model, objective, optimizer, learning-rate schedule and step."""

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
    """Build the config's model with initial weights that depend on `config.seed` only.

    Args:
        config: resolved.
        image_shape: channels, height and width of the images.

    Returns:
        The model, on the CPU. torch's global random state is left as it was.

    Raises:
        ValueError: the network cannot process images of this shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_generator(config.seed, "weights").initial_seed())
        model = MODELS[config.model.family].from_network(
            config.model.network,
            image_shape=image_shape,
            latent_size=required(config.model.latent_size, "model.latent_size"),
            size=Size(config.model.hidden or HIDDEN, config.model.width or 1.0),
        )
    # Channels last is 1.2 to 1.7 times as fast on a CPU and suits tensor cores. On MPS the default layout is kept,
    # because its convolutions are untested here with any other.
    if config.model.network == "conv" and not config.device.startswith("mps"):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
    model.trains_in_bfloat16 = bool(config.bfloat16)
    return model


def build_objective(config: TrainConfig) -> Objective:
    """Build the objective of a resolved config."""
    loss = make_loss(config.objective.loss, config.objective.a)
    return Objective(
        loss,
        required(config.objective.reconstruction_weight, "objective.reconstruction_weight"),
        config.objective.mmd_scales,
    )


def build_optimizer(config: TrainConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Build the config's Adam optimizer; `config` must be resolved.

    It is fused (one pass over the weights) except on MPS, where torch chooses the implementation.
    """
    settings = config.optimizer
    betas = required(settings.betas, "optimizer.betas")
    fused = None if config.device.startswith("mps") else True
    return torch.optim.Adam(model.parameters(), settings.learning_rate, betas, settings.eps, fused=fused)


def build_schedule(config: TrainConfig, steps: int) -> Schedule:
    """Build the schedule of a resolved config.

    Args:
        config: its `optimizer.lr_milestones` multiply the learning rate after the epochs they name.
        steps: steps per epoch.
    """
    epochs, milestones = required(config.epochs, "epochs"), config.optimizer.lr_milestones or ()

    def factor(fraction: float) -> float:
        # The tolerance keeps the last step of an epoch within it, however the fraction was rounded.
        done = fraction * epochs - 1e-6
        return math.prod(multiplier for epoch, multiplier in milestones if done > epoch)

    return Schedule(epochs, steps, config.seed, config.log_every, factor)


def autoencoding_step(model: torch.nn.Module, objective: Objective, processes: Processes = SINGLE_PROCESS) -> Step:
    """Build the training step of an autoencoder.

    Args:
        model: a VAE or WAE, or `Processes.data_parallel` of one. Its forward pass returns an `AutoencoderOutput`.
        objective: supplies the losses and the backward pass.
        processes: with several, the step takes this process's rows of the batch, compares the codes of all processes
            in the MMD, and returns the losses of the whole batch.
    """

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> Losses:
        output = model(batch.images, processes.local_noise(generator))
        if output.posterior is None:
            output = output._replace(z=processes.gather(output.z))
        return processes.average(objective.backward(output, batch.images, generator, compute_loss=compute_loss))

    return step
