"""The parts of a restoration training: schedule, optimizer, training step and validation."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base import image_grid
from ..base.errors import TrainingError
from ..data.batches import to_unit
from ..losses import LOSSES, Loss
from ..losses.likelihood_base import Likelihood
from ..metrics.image_quality import psnr, ssim
from ..training.loop import Step
from ..training.objective import Losses
from ..training.optimizers import MuonWithAdam
from .config import RestorationConfig
from .corruptions import Corruption
from .examples import Examples
from .network import RestorationNetwork

MASK_WEIGHT = 0.02
"""Weight of the mask's cross-entropy beside the mean loss of a pixel, which is about as large once trained."""

NEAR_RADIUS, FAR_WEIGHT = 3, 0.2
"""Pixels that are further than the first from every corrupted one have the second as their weight, if the network takes
a hint: such networks are used where text was found."""

INITIAL_STD = 0.25
"""Standard deviation of the residuals with which a learned likelihood begins; pixels are in [0, 1]."""


def warmup_cosine(fraction: float) -> float:
    """Return the factor of the learning rates: a linear warm-up over 2% of the training times a cosine decay to 0."""
    return min(1.0, fraction / 0.02) * 0.5 * (1.0 + math.cos(math.pi * fraction))


def build_restoration_optimizer(network: RestorationNetwork, config: RestorationConfig) -> MuonWithAdam:
    """Return an optimizer with Muon for the inner kernels and Adam for the first and last kernel and the biases."""
    kernels = network.inner_kernels()
    scalars = [] if network.likelihood is None else list(network.likelihood.parameters())
    apart = {id(parameter) for parameter in (*kernels, *scalars)}
    others = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    return MuonWithAdam(kernels, others, config.learning_rate, config.adam_rate, scalars)


def build_likelihood(config: RestorationConfig) -> Likelihood | None:
    """Return the likelihood of a resolved config, if something of it is learned."""
    kind = LOSSES[config.loss].likelihood
    if config.likelihood is None or kind is None:
        return None
    likelihood = kind(1.0, learn=config.likelihood)
    likelihood.start_from(INITIAL_STD)
    return likelihood


def learned_values(network: RestorationNetwork) -> dict[str, float]:
    """Return scale and shape of a learned likelihood; empty without one."""
    return {} if network.likelihood is None else network.likelihood.averages()


def restoration_step(network: RestorationNetwork, loss: Loss, config: RestorationConfig) -> Step[Examples]:
    """Return the training step: restore the sources and compute the mean loss against their targets.

    With a mask, the cross-entropy between it and the pixels that are corrupted is added. With a hint, pixels near
    corrupted ones weigh more.
    """
    device = torch.device(config.device)
    criterion = network.likelihood or loss

    def on_device(images: Tensor) -> Tensor:
        return images.to(device, non_blocking=True)  # from pinned memory, while earlier kernels still run

    def step(examples: Examples, _: torch.Generator, compute_loss: bool) -> Losses:
        source = on_device(examples.source).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(config.bfloat16)):
            restored, mask = network.with_mask(source, None if examples.hint is None else on_device(examples.hint))
        restored = restored.float().contiguous()
        compare = loss.surrogate if network.likelihood is None and not compute_loss else criterion.value
        corrupted = None if examples.corrupted is None else on_device(examples.corrupted)
        weights = None if examples.hint is None or corrupted is None else near_weights(corrupted)
        total = torch.zeros((), device=device)
        for target in examples.targets:
            values = compare(restored, on_device(target))
            total = total + (values if weights is None else weights * values).mean() / len(examples.targets)
        if mask is not None and corrupted is not None:
            total = total + MASK_WEIGHT * F.binary_cross_entropy_with_logits(mask.float(), corrupted)
        total.backward()
        return {"loss": total.detach()} if compute_loss else {}

    return step


def near_weights(corrupted: Tensor) -> Tensor:
    """Return the weight of each pixel, with mean 1: `FAR_WEIGHT` of that of others if no corrupted pixel is near.

    Args:
        corrupted: `(N, 1, H, W)`, 1 where pixels are corrupted and 0 elsewhere.
    """
    near = F.max_pool2d(corrupted, 2 * NEAR_RADIUS + 1, 1, NEAR_RADIUS)
    weights = FAR_WEIGHT + (1.0 - FAR_WEIGHT) * near
    return weights / weights.mean()


@torch.inference_mode()
def validate(network: RestorationNetwork, corruption: Corruption, tiles: Tensor) -> dict[str, float]:
    """Return the mean PSNR and SSIM of restored tiles `(N, 3, H, W)`, uint8, corrupted with the evaluation strength.

    Raises:
        TrainingError: the network computes numbers that are not finite.
    """
    network.eval()
    device = next(network.parameters()).device
    sums = {"psnr": 0.0, "ssim": 0.0}
    for index, tile in enumerate(tiles):
        clean = to_unit(tile)
        corrupted = corruption.evaluation(clean, index)
        restored = network(corrupted[None].to(device))[0].cpu()
        if not bool(restored.isfinite().all()):
            raise TrainingError("training diverged: the network computes NaN or infinity; lower the learning rates")
        restored = restored.clamp(0.0, 1.0)
        sums["psnr"] += psnr(restored, clean)
        sums["ssim"] += ssim(restored, clean)
    return {name: value / len(tiles) for name, value in sums.items()}


def save_samples(network: RestorationNetwork, corruption: Corruption, tiles: Tensor, path: Path) -> None:
    """Write an image grid: a row of clean tiles, a row of corrupted ones, a row of restored ones."""
    network.eval()
    device = next(network.parameters()).device
    clean = to_unit(tiles)
    corrupted = torch.stack([corruption.evaluation(image, index) for index, image in enumerate(clean)])
    with torch.inference_mode():
        restored = network(corrupted.to(device)).cpu()
    image_grid.save(image_grid.grid(torch.cat([clean, corrupted, restored]), columns=len(tiles), scale=1), path)


def evenly_spaced(tiles: Tensor, count: int) -> Tensor:
    """Return at most `count` tiles at even distances; neighbouring tiles come from the same picture."""
    indices = torch.linspace(0, len(tiles) - 1, min(count, len(tiles))).round().long()
    return tiles[indices]
