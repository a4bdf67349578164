"""The log-cosh loss (paper, Eqs. 2 and 5-7): value, gradient and surrogate, accurate for every residual and every `a`.

`log_cosh` is the elementwise function and `LogCoshLoss` the module. `log_cosh_grad` is the gradient itself and
`log_cosh_surrogate` a cheaper tensor with the right gradient but no meaningful value, for training steps that do not
log the loss. Each uses a fused kernel where one applies (`cpu_kernel`, `cuda_kernels`) and plain torch otherwise. For
dtypes and errors see `elementwise`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from . import cpu_kernel, cuda_kernels
from .elementwise import NORMAL_A, check_a, match_inputs, residual

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
_TINY_A = 1e-300  # below it the residual of huge numbers can overflow where the loss does not


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
        if NORMAL_A[0] < a < NORMAL_A[1] and not torch.compiler.is_compiling():
            if reduction != "none":
                total = cpu_kernel.total(prediction, target, a, mean=reduction == "mean")
                if total is not None:
                    return total
            if prediction.is_cuda:
                values = cuda_kernels.value(prediction, target, a, _SINGLE, _BRANCH)
            else:
                values = cpu_kernel.value(prediction, target, a)
            if values is not None:
                return _reduced(values, reduction)
        t = residual(prediction, target, a)
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
        grad = _input_grad(prediction, target, ctx.a, factors)
        for_prediction, for_target, _, _ = ctx.needs_input_grad
        return grad if for_prediction else None, -grad if for_target else None, None, None


class _LogCoshForwardMode(_LogCosh):
    """The same with forward-mode derivatives, which `torch.compile` cannot trace."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        prediction, target = ctx.saved_tensors
        derivative = _derivative(prediction, target, ctx.a)
        signed = zip((derivative, -derivative), tangents[:2], strict=True)
        tangent = sum((s * d for s, d in signed if d is not None), torch.zeros_like(derivative)).to(prediction.dtype)
        return _reduced(tangent, ctx.reduction)


def _reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


def _derivative(prediction: Tensor, target: Tensor, a: float) -> Tensor:
    if a < _TINY_A:
        prediction, target, a = prediction / 4, target / 4, 4 * a
    # 2 sigmoid(2 a t) - 1, as the paper writes it, is the same number but loses all its digits near 0
    return (residual(prediction, target, a) * a).tanh()


def _input_grad(prediction: Tensor, target: Tensor, a: float, factors: Tensor) -> Tensor:
    # compiled code leaves no graph for a second derivative
    if NORMAL_A[0] < a < NORMAL_A[1] and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        kernel = cuda_kernels.grad if prediction.is_cuda else cpu_kernel.grad
        result = kernel(prediction, target, a, factors)
        if result is not None:
            return result
    derivative = _derivative(prediction, target, a)
    return (derivative * factors.to(derivative.dtype)).to(prediction.dtype)


class _Surrogate(Function):
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
        return _input_grad(prediction, target, ctx.a, grads[0]), None, None


def log_cosh(prediction: Tensor, target: Tensor, *, a: float = 1.0) -> Tensor:
    """Log-cosh loss `log(cosh(a t)) / a` of each element, in [0, inf) (paper, Eq. 2).

    About `a t^2 / 2` for small `|a t|`, `|t| - log(2) / a` for large; the gradient is `tanh(a t)` (Eqs. 5-7).
    The relative error of both is below 5e-7 in float32 and 1e-15 in float64 where they are normal numbers.

    `a`, the curvature at 0, is any positive finite number (the paper uses 100 for pixels in [0, 1]); another value
    raises ValueError, no number TypeError. Shapes and dtypes: see the module. Either argument may require a gradient.

    >>> log_cosh(torch.tensor([0.01, -1.0]), torch.tensor([0.0, 0.0]), a=100.0)
    tensor([0.0043, 0.9931])
    """
    return _log_cosh(prediction, target, check_a(a), "none")


def _log_cosh(prediction: Tensor, target: Tensor, a: float, reduction: str) -> Tensor:
    """`log_cosh` of an `a` that is known to be right; the `sum` or `mean` of all elements is one node of the graph."""
    prediction, target = match_inputs(prediction, target)
    function = _LogCosh if torch.compiler.is_compiling() else _LogCoshForwardMode
    if a < _TINY_A and prediction.dtype == torch.float64:  # f(t; a) = 4 f(t / 4; 4 a)
        return 4 * _apply(function, prediction / 4, target / 4, 4 * a, reduction)
    return _apply(function, prediction, target, a, reduction)


def log_cosh_surrogate(prediction: Tensor, target: Tensor, *, a: float = 1.0) -> Tensor:
    """A tensor with the gradient of `log_cosh` in `prediction` but **not its value** (paper, Sec. 3.2).

    Cheaper than the loss where only the gradient is used: the backward pass alone computes anything. The target
    gets no gradient. Arguments and errors are those of `log_cosh`.

    >>> x_hat = torch.tensor([0.3], requires_grad=True)
    >>> log_cosh_surrogate(x_hat, torch.tensor([0.2]), a=10.0).sum().backward()
    >>> x_hat.grad  # tanh(1)
    tensor([0.7616])
    """
    a = check_a(a)
    return _apply(_Surrogate, *match_inputs(prediction, target), a)


@torch.no_grad()
def log_cosh_grad(prediction: Tensor, target: Tensor, *, a: float = 1.0, factor: float = 1.0) -> Tensor:
    """The derivative of `log_cosh` in `prediction` itself, `tanh(a t)`, times a factor (paper, Eqs. 5-7).

    To begin a backward pass with, where the loss is summed: no value and no graph is made. Other arguments, dtype and
    errors are those of `log_cosh`.

    >>> log_cosh_grad(torch.tensor([0.3, -9.0]), torch.tensor([0.2, 0.0]), a=10.0)
    tensor([ 0.7616, -1.0000])
    """
    a = check_a(a)
    prediction, target = match_inputs(prediction.detach(), target.detach())
    if prediction.is_cuda and NORMAL_A[0] < a < NORMAL_A[1] and not torch.compiler.is_compiling():
        result = cuda_kernels.grad(prediction, target, a, factor)
        if result is not None:
            return result
    factors = torch.full((), factor, dtype=prediction.dtype, device=prediction.device)
    return _input_grad(prediction, target, a, factors.expand_as(prediction))


class LogCoshLoss(nn.Module):
    """`log_cosh` as a module, used as `torch.nn.MSELoss` is; `reduction` is `mean`, `sum` or `none`.

    >>> LogCoshLoss(a=100.0, reduction="sum")(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]))
    tensor(0.9861)
    """

    def __init__(self, a: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.a = check_a(a)
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with `none` the elementwise loss."""
        return _log_cosh(prediction, target, self.a, self.reduction)

    def extra_repr(self) -> str:
        return f"a={self.a}, reduction={self.reduction!r}"
