"""Muon for the kernels inside a network and Adam for the rest of it, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class MuonWithAdam(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) moves kernels along their momentum made orthogonal; Adam moves all else.

    PyTorch's Muon takes matrices only, so it is given each kernel as one: a row an output, over the same memory.

    Args:
        kernels: of convolutions, `(out, in, height, width)`, contiguous or channels last; not to be moved afterwards.
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
        self.matrices = [nn.Parameter(_matrix(kernel.detach(), kernel)) for kernel in self.kernels]
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            if kernel.data_ptr() != matrix.data_ptr():
                raise ValueError(f"a kernel of shape {tuple(kernel.shape)} is neither contiguous nor channels last")
        self.muon = torch.optim.Muon(self.matrices, lr=muon_rate, weight_decay=0.0)
        self.adam = torch.optim.Adam(rest, lr=adam_rate, fused=True)
        groups = [{"params": self.kernels, "lr": muon_rate}, {"params": rest, "lr": adam_rate}]
        super().__init__(groups, {})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters by their gradients; there is no closure."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        self._pass_on_rates()
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad, kernel)
        self.muon.step()
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Both optimizers' states."""
        self._pass_on_rates()
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave, and its learning rates."""
        for inner, group, name in zip((self.muon, self.adam), self.param_groups, ("muon", "adam"), strict=True):
            inner.load_state_dict(state_dict[name])
            group["lr"] = inner.param_groups[0]["lr"]

    def _pass_on_rates(self) -> None:
        for inner, group in zip((self.muon, self.adam), self.param_groups, strict=True):
            inner.param_groups[0]["lr"] = group["lr"]


def _matrix(values: Tensor, kernel: Tensor) -> Tensor:
    """`(out, in, height, width)` as `(out, in * height * width)`, in the order of the kernel's memory."""
    return (values if kernel.is_contiguous() else values.permute(0, 2, 3, 1)).flatten(1)
