"""Losses, forward and backward, over tensor sizes.

This package's log-cosh is timed beside torch's losses, two published formulas of log-cosh, and the limit of the memory.
"""

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
"""`a` of every log-cosh."""

LIMIT = "memory alone"
"""The limit: reads prediction and target once and writes the gradient once, at the speed of a copy."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps prediction and target to a scalar."""

MSE = "torch mse_loss"
OURS, MODULE, GRADIENT_ONLY = "log_cosh", "LogCoshLoss", "log_cosh, gradient only"
"""Names in results; the last is `log_cosh_surrogate`."""


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
    """Return all losses, and the limit, on `count` pixels in [0, 1].

    The residuals have a mean absolute value of about 0.1, as in the middle of a training.

    Args:
        count: elements of prediction and of target.
        device: torch device of the tensors.
        more: losses by name to time in addition to `LOSSES`.
    """
    # drawing a billion values on the CPU would take longer than the measurement on a GPU
    on_cpu = torch.device(device).type == "cpu"
    generator = make_generator(0, "benchmark") if on_cpu else torch.Generator(device).manual_seed(0)
    target = torch.rand(count, generator=generator, device=device)
    noise = torch.randn(count, generator=generator, device=device)
    prediction = torch.add(target, noise, alpha=0.12).clamp_(0.0, 1.0).requires_grad_()
    del noise

    def repeated(loss: Loss) -> Callable[[int], None]:
        def run(times: int) -> None:
            for _ in range(times):
                prediction.grad = None
                loss(prediction, target).backward()
            synchronize(device)

        return run

    whole, half = torch.empty_like(target), torch.empty_like(target[: count // 2])

    def copies(times: int) -> None:
        # a copy moves two tensors and a loss three, so copy one and a half
        for _ in range(times):
            whole.copy_(target)
            half.copy_(target[: count // 2])
        synchronize(device)

    return [
        *(Contender(name, repeated(loss)) for name, loss in {**LOSSES, **(more or {})}.items()),
        Contender(LIMIT, copies),
    ]
