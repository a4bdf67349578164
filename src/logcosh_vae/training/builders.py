"""Build what `fit` trains from a resolved config: model, objective, optimizer, learning-rate schedule and step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..data.batches import Batch, to_unit
from ..losses import LOSSES, Likelihood, make_loss
from ..models.autoencoder import MODELS, VAE, WAE
from ..models.networks import HIDDEN, ImageShape, Size
from .config import TrainConfig, required
from .distributed import SINGLE_PROCESS, Processes
from .loop import Schedule, Step, make_generator
from .objective import Losses, Objective
from .optimizers import LIKELIHOOD_RATE

STD_IMAGES = 10_000
"""Number of images from which the initial scale of a learned likelihood is computed."""


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
            size=Size(HIDDEN if config.model.hidden is None else config.model.hidden, config.model.width or 1.0),
        )
    if config.model.max_log_variance is not None:
        model.max_log_variance = config.model.max_log_variance
    # Channels last is 1.2 to 1.7 times as fast on a CPU and suits tensor cores. On MPS the default layout is kept,
    # because its convolutions are untested here with any other.
    if config.model.network == "conv" and not config.device.startswith("mps"):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
    model.likelihood = build_likelihood(config, image_shape)
    model.trains_in_bfloat16 = bool(config.bfloat16)
    return model


def build_likelihood(config: TrainConfig, image_shape: ImageShape) -> Likelihood | None:
    """Build the likelihood of a resolved config, if something of it is learned.

    Args:
        config: resolved.
        image_shape: channels, height and width of the images.
    """
    objective = config.objective
    kind = LOSSES[objective.loss].likelihood
    if objective.likelihood is None or kind is None:
        return None
    options: dict[str, Any] = {"shape": objective.shape} if kind.takes_shape else {}
    per = required(objective.per, "objective.per")
    return kind(1.0, learn=objective.likelihood, per=per, image_shape=image_shape, **options)


def pixel_std(images: Tensor, per: str) -> Tensor:
    """Return the standard deviation of pixels about their mean over the images: the error of the best constant image.

    It is computed from the first `STD_IMAGES` images.

    Args:
        images: `(N, C, H, W)`, uint8.
        per: what has a standard deviation of its own: `image set`, `channel` or `pixel`.

    Returns:
        A float64 scalar, `(C, 1, 1)` or `(C, H, W)`, in units of the pixel value in [0, 1].
    """
    batches = [to_unit(batch).double() for batch in images[:STD_IMAGES].split(1000)]
    count = sum(map(len, batches))
    mean = sum((batch.sum(0) for batch in batches), torch.zeros(())) / count
    variance = sum(((batch - mean).square().sum(0) for batch in batches), torch.zeros(())) / count
    if per == "pixel":
        return variance.sqrt()
    return (variance.mean((1, 2), keepdim=True) if per == "channel" else variance.mean()).sqrt()


def build_objective(config: TrainConfig, model: VAE | WAE | None = None) -> Objective:
    """Build the objective of a resolved config.

    Args:
        config: resolved.
        model: built from the config; it holds the likelihood, if something of it is learned.
    """
    likelihood = None if model is None else model.likelihood
    return Objective(
        likelihood or make_loss(config.objective.loss, config.objective.a),
        required(config.objective.reconstruction_weight, "objective.reconstruction_weight"),
        config.objective.mmd_scales,
        config.objective.free_bits or 0.0,
        None if config.objective.warmup is None or model is None else torch.ones((), device=_device_of(model)),
    )


def _device_of(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def build_optimizer(config: TrainConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Build the config's Adam optimizer; `config` must be resolved.

    The parameters of a learned likelihood have a learning rate that is `LIKELIHOOD_RATE` times as large. Adam is fused
    (one pass over the weights) except on MPS, where torch chooses the implementation.
    """
    settings = config.optimizer
    betas = required(settings.betas, "optimizer.betas")
    fused = None if config.device.startswith("mps") else True
    networks = [weight for name, weight in model.named_parameters() if not name.startswith("likelihood.")]
    likelihood = [parameter for name, parameter in model.named_parameters() if name.startswith("likelihood.")]
    groups: list[dict[str, Any]] = [{"params": networks}]
    if likelihood:
        groups.append({"params": likelihood, "lr": LIKELIHOOD_RATE * settings.learning_rate})
    return torch.optim.Adam(groups, settings.learning_rate, betas, settings.eps, fused=fused)


def build_schedule(config: TrainConfig, steps: int, objective: Objective | None = None) -> Schedule:
    """Build the schedule of a resolved config.

    Args:
        config: its `optimizer.lr_milestones` multiply the learning rate after the epochs they name.
        steps: steps per epoch.
        objective: the weight of its divergence grows during the first `objective.warmup` epochs.
    """
    epochs, milestones = required(config.epochs, "epochs"), config.optimizer.lr_milestones or ()

    def factor(fraction: float) -> float:
        # The tolerance keeps the last step of an epoch within it, however the fraction was rounded.
        done = fraction * epochs - 1e-6
        return math.prod(multiplier for epoch, multiplier in milestones if done > epoch)

    def warm_up(fraction: float) -> None:
        if objective is not None and objective.divergence_weight is not None and config.objective.warmup is not None:
            objective.divergence_weight.fill_(min(1.0, fraction * epochs / config.objective.warmup))

    return Schedule(epochs, steps, config.seed, config.log_every, factor, warm_up)


def autoencoding_step(
    model: torch.nn.Module, objective: Objective, processes: Processes = SINGLE_PROCESS
) -> Step[Batch]:
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
