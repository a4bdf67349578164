"""The losses by name: what `--loss` accepts, and how a config becomes a loss. A new loss is one line of `LOSSES`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .elementwise import check_a, l1, squared_l2
from .log_cosh import log_cosh, log_cosh_grad, log_cosh_surrogate

Elementwise = Callable[..., Tensor]
"""`(prediction, target, **parameters) -> tensor of the same shape`."""


@dataclass(frozen=True)
class LossKind:
    """A registered loss: `curvature` is the second derivative at 0 for a given `a`, inf at L1's corner."""

    elementwise: Elementwise
    curvature: Callable[[float], float]
    surrogate: Elementwise | None = None
    grad: Elementwise | None = None
    takes_a: bool = False


LOSSES: dict[str, LossKind] = {
    "l2": LossKind(squared_l2, curvature=lambda _: 2.0),
    "l1": LossKind(l1, curvature=lambda _: math.inf),
    "log-cosh": LossKind(log_cosh, lambda a: a, log_cosh_surrogate, log_cosh_grad, takes_a=True),
}


@dataclass(frozen=True)
class Loss:
    """A loss with its parameter bound: plain data that compares, hashes and pickles; made by `make_loss`."""

    name: str
    a: float | None = None

    def value(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each element."""
        return LOSSES[self.name].elementwise(prediction, target, **self._parameter)

    def surrogate(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss, or a cheaper tensor with the same gradient in `prediction`; not to be read as a value."""
        kind = LOSSES[self.name]
        return (kind.surrogate or kind.elementwise)(prediction, target, **self._parameter)

    def grad(self, prediction: Tensor, target: Tensor, factor: float = 1.0) -> Tensor:
        """The derivative of the loss in `prediction`, element by element, times a factor; in `prediction`'s dtype."""
        kind = LOSSES[self.name]
        if kind.grad is not None:
            return kind.grad(prediction, target, factor=factor, **self._parameter).to(prediction.dtype)
        with torch.enable_grad():
            variable = prediction.detach().requires_grad_()
            (grad,) = torch.autograd.grad(self.surrogate(variable, target.detach()).sum(), variable)
        return grad * factor

    @property
    def _parameter(self) -> dict[str, float]:
        return {} if self.a is None else {"a": self.a}

    @property
    def curvature(self) -> float:
        """Second derivative at `prediction == target`."""
        return LOSSES[self.name].curvature(1.0 if self.a is None else self.a)


def make_loss(name: str, a: float | None = None) -> Loss:
    """The loss called `name`, with `a` bound where it takes one (1 if not given).

    ValueError where there is no such loss, `a` is given to one without it, or `a` is not positive and finite.

    >>> make_loss("log-cosh", a=100).curvature
    100.0
    """
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, n=1, cutoff=0.0)
        raise ValueError(f"unknown loss {name!r}: did you mean {near[0]!r}? Known: {', '.join(LOSSES)}")
    if LOSSES[name].takes_a:
        return Loss(name, check_a(1.0 if a is None else a))
    if a is not None:
        raise ValueError(f"the loss {name!r} takes no a, got {a!r}")
    return Loss(name)
