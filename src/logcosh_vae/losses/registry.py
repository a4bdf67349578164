"""Losses by name: `LOSSES` lists the values that `--loss` accepts, and `make_loss` binds a loss to its parameter.

To add a loss, write an elementwise function and add one entry to `LOSSES`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .elementwise import check_a, l1, squared_l2
from .likelihood import GaussianLikelihood, LaplaceLikelihood, LogCoshLikelihood
from .likelihood_base import Likelihood
from .log_cosh import log_cosh, log_cosh_grad, log_cosh_surrogate

Elementwise = Callable[..., Tensor]
"""A function `(prediction, target, **parameters)` that returns a tensor of the shape of `prediction`."""


@dataclass(frozen=True)
class LossKind:
    """An entry of `LOSSES`.

    Attributes:
        elementwise: the loss, `(prediction, target, **parameters)`.
        curvature: second derivative at residual 0 as a function of `a`; infinite for L1, which has a kink there.
        surrogate: a cheaper function with the gradient of `elementwise` but a meaningless value, or None.
        grad: the gradient with respect to `prediction` times the keyword argument `factor`, or None to use autograd.
        takes_a: whether the functions have the parameter `a`.
        likelihood: the likelihood with the gradient of the loss, up to a factor; None if there is none.
    """

    elementwise: Elementwise
    curvature: Callable[[float], float]
    surrogate: Elementwise | None = None
    grad: Elementwise | None = None
    takes_a: bool = False
    likelihood: type[Likelihood] | None = None


LOSSES: dict[str, LossKind] = {
    "l2": LossKind(squared_l2, curvature=lambda _: 2.0, likelihood=GaussianLikelihood),
    "l1": LossKind(l1, curvature=lambda _: math.inf, likelihood=LaplaceLikelihood),
    "log-cosh": LossKind(
        log_cosh, lambda a: a, log_cosh_surrogate, log_cosh_grad, takes_a=True, likelihood=LogCoshLikelihood
    ),
}


@dataclass(frozen=True)
class Loss:
    """A registered loss with its parameter bound. Use `make_loss` to create one: it checks the name and `a`.

    Instances hold plain data, so they can be compared, hashed and pickled.

    Attributes:
        name: a key of `LOSSES`.
        a: the parameter of log-cosh; None for losses without one.

    Example:
        >>> loss = make_loss("log-cosh", a=100.0)
        >>> loss.value(torch.tensor([0.5]), torch.tensor([0.0]))
        tensor([0.4931])
        >>> loss.grad(torch.tensor([0.5]), torch.tensor([0.0]), factor=0.25)
        tensor([0.2500])
    """

    name: str
    a: float | None = None

    def value(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Evaluate the loss elementwise.

        Args:
            prediction: floating-point tensor of any shape.
            target: floating-point tensor of the same shape.

        Returns:
            A tensor of the same shape in the promoted dtype, not reduced.

        Raises:
            TypeError: an argument is not a floating-point tensor.
            ValueError: the shapes differ.
        """
        return LOSSES[self.name].elementwise(prediction, target, **self._parameter)

    def surrogate(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return a tensor with the gradient of the loss with respect to `prediction`, but not its value.

        Backpropagate through it when the value is not needed. It is the loss itself if no cheaper form is registered.
        Arguments, shape, dtype and errors are those of `value`.
        """
        kind = LOSSES[self.name]
        return (kind.surrogate or kind.elementwise)(prediction, target, **self._parameter)

    def grad(self, prediction: Tensor, target: Tensor, factor: float = 1.0) -> Tensor:
        """Return `factor` times the gradient of the summed loss with respect to `prediction`, without a graph.

        Pass it to `torch.autograd.backward` as the output gradient of `prediction`. The result has the shape and dtype
        of `prediction`. Arguments and errors are those of `value`.
        """
        kind = LOSSES[self.name]
        if kind.grad is not None:
            return kind.grad(prediction, target, factor=factor, **self._parameter).to(prediction.dtype)
        with torch.enable_grad():
            leaf = prediction.detach().requires_grad_()
            (grad,) = torch.autograd.grad(self.surrogate(leaf, target.detach()).sum(), leaf)
        return grad * factor

    def likelihood(self, reconstruction_weight: float = 1.0) -> Likelihood | None:
        """Return the likelihood whose negative logarithm has the gradient of the weighted loss; None if there is none.

        Args:
            reconstruction_weight: `lambda` of Eq. 8.

        Example:
            >>> make_loss("l2").likelihood(0.5).scale  # a Gaussian with variance 1
            tensor(1.)
        """
        kind = LOSSES[self.name].likelihood
        return None if kind is None else kind.of_loss(reconstruction_weight, self.a)

    @property
    def _parameter(self) -> dict[str, float]:
        return {} if self.a is None else {"a": self.a}

    @property
    def curvature(self) -> float:
        """Second derivative of the loss at `prediction == target`: 2 for L2, infinite for L1, `a` for log-cosh."""
        return LOSSES[self.name].curvature(1.0 if self.a is None else self.a)


def make_loss(name: str, a: float | None = None) -> Loss:
    """Create the registered loss `name`.

    Args:
        name: a key of `LOSSES`: `l2`, `l1` or `log-cosh`.
        a: curvature of log-cosh at 0, positive and finite; 1 if None. Other losses have no such parameter.

    Raises:
        TypeError: `a` is not a real number.
        ValueError: `name` is unknown, `a` is not positive and finite, or the loss has no parameter `a`.

    Example:
        >>> make_loss("log-cosh", a=100).curvature
        100.0
    """
    if name not in LOSSES:
        nearest = difflib.get_close_matches(name, LOSSES, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown loss {name!r}: did you mean {nearest!r}? Known losses: {', '.join(LOSSES)}")
    if LOSSES[name].takes_a:
        return Loss(name, check_a(1.0 if a is None else a))
    if a is not None:
        raise ValueError(f"the loss {name!r} has no parameter a, got a={a!r}: leave a out")
    return Loss(name)
