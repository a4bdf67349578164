"""Losses, forward and backward, over sizes: ours, torch's, the published forms of log-cosh, and the memory's limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import LogCoshLoss, log_cosh, log_cosh_surrogate
from ..training.loop import make_generator
from .step import synchronize
from .timing import Contender

A = 100.0
LIMIT = "memory alone"
"""Prediction and target read once and the gradient written once, at the speed of a copy."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Prediction and target to a scalar."""

MSE = "torch mse_loss"
OURS, MODULE, GRADIENT_ONLY = "log_cosh", "LogCoshLoss", "log_cosh, gradient only"


def _keras(x: Tensor) -> Tensor:
    return x + F.softplus(-2.0 * x) - math.log(2.0)


def _torchmetrics(x: Tensor) -> Tensor:
    return torch.log((torch.exp(x) + torch.exp(-x)) / 2)


LOSSES: dict[str, Loss] = {
    OURS: lambda prediction, target: log_cosh(prediction, target, a=A).sum(),
    MODULE: LogCoshLoss(A, "sum"),
    GRADIENT_ONLY: lambda prediction, target: log_cosh_surrogate(prediction, target, a=A).sum(),
    MSE: lambda prediction, target: F.mse_loss(prediction, target, reduction="sum"),
    "torch smooth_l1_loss": lambda prediction, target: F.smooth_l1_loss(prediction, target, reduction="sum", beta=0.01),
    "torch huber_loss": lambda prediction, target: F.huber_loss(prediction, target, reduction="sum", delta=0.01),
    "log-cosh as in Keras": lambda prediction, target: _keras(A * (prediction - target)).sum() / A,
    "log-cosh as in torchmetrics": lambda prediction, target: _torchmetrics(A * (prediction - target)).sum() / A,
}


def contenders(count: int, device: str = "cpu", more: Mapping[str, Loss] | None = None) -> list[Contender]:
    """All losses on `count` pixels in [0, 1] whose residuals are those of a network halfway: 0.1 in the mean.

    Args:
        count: elements of prediction and target.
        device: where they are.
        more: further losses by name, beside those of `LOSSES`.
    """
    # for a GPU, a billion draws of the CPU would take longer than the measurement
    on_cpu = torch.device(device).type == "cpu"
    generator = make_generator(0, "benchmark") if on_cpu else torch.Generator(device).manual_seed(0)
    target = torch.rand(count, generator=generator, device=device)
    noise = torch.randn(count, generator=generator, device=device)
    prediction = torch.add(target, noise, alpha=0.12).clamp_(0.0, 1.0).requires_grad_()
    del noise

    def of(loss: Loss) -> Callable[[int], None]:
        def run(times: int) -> None:
            for _ in range(times):
                prediction.grad = None
                loss(prediction, target).backward()
            synchronize(device)

        return run

    whole, half = torch.empty_like(target), torch.empty_like(target[: count // 2])

    def copies(times: int) -> None:
        # a copy moves two tensors, a loss three
        for _ in range(times):
            whole.copy_(target)
            half.copy_(target[: count // 2])
        synchronize(device)

    return [*(Contender(name, of(loss)) for name, loss in {**LOSSES, **(more or {})}.items()), Contender(LIMIT, copies)]
