"""Muon for the kernels inside a network and Adam for the rest of it, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
"""Of the quintic Newton-Schulz iteration (Jordan et al. 2024)."""


@torch.no_grad()
def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose rows (or columns, if they are fewer) are orthonormal.

    Each iteration is `X <- (a + b G + c G^2) X` with `G = X X^T`. All its factors are polynomials of the first `G`, so
    they are multiplied as small squares, and `X` is touched twice instead of ten times. It is done in float32:
    processors without bfloat16 arithmetic take a third of a training step for it in that.

    Args:
        matrix: `(m, n)`, not zero, floating point.

    Returns:
        `(m, n)`, singular values between 0.6 and 1.3, save those that were below a thousandth of the largest.

    Example:
        >>> wide = torch.randn(4, 16)
        >>> values = torch.linalg.svdvals(orthogonalised(wide))
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    a, b, c = COEFFICIENTS
    scaled = matrix / matrix.norm().clamp_min(1e-7)
    gram = scaled @ scaled.T
    unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product: Tensor = unit
    for _ in range(ITERATIONS):
        factor = torch.addmm(unit * a + gram * b, gram, gram, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    result: Tensor = product @ scaled
    return result


class MuonWithAdam(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) moves kernels along their momentum made orthogonal; Adam moves all else.

    A kernel is taken as a matrix with a row an output.

    Args:
        kernels: of convolutions, `(out, in, height, width)`.
        others: biases, and the kernels of the first and of the last convolution.
        muon_rate: learning rate for the kernels.
        adam_rate: learning rate for the others.

    Example:
        >>> inside, outside = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 1)
        >>> optimizer = MuonWithAdam([inside.weight], [inside.bias, *outside.parameters()], 0.02, 1e-3)
        >>> outside(inside(torch.ones(1, 4, 8, 8))).mean().backward()
        >>> optimizer.step()
    """

    def __init__(
        self, kernels: Iterable[nn.Parameter], others: Iterable[nn.Parameter], muon_rate: float, adam_rate: float
    ) -> None:
        self.kernels, rest = list(kernels), list(others)
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        self.adam = torch.optim.Adam(rest, lr=adam_rate, fused=True)
        super().__init__([{"params": self.kernels, "lr": muon_rate}, {"params": rest, "lr": adam_rate}], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters by their gradients; there is no closure."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        rate, self.adam.param_groups[0]["lr"] = (group["lr"] for group in self.param_groups)
        for kernel, momentum in zip(self.kernels, self.momenta, strict=True):
            if kernel.grad is None:
                continue
            momentum.lerp_(kernel.grad, 1.0 - MOMENTUM)
            ahead = kernel.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
            rows, columns = ahead.shape
            kernel.add_(orthogonalised(ahead).view_as(kernel), alpha=-rate * max(1.0, rows / columns) ** 0.5)
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Momenta, Adam's state, and both learning rates."""
        return {
            "momenta": self.momenta,
            "adam": self.adam.state_dict(),
            "rates": [group["lr"] for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        for momentum, value in zip(self.momenta, state_dict["momenta"], strict=True):
            momentum.copy_(value)
        self.adam.load_state_dict(state_dict["adam"])
        for group, rate in zip(self.param_groups, state_dict["rates"], strict=True):
            group["lr"] = rate
