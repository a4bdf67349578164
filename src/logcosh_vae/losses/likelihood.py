"""Likelihoods of images given their reconstruction, with a scale and a shape that can be learned.

A reconstruction loss with a weight is a negative log-likelihood whose normaliser was dropped because scale and shape
are fixed. With the normaliser they can be learned by gradient descent, so that neither `a` nor the weight is set by
hand. Each likelihood extends one loss:

- `LogCoshLikelihood`: log-cosh, with scale `s = 1 / a` and shape `k = lambda / a`; see `distribution`.
- `GaussianLikelihood`: squared L2; its learned standard deviation is the sigma-VAE of Rybkin et al. (2021).
- `LaplaceLikelihood`: L1.

`lambda` is the weight of the reconstruction loss (paper, Eq. 8). Pixels are densities in units of the pixel value, so
with pixels in [0, 1] the negative log-likelihood per pixel can be negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal
from torch.overrides import has_torch_function_variadic

from .distribution import LogCoshDistribution, log_normaliser, standard_variance
from .likelihood_base import QUANTISATION_STD, Likelihood, holds
from .log_cosh import in_forward_mode, log_cosh, log_cosh_grad

SHAPE_RANGE = (1e-4, 1e6)
"""Bounds of a learned shape; beyond them the distribution is Laplace or Gaussian to all digits of float32."""

_MIDDLE = sum(map(math.log, SHAPE_RANGE)) / 2
_HALF_WIDTH = (math.log(SHAPE_RANGE[1]) - math.log(SHAPE_RANGE[0])) / 2


class _LogCoshTotal(torch.autograd.Function):
    """The sum of `log cosh(t / s)` over all pixels, with the kernels of the fixed loss; `s` is a scalar.

    The kernels compute the gradient together with the value. They record no graph, so a backward pass of which a second
    derivative is needed computes the gradient from the inputs again.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        a = 1 / float(scale)
        slope = log_cosh_grad(prediction, target, a=a)  # tanh(t / s)
        moment = torch.dot((prediction - target).flatten(), slope.flatten())
        ctx.save_for_backward(prediction, target, scale, slope, moment)
        ctx.a = a
        return a * log_cosh(prediction, target, a=a).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        prediction, target, scale, slope, moment = ctx.saved_tensors
        if torch.is_grad_enabled():
            u = (prediction - target) / scale
            prediction_grad = u.tanh() * (grads[0] / scale)
            return prediction_grad, -prediction_grad, -(u * prediction_grad).sum()
        prediction_grad = slope * (grads[0] * ctx.a)
        return prediction_grad, -prediction_grad, -grads[0] * moment * ctx.a**2


def _kernels_apply(prediction: Tensor, target: Tensor, scale: Tensor, shape: Tensor) -> bool:
    """Whether `_LogCoshTotal` can be used: on the CPU, for one scale, in plain eager mode.

    Tracing, function transforms and forward-mode differentiation need torch operations.
    """
    return not (
        torch.compiler.is_compiling()
        or has_torch_function_variadic(prediction, target, scale, shape)
        or in_forward_mode()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or not (prediction.is_cpu and target.is_cpu and scale.is_cpu)
        or prediction.dtype != target.dtype
        or prediction.dtype not in (torch.float32, torch.float64)
        or scale.ndim > 0
        or shape.ndim > 0
    )


class LogCoshLikelihood(Likelihood):
    """Likelihood with the log-cosh loss: `k log cosh(t / s) + log s + log B(1/2, k/2)` with `t = prediction - target`.

    Args:
        scale: `s = 1 / a`.
        shape: `k = lambda / a`, initial value if it is learned; learned shapes stay within `SHAPE_RANGE`.
        learn: `none`, `scale` or `scale+shape`.
        per: what shares a scale and a shape: `image set`, `channel` or `pixel`.
        image_shape: `(C, H, W)`; needed unless `per` is `image set`.
        min_std: lower bound of the learned standard deviation, in units of the pixel value.

    Raises:
        ValueError: as for `Likelihood`.

    Example:
        The paper's loss with `a = 100` and weight 1 is `scale = 0.01`, `shape = 0.01`, up to a constant:

        >>> likelihood = LogCoshLikelihood(0.01, 0.01)
        >>> x_hat, x = torch.tensor([0.5, 0.1]), torch.zeros(2)
        >>> nll = likelihood.nll(x_hat, x)
        >>> nll[0] - nll[1], log_cosh(x_hat, x, a=100.0).diff().neg()
        (tensor(0.4000), tensor([0.4000]))
    """

    def __init__(
        self,
        scale: float | Tensor = 1.0,
        shape: float | Tensor = 1.0,
        learn: str = "none",
        per: str = "image set",
        *,
        image_shape: Sequence[int] | None = None,
        min_std: float = QUANTISATION_STD,
    ) -> None:
        super().__init__(scale, learn, per, image_shape=image_shape, min_std=min_std, shape=shape)

    takes_shape: ClassVar[bool] = True

    def _init_shape(self, value: Tensor) -> None:
        if self.learn != "scale+shape":
            self.register_buffer("fixed_shape", value)
            return
        position = (value.double().log() - _MIDDLE) / _HALF_WIDTH
        if not holds(position.abs() < 1):
            raise ValueError(f"a learned shape must start between {SHAPE_RANGE[0]:g} and {SHAPE_RANGE[1]:g}")
        self.bounded_log_shape = nn.Parameter((_HALF_WIDTH * position.atanh()).to(value.dtype))

    @property
    def shape(self) -> Tensor:
        """The current shape `k`: a scalar, `(C, 1, 1)` or `(C, H, W)`."""
        if self.learn != "scale+shape":
            fixed: Tensor = self.get_buffer("fixed_shape")
            return fixed
        return (_MIDDLE + _HALF_WIDTH * (self.bounded_log_shape / _HALF_WIDTH).tanh()).exp()

    def distribution(self, prediction: Tensor) -> LogCoshDistribution:
        return LogCoshDistribution(prediction, self.scale, self.shape, validate_args=False)

    def equivalent(self) -> dict[str, Tensor]:
        return {"a": 1 / self.scale, "reconstruction_weight": self.shape / self.scale}

    @torch.no_grad()
    def averages(self) -> dict[str, float]:
        return {**super().averages(), "shape": float(self.shape.mean())}

    @classmethod
    def of_loss(cls, reconstruction_weight: float, a: float | None = None) -> Self:
        a = 1.0 if a is None else a
        return cls(1 / a, reconstruction_weight / a)

    def _nll(self, t: Tensor) -> Tensor:
        scale, shape = self.scale, self.shape
        u = t / scale
        return shape * log_cosh(u, torch.zeros_like(u)) + (scale.log() + log_normaliser(shape))

    def nll_total(self, prediction: Tensor, target: Tensor) -> Tensor:
        scale, shape = self.scale, self.shape
        if not _kernels_apply(prediction, target, scale, shape):
            return super().nll_total(prediction, target)
        log_cosh_total: Tensor = _LogCoshTotal.apply(prediction, target, scale)  # type: ignore[no-untyped-call]
        return shape * log_cosh_total + prediction.numel() * (scale.log() + log_normaliser(shape))

    def _unit_std(self) -> Tensor:
        return standard_variance(self.shape).sqrt()


class GaussianLikelihood(Likelihood):
    """Gaussian likelihood, `t^2 / (2 s^2) + log(s sqrt(2 pi))` (Rybkin et al. 2021, "sigma-VAE").

    Args:
        scale: standard deviation `s`. Other arguments as for `Likelihood`.

    Example:
        >>> GaussianLikelihood(0.1).nll(torch.tensor([0.2]), torch.tensor([0.1]))  # 1/2 + log(0.1 sqrt(2 pi))
        tensor([-0.8836])
    """

    def distribution(self, prediction: Tensor) -> Normal:
        return Normal(prediction, self.scale, validate_args=False)

    def equivalent(self) -> dict[str, Tensor]:
        return {"reconstruction_weight": 0.5 / self.scale.square()}

    @classmethod
    def of_loss(cls, reconstruction_weight: float, a: float | None = None) -> Self:  # noqa: ARG003 - the interface
        return cls(math.sqrt(0.5 / reconstruction_weight))

    def _nll(self, t: Tensor) -> Tensor:
        scale = self.scale
        return 0.5 * (t / scale).square() + (scale.log() + 0.5 * math.log(2 * math.pi))

    def _unit_std(self) -> Tensor:
        return torch.ones(())


class LaplaceLikelihood(Likelihood):
    """Laplace likelihood, `|t| / s + log(2 s)`.

    Args:
        scale: `s`; the standard deviation is `s sqrt(2)`. Other arguments as for `Likelihood`.

    Example:
        >>> LaplaceLikelihood(0.5).nll(torch.tensor([0.5]), torch.tensor([0.0]))  # 1 + log 1
        tensor([1.])
    """

    def distribution(self, prediction: Tensor) -> Laplace:
        return Laplace(prediction, self.scale, validate_args=False)

    def equivalent(self) -> dict[str, Tensor]:
        return {"reconstruction_weight": 1 / self.scale}

    @classmethod
    def of_loss(cls, reconstruction_weight: float, a: float | None = None) -> Self:  # noqa: ARG003 - the interface
        return cls(1 / reconstruction_weight)

    def _nll(self, t: Tensor) -> Tensor:
        scale = self.scale
        return (t / scale).abs() + (2 * scale).log()

    def _unit_std(self) -> Tensor:
        return torch.full((), math.sqrt(2))
