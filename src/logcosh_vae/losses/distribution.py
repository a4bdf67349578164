"""The distribution whose negative logarithm is the log-cosh loss, with a scale and a shape.

`exp(-lambda log_cosh(t; a))` is a density up to its normaliser. With scale `s = 1 / a` and shape `k = lambda / a`:

    p(t) = sech(t / s)^k / (s B(1/2, k/2)),    -log p(t) = k log cosh(t / s) + log s + log B(1/2, k/2)

The shape `k` interpolates between well-known distributions of the residual: Laplace (`k -> 0`, with scale `s / k`),
hyperbolic secant (`k = 1`), logistic (`k = 2`, with scale `s / 2`), Gaussian (`k -> inf`, with variance `s^2 / k`).

Everything follows from `v = sigmoid(2 t / s)`, which has the distribution `Beta(k/2, k/2)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all
from torch.overrides import handle_torch_function, has_torch_function_unary

from .log_cosh import log_cosh

_SHIFT = 10
"""Steps of the recurrence before the asymptotic series; its error is then below 2e-15."""

_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)
"""Coefficients of `1/y, 1/y^3, ...` in the asymptotic series of `log Gamma(y + 1/2) - log Gamma(y) - log(y) / 2`."""

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)
"""Coefficients of `1/y^3, 1/y^5, ...` in the asymptotic series of the trigamma function: the Bernoulli numbers."""

_MAX_ITERATIONS = 20_000
"""Bound on the iterations of the continued fraction; it needs about `2 sqrt(k)` of them."""


def log_normaliser(shape: Tensor) -> Tensor:
    """Return `log B(1/2, k/2)`, the logarithm of the integral of `sech(u)^k` over all `u`.

    It uses a recurrence and an asymptotic series instead of differences of `lgamma`, which would cancel for large `k`.
    It is differentiable, also twice, and the gradient is as accurate as the value.

    Args:
        shape: `k`, positive.

    Example:
        >>> log_normaliser(torch.tensor([1.0, 2.0])).exp()  # pi and 2
        tensor([3.1416, 2.0000])
    """
    if has_torch_function_unary(shape):
        return handle_torch_function(log_normaliser, (shape,), shape)
    x, y = shape / 2, shape / 2 + _SHIFT
    series = y.log() / 2 + _odd_series(y, _SERIES)
    return 0.5 * math.log(math.pi) - series + (0.5 / _shifted(x)).log1p().sum(-1)


def mean_log_cosh(shape: Tensor) -> Tensor:
    """Return the mean of `log cosh(t / s)` under the distribution, `-d/dk log B(1/2, k/2)`.

    Args:
        shape: `k`, positive.

    Example:
        >>> mean_log_cosh(torch.tensor([1.0]))  # log 2
        tensor([0.6931])
    """
    if has_torch_function_unary(shape):
        return handle_torch_function(mean_log_cosh, (shape,), shape)
    x, y = shape / 2, shape / 2 + _SHIFT
    derivatives = [(2 * power + 1) * coefficient for power, coefficient in enumerate(_SERIES)]
    shifted = _shifted(x)
    recurrence = (0.5 / (shifted * (shifted + 0.5))).sum(-1)
    return (0.5 / y - _odd_series(y, derivatives) / y + recurrence) / 2


def standard_variance(shape: Tensor) -> Tensor:
    """Return the variance at scale 1, `psi_1(k/2) / 2` with the trigamma function `psi_1`, differentiable.

    Args:
        shape: `k`, positive.

    Example:
        >>> standard_variance(torch.tensor([1.0]))  # (pi / 2)^2
        tensor([2.4674])
    """
    if has_torch_function_unary(shape):
        return handle_torch_function(standard_variance, (shape,), shape)
    x, y = shape / 2, shape / 2 + _SHIFT
    series = 1 / y + (0.5 + _odd_series(y, _BERNOULLI)) / y.square()
    return (series + _shifted(x).pow(-2).sum(-1)) / 2


def _shifted(x: Tensor) -> Tensor:
    """Return `x, x + 1, ..., x + _SHIFT - 1` along a new last dimension."""
    return x[..., None] + torch.arange(_SHIFT, dtype=x.dtype, device=x.device)


def _odd_series(y: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return `c_0 / y + c_1 / y^3 + c_2 / y^5 + ...` by Horner's scheme."""
    inverse = 1 / y
    square = inverse.square()
    total = torch.zeros_like(y)
    for coefficient in reversed(coefficients):
        total = total * square + coefficient
    return total * inverse


class LogCoshDistribution(Distribution):
    """Distribution with the density `sech((x - loc) / s)^k / (s B(1/2, k/2))`.

    Args:
        loc: location, which is mean, median and mode.
        scale: `s`, positive; `1 / a` in the notation of the paper.
        shape: `k`, positive; `lambda / a` in the notation of the paper.
        validate_args: whether to check parameters and values; torch's default if None.

    Raises:
        ValueError: a parameter is out of range, or the shapes of the parameters cannot be broadcast.

    Example:
        >>> LogCoshDistribution(0.0, 1.0, 1.0).log_prob(torch.tensor(0.0))  # hyperbolic secant: -log(pi)
        tensor(-1.1447)
    """

    arg_constraints = {  # noqa: RUF012 - torch declares it as an instance attribute
        "loc": constraints.real,
        "scale": constraints.positive,
        "shape": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, shape: Tensor | float, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.shape = broadcast_all(loc, scale, shape)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> LogCoshDistribution:
        new: LogCoshDistribution = self._get_checked_instance(LogCoshDistribution, _instance)  # type: ignore[no-untyped-call]
        batch_shape = torch.Size(batch_shape)
        new.loc, new.scale, new.shape = (p.expand(batch_shape) for p in (self.loc, self.scale, self.shape))
        super(LogCoshDistribution, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """`s^2 psi_1(k/2) / 2`."""
        return self.scale.square() * standard_variance(self.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the logarithm of the density at `value`, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        u = self._standardised(value)
        log_density: Tensor = -self.shape * log_cosh(u, torch.zeros_like(u)) - log_normaliser(self.shape)
        return log_density - self.scale.log()

    def entropy(self) -> Tensor:
        """Return the differential entropy, in nats."""
        return self.shape * mean_log_cosh(self.shape) + self.scale.log() + log_normaliser(self.shape)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - the signature of torch
        """Draw samples that are differentiable with respect to the parameters.

        `t = s / 2 (log G - log G')` with two independent `G ~ Gamma(k/2)`. For small `k`, the gamma variable itself
        would underflow. Its logarithm is drawn instead: it has the distribution of `log G + log(U) / x` with
        `G ~ Gamma(x + 1)` and a uniform `U`.
        """
        x = (self.shape / 2).expand(self._extended_shape(sample_shape))
        difference = _log_gamma_sample(x) - _log_gamma_sample(x)
        return self.loc + self.scale * (difference / 2).to(self.scale.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """Return the probability of a sample below `value`. It is computed in float64 and has no gradient."""
        if self._validate_args:
            self._validate_sample(value)
        with torch.no_grad():
            u = self._standardised(value).double()
            tail = _log_tail(u.abs(), self.shape.double()).exp()
            return torch.where(u < 0, tail, 1 - tail).to(value.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """Return the quantile for the probability `value`, in [0, 1]. It is computed in float64 and has no gradient."""
        if self._validate_args and not bool(((value >= 0) & (value <= 1)).all()):
            raise ValueError("probabilities must be in [0, 1]")
        with torch.no_grad():
            p, shape, scale, loc = torch.broadcast_tensors(
                value.double(), self.shape.double(), self.scale.double(), self.loc.double()
            )
            u = _inverse_log_tail(torch.minimum(p, 1 - p).log(), shape)
            quantile: Tensor = loc + scale * torch.where(p < 0.5, -u, u)
            return quantile.to(value.dtype)

    def _standardised(self, value: Tensor) -> Tensor:
        standardised: Tensor = (value - self.loc) / self.scale
        return standardised


def _log_gamma_sample(x: Tensor) -> Tensor:
    """Draw the logarithm of a gamma variable of shape `x`, in float64 where the device has it."""
    x = x if x.device.type == "mps" else x.double()
    uniform = torch.rand_like(x).clamp_min(torch.finfo(x.dtype).tiny)
    return torch._standard_gamma(x + 1).log() + uniform.log() / x


def _log_tail(u: Tensor, shape: Tensor) -> Tensor:
    """Return the logarithm of the probability above `u`, for `u >= 0` in units of the scale.

    With `x = sigmoid(-2 u)`, the probability is the regularised incomplete beta function `I_x(k/2, k/2)`, whose power
    in front is `sech(u)^k / (k B(1/2, k/2))`. As `x <= 1/2`, its continued fraction converges (DLMF 8.17.22).
    """
    u, shape = torch.broadcast_tensors(u, shape)
    front = -shape * log_cosh(u, torch.zeros_like(u)) - shape.log() - log_normaliser(shape)
    return front + _continued_fraction(torch.sigmoid(-2 * u), shape / 2).log()


def _continued_fraction(x: Tensor, alpha: Tensor) -> Tensor:
    """Return the continued fraction of `I_x(alpha, alpha)` by the method of Lentz, for `x <= 1/2`."""
    tiny = 1e-300
    d = 1 / (1 - 2 * alpha * x / (alpha + 1))
    c, value = torch.ones_like(x), d
    for m in range(1, _MAX_ITERATIONS):
        even = m * (alpha - m) * x / ((alpha + 2 * m - 1) * (alpha + 2 * m))
        odd = -(alpha + m) * (2 * alpha + m) * x / ((alpha + 2 * m) * (alpha + 2 * m + 1))
        before = value
        for numerator in (even, odd):
            d = 1 + numerator * d
            d = 1 / torch.where(d.abs() < tiny, tiny, d)
            c = 1 + numerator / c
            c = torch.where(c.abs() < tiny, tiny, c)
            value = value * c * d
        if bool(((value - before).abs() <= 1e-15 * value.abs()).all()):
            break
    return value


def _inverse_log_tail(log_probability: Tensor, shape: Tensor) -> Tensor:
    """Return `u >= 0` with `_log_tail(u, shape) == log_probability`, for values up to `log(1/2)`.

    Newton's method from the right. The probability above `u` is at most `sech(u)^k / 2`, because the hazard rate is at
    least `k tanh(u)`; where this bound has the wanted value is the first iterate. The logarithm of the tail is concave,
    because that of the density is, so that the iterates decrease to the solution.
    """
    finite = log_probability > -math.inf
    target = torch.where(finite, log_probability, -1.0)
    log_cosh_bound = (-(target + math.log(2)) / shape).clamp_min(0)
    u = log_cosh_bound + torch.log1p((-torch.expm1(-2 * log_cosh_bound)).sqrt())
    for _ in range(200):
        log_tail = _log_tail(u, shape)
        log_density = -shape * log_cosh(u, torch.zeros_like(u)) - log_normaliser(shape)
        step = (log_tail - target) * (log_tail - log_density).exp()
        u = (u + step).clamp_min(0)
        if bool((step >= -1e-14 * u).all()):
            break
    return torch.where(finite, u, math.inf)
