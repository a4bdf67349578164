"""The log-cosh loss (paper, Eqs. 2, 5, 6 and 7), accurate for every residual and every `a`.

- `log_cosh`: the elementwise loss.
- `LogCoshLoss`: the same as a module with a reduction.
- `log_cosh_grad`: its gradient, without a graph.
- `log_cosh_surrogate`: a tensor with its gradient but not its value, for training steps that do not log the loss.

Each uses a fused kernel where one is available (`cpu_kernel`, `cuda_kernels`) and torch operations otherwise
(`autograd`). The conventions on dtypes, shapes and errors are in `elementwise`. Below, `t = prediction - target`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function_variadic

from . import cuda_kernels
from .autograd import TINY_A, LogCosh, LogCoshForwardMode, Surrogate, SurrogateForwardMode, apply, input_grad
from .elementwise import NORMAL_A, check_a, match_inputs


def log_cosh(prediction: Tensor, target: Tensor, *, a: float = 1.0) -> Tensor:
    """Log-cosh loss `log(cosh(a t)) / a` with `t = prediction - target`, elementwise (paper, Eq. 2).

    It is close to `a t^2 / 2` for `|a t| << 1` and to `|t| - log(2) / a` for `|a t| >> 1`. The gradient with respect to
    `prediction` is `tanh(a t)` (Eq. 7); with respect to `target` it is `-tanh(a t)`. The relative error of value
    and gradient is below 5e-7 in float32 and 1e-15 in float64, as long as they are not subnormal.

    Args:
        prediction: float16, bfloat16, float32 or float64 tensor of any shape.
        target: tensor of the same shape and one of these dtypes.
        a: curvature at `t = 0`, positive and finite. The paper uses 100 for most models, with pixels in [0, 1].

    Returns:
        A tensor of the same shape in the promoted dtype, with values in [0, inf).

    Raises:
        TypeError: `prediction` or `target` is not a floating-point tensor, or `a` is not a real number.
        ValueError: the shapes differ, or `a` is not positive and finite.

    Example:
        >>> log_cosh(torch.tensor([0.01, -1.0]), torch.tensor([0.0, 0.0]), a=100.0)
        tensor([0.0043, 0.9931])
    """
    return _log_cosh(prediction, target, check_a(a), "none")


def _log_cosh(prediction: Tensor, target: Tensor, a: float, reduction: str) -> Tensor:
    """`log_cosh` for an `a` that was already checked, fused with its reduction (`none`, `sum` or `mean`)."""
    if has_torch_function_variadic(prediction, target):  # tensor subclasses, and the proxies of torch.fx
        arguments = (prediction, target, a, reduction)
        return handle_torch_function(_log_cosh, arguments[:2], *arguments)
    prediction, target = match_inputs(prediction, target)
    function = LogCosh if torch.compiler.is_compiling() else LogCoshForwardMode
    if a < TINY_A and prediction.dtype == torch.float64:  # f(t; a) = 4 f(t / 4; 4 a)
        return 4 * apply(function, prediction / 4, target / 4, 4 * a, reduction)
    return apply(function, prediction, target, a, reduction)


def log_cosh_surrogate(prediction: Tensor, target: Tensor, *, a: float = 1.0) -> Tensor:
    """Return a tensor with the gradient of `log_cosh` but **not its value** (paper, Sec. 3.2).

    The forward pass returns `prediction`, or zeros in float16, whose sum cannot overflow; it computes nothing. The
    backward pass computes `tanh(a t)`. Use it in training steps that do not log the loss. `target` gets no gradient,
    and second derivatives are not those of the loss.

    Args:
        prediction: floating-point tensor of any shape.
        target: floating-point tensor of the same shape.
        a: curvature of the loss at `t = 0`, positive and finite.

    Returns:
        A tensor of the same shape in the promoted dtype. Its values have no meaning.

    Raises:
        TypeError, ValueError: as in `log_cosh`.

    Example:
        >>> x_hat = torch.tensor([0.3], requires_grad=True)
        >>> log_cosh_surrogate(x_hat, torch.tensor([0.2]), a=10.0).sum().backward()
        >>> x_hat.grad  # tanh(1)
        tensor([0.7616])
    """
    a = check_a(a)
    if has_torch_function_variadic(prediction, target):
        inputs = (prediction, target)
        return handle_torch_function(log_cosh_surrogate, inputs, *inputs, a=a)
    prediction, target = match_inputs(prediction, target)
    forward_mode = not torch.compiler.is_compiling() and in_forward_mode()
    return apply(SurrogateForwardMode if forward_mode else Surrogate, prediction, target, a)


def in_forward_mode() -> bool:
    """Whether forward-mode differentiation may be under way: in `dual_level` or in a function transform."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


@torch.no_grad()
def log_cosh_grad(prediction: Tensor, target: Tensor, *, a: float = 1.0, factor: float = 1.0) -> Tensor:
    """Return the gradient of `factor * log_cosh(...).sum()` with respect to `prediction` (paper, Eq. 7).

    This is `factor * tanh(a t)`, elementwise. Pass it to `Tensor.backward` of the prediction to backpropagate without
    evaluating the loss. No graph is recorded.

    Args:
        prediction: floating-point tensor of any shape.
        target: floating-point tensor of the same shape.
        a: curvature of the loss at `t = 0`, positive and finite.
        factor: weight of the summed loss.

    Returns:
        A tensor of the same shape in the promoted dtype, with values in `[-|factor|, |factor|]`.

    Raises:
        TypeError, ValueError: as in `log_cosh`.

    Example:
        >>> log_cosh_grad(torch.tensor([0.3, -9.0]), torch.tensor([0.2, 0.0]), a=10.0)
        tensor([ 0.7616, -1.0000])
    """
    a = check_a(a)
    if has_torch_function_variadic(prediction, target):
        inputs = (prediction, target)
        return handle_torch_function(log_cosh_grad, inputs, *inputs, a=a, factor=factor)
    prediction, target = match_inputs(prediction.detach(), target.detach())
    if prediction.is_cuda and NORMAL_A[0] < a < NORMAL_A[1] and not torch.compiler.is_compiling():
        result = cuda_kernels.grad(prediction, target, a, factor)
        if result is not None:
            return result
    output_grad = torch.full((), factor, dtype=prediction.dtype, device=prediction.device)
    return input_grad(prediction, target, a, output_grad.expand_as(prediction))


class LogCoshLoss(nn.Module):
    """The log-cosh loss `log(cosh(a t)) / a` as a module, with the interface of `torch.nn.MSELoss` (paper, Eq. 2).

    On a CPU, the reductions `mean` and `sum` are computed in the same pass as the loss, without storing its elements.

    Args:
        a: curvature at `t = 0`, positive and finite.
        reduction: `mean` or `sum` over all elements, or `none` for the elementwise loss.

    Raises:
        TypeError: `a` is not a real number.
        ValueError: `a` is not positive and finite, or `reduction` is unknown.

    Example:
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
        """Return the reduced loss.

        Args:
            prediction: floating-point tensor of any shape.
            target: floating-point tensor of the same shape.

        Returns:
            A scalar in [0, inf), or a tensor of the shape of the inputs with `reduction="none"`.

        Raises:
            TypeError: an argument is not a floating-point tensor.
            ValueError: the shapes differ.
        """
        return _log_cosh(prediction, target, self.a, self.reduction)

    def extra_repr(self) -> str:
        return f"a={self.a}, reduction={self.reduction!r}"
