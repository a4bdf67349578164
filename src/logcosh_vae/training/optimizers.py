"""An optimizer for restoration networks: Muon for the inner convolution kernels, Adam for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
"""Of Muon, with Nesterov's correction."""

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""`a`, `b` and `c` of the quintic Newton-Schulz iteration (Jordan et al. 2024)."""

LIKELIHOOD_RATE = 10.0
"""Learning rate of a likelihood's scale and shape, as a multiple of that of the networks. Adam moves a parameter by at
most its rate per step; scales are logarithms and change by a factor of ten or more, which would take thousands of steps
at the rate that suits weights."""

ITERATIONS = 5
"""Newton-Schulz iterations per step."""


@torch.no_grad()
def orthogonalised(matrix: Tensor) -> Tensor:
    """Approximate the nearest matrix with orthonormal rows (or columns, if there are fewer columns than rows).

    Each Newton-Schulz iteration is `X <- (a + b G + c G^2) X` with `G = X X^T`. All factors are polynomials of the
    first `G`, so this multiplies the small square factors first and reads `X` twice instead of ten times. It computes
    in float32, because bfloat16 takes a third of a training step on CPUs without bfloat16 arithmetic.

    Args:
        matrix: `(m, n)`, floating point, not all zeros.

    Returns:
        `(m, n)`. Its singular values are between 0.6 and 1.3, except those that were below a thousandth of the largest.

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
    """Muon (Jordan et al. 2024) for convolution kernels and Adam for all other parameters.

    Muon updates a parameter by its orthogonalised momentum. Kernels are flattened to matrices with one row per output
    channel.

    Args:
        kernels: kernels of convolutions, `(out, in, height, width)`.
        others: biases, and the kernels of the first and the last convolution.
        muon_rate: learning rate for `kernels`.
        adam_rate: learning rate for `others`.
        scalars: parameters of a likelihood, for Adam; their learning rate is `LIKELIHOOD_RATE` times `adam_rate`.

    Example:
        >>> inside, outside = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 1)
        >>> optimizer = MuonWithAdam([inside.weight], [inside.bias, *outside.parameters()], 0.02, 1e-3)
        >>> outside(inside(torch.ones(1, 4, 8, 8))).mean().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        kernels: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        muon_rate: float,
        adam_rate: float,
        scalars: Iterable[nn.Parameter] = (),
    ) -> None:
        self.kernels = list(kernels)
        groups: list[dict[str, Any]] = [{"params": list(others), "lr": adam_rate}]
        if learned := list(scalars):
            groups.append({"params": learned, "lr": LIKELIHOOD_RATE * adam_rate})
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        self.adam = torch.optim.Adam([dict(group) for group in groups], fused=True)
        super().__init__([{"params": self.kernels, "lr": muon_rate}, *groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Raises:
            ValueError: `closure` is not None; closures are not supported.
        """
        if closure is not None:
            raise ValueError("MuonWithAdam.step does not support a closure; compute the gradients before calling it")
        rate, *adam_rates = (group["lr"] for group in self.param_groups)
        for group, adam_rate in zip(self.adam.param_groups, adam_rates, strict=True):
            group["lr"] = adam_rate
        for kernel, momentum in zip(self.kernels, self.momenta, strict=True):
            if kernel.grad is None:
                continue
            momentum.lerp_(kernel.grad, 1.0 - MOMENTUM)
            nesterov = kernel.grad.lerp(momentum, MOMENTUM).flatten(1)
            rows, columns = nesterov.shape
            kernel.add_(orthogonalised(nesterov).view_as(kernel), alpha=-rate * max(1.0, rows / columns) ** 0.5)
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the momenta, Adam's state and the learning rates."""
        return {
            "momenta": self.momenta,
            "adam": self.adam.state_dict(),
            "rates": [group["lr"] for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that `state_dict` returned for an optimizer over the same parameters."""
        for momentum, value in zip(self.momenta, state_dict["momenta"], strict=True):
            momentum.copy_(value)
        self.adam.load_state_dict(state_dict["adam"])
        for group, rate in zip(self.param_groups, state_dict["rates"], strict=True):
            group["lr"] = rate
