"""Elementwise reconstruction losses of the residual `t = prediction - target` (paper, Eqs. 2-7).

Every loss is a function `(prediction, target) -> tensor of the same shape`; who calls it reduces and weighs.
The two are tensors of one shape, of float16, bfloat16, float32 or float64; the result has the promoted dtype, and
half formats are computed in float32 and rounded once. Other dtypes raise TypeError, unequal shapes ValueError.
A new loss is one function and one line of `LOSSES`.
"""

from __future__ import annotations

import difflib
import math
import numbers
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from .compiled import slope as compiled_slope
from .compiled import total as compiled_total
from .compiled import value as compiled_value
from .cuda_kernels import slope as cuda_slope
from .cuda_kernels import value as cuda_value

Elementwise = Callable[..., Tensor]

# log(cosh(x)) / x^2 for |x| <= _BRANCH in rising powers of x^2 - _CENTRE (tools/log_cosh_coefficients.py)
_BRANCH = 1.25
_CENTRE = _BRANCH**2 / 2
# fmt: off
_SINGLE = (  # relative error 1.3e-08
    0.44588789744256513, -0.05782944762011692, 0.011928506251172886, -0.0027865185848748434,
    0.0006906934737566492, -0.00017834322537978585, 5.202684822290441e-05, -1.4105149666882582e-05,
)
_DOUBLE = (  # relative error 4.0e-17
    0.44588790164926295, -0.05782944879067398, 0.011928286027834781, -0.0027864573070457608,
    0.0006924830256477808, -0.00017884110370851595, 4.743034969961814e-05, -1.2826798069312957e-05,
    3.521095098883052e-06, -9.780682225642452e-07, 2.743140456039388e-07, -7.763774842958595e-08,
    2.2097000151187082e-08, -6.171304995112349e-09, 1.7745762226337664e-09, -6.566236534804395e-10,
    1.906913803585259e-10,
)
# fmt: on
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_NORMAL_A = 1e-30, 1e30  # between them, float32 has room for a and for 1 / a
_TINY_A = 1e-300  # below it the residual of huge numbers can overflow where the loss does not


def _matched(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both arguments in their common dtype, once they are known to be floating and of one shape."""
    for name, value in (("prediction", prediction), ("target", target)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
        if value.dtype not in _DTYPES:
            raise TypeError(f"{name} must be a real floating-point tensor, got {value.dtype}")
    if prediction.shape != target.shape:
        shapes = tuple(prediction.shape), tuple(target.shape)
        raise ValueError(f"prediction and target must have the same shape, got {shapes[0]} and {shapes[1]}")
    if prediction.dtype == target.dtype:
        return prediction, target
    dtype = torch.promote_types(prediction.dtype, target.dtype)
    return prediction.to(dtype), target.to(dtype)


def _checked(a: float) -> float:
    if type(a) is not float and (isinstance(a, bool) or not isinstance(a, numbers.Real)):
        raise TypeError(f"a must be a positive finite number, got {a!r}")
    if not 0 < a <= sys.float_info.max:  # also false for NaN
        raise ValueError(f"a must be a positive finite number, got {a!r}")
    return float(a)


def _residual(prediction: Tensor, target: Tensor, a: float = 1.0) -> Tensor:
    """`t`, rounded once, in the dtype to compute in: wide enough for the inputs and for `a` itself."""
    dtype = torch.float32 if prediction.dtype != torch.float64 and _NORMAL_A[0] < a < _NORMAL_A[1] else torch.float64
    return prediction.to(dtype) - target.to(dtype)


def squared_l2(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error `t^2` of each element, in [0, inf); its gradient is `2t` (paper, Eq. 3).

    >>> squared_l2(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))
    tensor([0.2500, 0.0000])
    """
    prediction, target = _matched(prediction, target)
    return _residual(prediction, target).square().to(prediction.dtype)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute error `|t|` of each element, in [0, inf); its gradient is `sign(t)`, 0 at 0 (paper, Eq. 4).

    >>> l1(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([0.5000, 0.0000])
    """
    prediction, target = _matched(prediction, target)
    return _residual(prediction, target).abs().to(prediction.dtype)


def _apply(function: type[Function], *arguments: Any) -> Tensor:
    """`function.apply(*arguments)`, without its inspection of a signature, which takes longer than a small loss."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function.apply(*arguments)  # type: ignore[no-any-return]
    return super(Function, function).apply(*arguments)  # type: ignore[misc, no-any-return]  # what it comes down to


class _LogCosh(Function):
    """Value and gradient each in their own exact form; only the inputs are kept for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(prediction: Tensor, target: Tensor, a: float, reduction: str) -> Tensor:
        if _NORMAL_A[0] < a < _NORMAL_A[1] and not torch.compiler.is_compiling():
            if reduction != "none":
                total = compiled_total(prediction, target, a, mean=reduction == "mean")
                if total is not None:
                    return total
            if prediction.is_cuda:
                values = cuda_value(prediction, target, a, _SINGLE, _BRANCH)
            else:
                values = compiled_value(prediction, target, a)
            if values is not None:
                return _reduced(values, reduction)
        t = _residual(prediction, target, a)
        x = t * a
        magnitude = x.abs()
        # near 0: x t P(x^2), so that the rounding of x enters about once and no product underflows early
        s = x.square().sub_(_CENTRE)
        coefficients = _DOUBLE if t.dtype == torch.float64 else _SINGLE
        near = s * coefficients[-1]
        for c in coefficients[-2:0:-1]:
            near.add_(c).mul_(s)
        near.add_(coefficients[0]).mul_(x).mul_(t)
        # far out: |t| - (log 2 - log(1 + exp(-2|x|))) / a; exp(-40) vanishes beside log 2, subnormals are slow
        correction = magnitude.clamp(max=20.0).mul_(-2.0).exp_().log1p_().sub_(math.log(2.0)).div_(a)
        far = correction.add_(t.abs())
        value = torch.where(magnitude <= _BRANCH, near, far)
        # not `.to` in any case: where it does nothing, compiled code of torch 2.11 loses the gradient
        return _reduced(value if value.dtype == prediction.dtype else value.to(prediction.dtype), reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float, str], output: Tensor) -> None:  # noqa: ARG004
        prediction, target, ctx.a, ctx.reduction = inputs
        ctx.save_for_backward(prediction, target)
        ctx.save_for_forward(prediction, target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        prediction, target = ctx.saved_tensors
        factors = grads[0] / prediction.numel() if ctx.reduction == "mean" else grads[0]
        grad = _slope_times(prediction, target, ctx.a, factors)
        for_prediction, for_target, _, _ = ctx.needs_input_grad
        return grad if for_prediction else None, -grad if for_target else None, None, None


class _LogCoshForwardMode(_LogCosh):
    """The same with forward-mode derivatives, which `torch.compile` cannot trace."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        prediction, target = ctx.saved_tensors
        slope = _slope(prediction, target, ctx.a)
        signed = zip((slope, -slope), tangents[:2], strict=True)
        tangent = sum((s * d for s, d in signed if d is not None), torch.zeros_like(slope)).to(prediction.dtype)
        return _reduced(tangent, ctx.reduction)


def _reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


def _slope(prediction: Tensor, target: Tensor, a: float) -> Tensor:
    if a < _TINY_A:
        prediction, target, a = prediction / 4, target / 4, 4 * a
    # 2 sigmoid(2 a t) - 1, as the paper writes it, is the same number but loses all its digits near 0
    return (_residual(prediction, target, a) * a).tanh()


def _slope_times(prediction: Tensor, target: Tensor, a: float, factors: Tensor) -> Tensor:
    # compiled code leaves no graph for a second derivative
    if _NORMAL_A[0] < a < _NORMAL_A[1] and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        by = cuda_slope if prediction.is_cuda else compiled_slope
        done = by(prediction, target, a, factors)
        if done is not None:
            return done
    slope = _slope(prediction, target, a)
    return (slope * factors.to(slope.dtype)).to(prediction.dtype)


class _SlopeAlone(Function):
    """The prediction itself, whose gradient is that of the log-cosh loss."""

    generate_vmap_rule = True

    @staticmethod
    def forward(prediction: Tensor, target: Tensor, a: float) -> Tensor:  # noqa: ARG004
        return prediction.view_as(prediction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:  # noqa: ARG004
        prediction, target, ctx.a = inputs
        ctx.save_for_backward(prediction, target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        prediction, target = (tensor.detach() for tensor in ctx.saved_tensors)
        return _slope_times(prediction, target, ctx.a, grads[0]), None, None


def log_cosh(prediction: Tensor, target: Tensor, *, a: float = 1.0) -> Tensor:
    """Log-cosh loss `log(cosh(a t)) / a` of each element, in [0, inf) (paper, Eq. 2).

    About `a t^2 / 2` for small `|a t|`, `|t| - log(2) / a` for large; the gradient is `tanh(a t)` (Eqs. 5-7).
    The relative error of both is below 5e-7 in float32 and 1e-15 in float64 where they are normal numbers.

    `a`, the curvature at 0, is any positive finite number (the paper uses 100 for pixels in [0, 1]); another value
    raises ValueError, no number TypeError. Shapes and dtypes: see the module. Either argument may require a gradient.

    >>> log_cosh(torch.tensor([0.01, -1.0]), torch.tensor([0.0, 0.0]), a=100.0)
    tensor([0.0043, 0.9931])
    """
    return _log_cosh(prediction, target, _checked(a), "none")


def _log_cosh(prediction: Tensor, target: Tensor, a: float, reduction: str) -> Tensor:
    """`log_cosh` of an `a` that is known to be right; the `sum` or `mean` of all elements is one node of the graph."""
    prediction, target = _matched(prediction, target)
    function = _LogCosh if torch.compiler.is_compiling() else _LogCoshForwardMode
    if a < _TINY_A and prediction.dtype == torch.float64:  # f(t; a) = 4 f(t / 4; 4 a)
        return 4 * _apply(function, prediction / 4, target / 4, 4 * a, reduction)
    return _apply(function, prediction, target, a, reduction)


def log_cosh_gradient_only(prediction: Tensor, target: Tensor, *, a: float = 1.0) -> Tensor:
    """A tensor with the gradient of `log_cosh` in `prediction` but **not its value** (paper, Sec. 3.2).

    Cheaper than the loss where only the gradient is used: the backward pass alone computes anything. The target
    gets no gradient. Arguments and errors are those of `log_cosh`.

    >>> x_hat = torch.tensor([0.3], requires_grad=True)
    >>> log_cosh_gradient_only(x_hat, torch.tensor([0.2]), a=10.0).sum().backward()
    >>> x_hat.grad  # tanh(1)
    tensor([0.7616])
    """
    a = _checked(a)
    return _apply(_SlopeAlone, *_matched(prediction, target), a)


@torch.no_grad()
def log_cosh_slope(prediction: Tensor, target: Tensor, *, a: float = 1.0, factor: float = 1.0) -> Tensor:
    """The derivative of `log_cosh` in `prediction` itself, `tanh(a t)`, times a factor (paper, Eqs. 5-7).

    To begin a backward pass with, where the loss is summed: no value and no graph is made. Other arguments, dtype and
    errors are those of `log_cosh`.

    >>> log_cosh_slope(torch.tensor([0.3, -9.0]), torch.tensor([0.2, 0.0]), a=10.0)
    tensor([ 0.7616, -1.0000])
    """
    a = _checked(a)
    prediction, target = _matched(prediction.detach(), target.detach())
    if prediction.is_cuda and _NORMAL_A[0] < a < _NORMAL_A[1] and not torch.compiler.is_compiling():
        done = cuda_slope(prediction, target, a, factor)
        if done is not None:
            return done
    factors = torch.full((), factor, dtype=prediction.dtype, device=prediction.device)
    return _slope_times(prediction, target, a, factors.expand_as(prediction))


class LogCoshLoss(nn.Module):
    """`log_cosh` as a module, used as `torch.nn.MSELoss` is; `reduction` is `mean`, `sum` or `none`.

    >>> LogCoshLoss(a=100.0, reduction="sum")(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]))
    tensor(0.9861)
    """

    def __init__(self, a: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.a = _checked(a)
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with `none` the elementwise loss."""
        return _log_cosh(prediction, target, self.a, self.reduction)

    def extra_repr(self) -> str:
        return f"a={self.a}, reduction={self.reduction!r}"


@dataclass(frozen=True)
class LossKind:
    """A registered loss: `curvature` is the second derivative at 0 for a given `a`, inf at L1's corner."""

    elementwise: Elementwise
    curvature: Callable[[float], float]
    gradient_only: Elementwise | None = None
    slope: Elementwise | None = None
    takes_a: bool = False


LOSSES: dict[str, LossKind] = {
    "l2": LossKind(squared_l2, curvature=lambda _: 2.0),
    "l1": LossKind(l1, curvature=lambda _: math.inf),
    "log-cosh": LossKind(log_cosh, lambda a: a, log_cosh_gradient_only, log_cosh_slope, takes_a=True),
}


@dataclass(frozen=True)
class Loss:
    """A loss with its parameter bound: plain data that compares, hashes and pickles; made by `make_loss`."""

    name: str
    a: float | None = None

    def value(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each element."""
        return LOSSES[self.name].elementwise(prediction, target, **self._parameter)

    def gradient_only(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss, or a cheaper tensor with the same gradient in `prediction`; not to be read as a value."""
        kind = LOSSES[self.name]
        return (kind.gradient_only or kind.elementwise)(prediction, target, **self._parameter)

    def slope(self, prediction: Tensor, target: Tensor, factor: float = 1.0) -> Tensor:
        """The derivative of the loss in `prediction`, element by element, times a factor; in `prediction`'s dtype."""
        kind = LOSSES[self.name]
        if kind.slope is not None:
            return kind.slope(prediction, target, factor=factor, **self._parameter).to(prediction.dtype)
        with torch.enable_grad():
            variable = prediction.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.gradient_only(variable, target.detach()).sum(), variable)
        return slope * factor

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
        return Loss(name, _checked(1.0 if a is None else a))
    if a is not None:
        raise ValueError(f"the loss {name!r} takes no a, got {a!r}")
    return Loss(name)
