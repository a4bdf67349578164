"""Autograd functions of the log-cosh loss: numerically stable value, gradient, and forward mode.

`log_cosh.py` has the public interface. Below, `t = prediction - target` and `x = a t`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from . import cpu_kernel, cuda_kernels
from .elementwise import NORMAL_A, residual

# Polynomial P in s = x^2 - _CENTRE that approximates log(cosh(x)) / x^2 for |x| <= _BRANCH; coefficients in ascending
# order, computed by tools/log_cosh_coefficients.py
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
TINY_A = 1e-300  # below it, the residual of huge inputs can overflow although the loss does not


def apply(function: type[Function], *arguments: Any) -> Tensor:
    """Call `function.apply(*arguments)`, skipping its signature inspection, which takes longer than a small loss."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function.apply(*arguments)  # type: ignore[no-any-return]
    return super(Function, function).apply(*arguments)  # type: ignore[misc, no-any-return]  # the C++ apply


class LogCosh(Function):
    """The loss with its analytic gradient. Only the inputs are saved for the backward pass."""

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
                return _reduce(values, reduction)
        t = residual(prediction, target, a)
        x = t * a
        magnitude = x.abs()
        # near 0: x t P(s). Multiplying by x and t last keeps intermediate products from underflowing
        s = x.square().sub_(_CENTRE)
        coefficients = _DOUBLE if t.dtype == torch.float64 else _SINGLE
        near = s * coefficients[-1]
        for coefficient in coefficients[-2:0:-1]:
            near.add_(coefficient).mul_(s)
        near.add_(coefficients[0]).mul_(x).mul_(t)
        # otherwise: |t| - (log(2) - log1p(exp(-2|x|))) / a. |x| is clamped because exp(-40) is negligible next to
        # log(2), and subnormal results of exp are slow
        correction = magnitude.clamp(max=20.0).mul_(-2.0).exp_().log1p_().sub_(math.log(2.0)).div_(a)
        far = correction.add_(t.abs())
        value = torch.where(magnitude <= _BRANCH, near, far)
        # no unconditional `.to`: where it is a no-op, torch.compile loses the gradient (torch 2.11)
        return _reduce(value if value.dtype == prediction.dtype else value.to(prediction.dtype), reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float, str], output: Tensor) -> None:  # noqa: ARG004
        prediction, target, ctx.a, ctx.reduction = inputs
        ctx.save_for_backward(prediction, target)
        ctx.save_for_forward(prediction, target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        prediction, target = ctx.saved_tensors
        output_grad = grads[0] / prediction.numel() if ctx.reduction == "mean" else grads[0]
        grad = input_grad(prediction, target, ctx.a, output_grad)
        prediction_needs_grad, target_needs_grad, _, _ = ctx.needs_input_grad
        return grad if prediction_needs_grad else None, -grad if target_needs_grad else None, None, None


class LogCoshForwardMode(LogCosh):
    """`LogCosh` with forward-mode differentiation, which `torch.compile` cannot trace."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        prediction, target = ctx.saved_tensors
        derivative = _derivative(prediction, target, ctx.a)
        pairs = zip((derivative, -derivative), tangents[:2], strict=True)
        products = (partial * tangent for partial, tangent in pairs if tangent is not None)
        return _reduce(sum(products, torch.zeros_like(derivative)).to(prediction.dtype), ctx.reduction)


def _reduce(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


def _derivative(prediction: Tensor, target: Tensor, a: float) -> Tensor:
    """`tanh(a t)`, in the dtype of `residual`."""
    if a < TINY_A:
        prediction, target, a = prediction / 4, target / 4, 4 * a
    # the paper's 2 sigmoid(2 a t) - 1 is mathematically equal, but cancels near 0
    return (residual(prediction, target, a) * a).tanh()


def input_grad(prediction: Tensor, target: Tensor, a: float, output_grad: Tensor) -> Tensor:
    """The gradient with respect to `prediction`, `output_grad * tanh(a t)`."""
    # the kernels record no graph, which a second derivative needs
    if NORMAL_A[0] < a < NORMAL_A[1] and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        kernel = cuda_kernels.grad if prediction.is_cuda else cpu_kernel.grad
        result = kernel(prediction, target, a, output_grad)
        if result is not None:
            return result
    derivative = _derivative(prediction, target, a)
    return (derivative * output_grad.to(derivative.dtype)).to(prediction.dtype)


class Surrogate(Function):
    """The identity of `prediction` in the forward pass, with the gradient of log-cosh in the backward pass.

    In float16 the forward pass gives zeros instead: a sum of predictions can overflow where that of the loss does not.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(prediction: Tensor, target: Tensor, a: float) -> Tensor:  # noqa: ARG004
        return torch.zeros_like(prediction) if prediction.dtype == torch.float16 else prediction.view_as(prediction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:  # noqa: ARG004
        prediction, target, ctx.a = inputs
        ctx.save_for_backward(prediction, target)
        ctx.save_for_forward(prediction, target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        prediction, target = (tensor.detach() for tensor in ctx.saved_tensors)
        return input_grad(prediction, target, ctx.a, grads[0]), None, None


class SurrogateForwardMode(Surrogate):
    """`Surrogate` with forward-mode differentiation, which `torch.compile` cannot trace."""

    @staticmethod
    def forward(prediction: Tensor, target: Tensor, a: float) -> Tensor:  # noqa: ARG004
        # forward mode does not support views
        return torch.zeros_like(prediction) if prediction.dtype == torch.float16 else prediction.clone()

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        prediction, target = (tensor.detach() for tensor in ctx.saved_tensors)
        if tangents[0] is None:
            return torch.zeros_like(prediction)
        return (_derivative(prediction, target, ctx.a) * tangents[0]).to(prediction.dtype)
