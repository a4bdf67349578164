"""Squared L2 and L1 losses (paper, Eqs. 3 and 4), and the input checks that all losses share.

Every loss is a function of the residual `t = prediction - target` with these conventions:

- It is elementwise: the result has the shape of the inputs, and the caller reduces and weights it.
- Inputs are float16, bfloat16, float32 or float64 tensors on the same device. The result has their promoted dtype.
  float16 and bfloat16 are computed in float32 and rounded once. Under `torch.autocast` they give float32, as torch's
  own losses do: a sum of float16 values would overflow.
- TypeError for other dtypes or non-tensors; ValueError for unequal shapes, because losses do not broadcast.
- Both arguments may require a gradient. The gradient with respect to `target` is that of `prediction`, negated.
"""

from __future__ import annotations

import numbers
import sys

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_HALF_DTYPES = (torch.float16, torch.bfloat16)
NORMAL_A = 1e-30, 1e30
"""Open interval of `a` in which both `a` and `1 / a` are normal float32 numbers. Outside it, float64 is used."""


def autocast_is_on(tensor: Tensor) -> bool:
    """Return whether `torch.autocast` is on for a tensor's device; False on devices without it, such as `meta`."""
    device = tensor.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def float_under_autocast(tensor: Tensor) -> Tensor:
    """Return a float16 or bfloat16 tensor as float32 under `torch.autocast`, and any other tensor as it is.

    `torch.fx` records the call, so a traced module behaves in the same way under autocast.
    """
    if has_torch_function_unary(tensor):
        return handle_torch_function(float_under_autocast, (tensor,), tensor)
    return tensor.float() if tensor.dtype in _HALF_DTYPES and autocast_is_on(tensor) else tensor


def match_inputs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check the inputs of a loss and promote them to their common dtype.

    Returns:
        `(prediction, target)`, of the same shape and dtype.

    Raises:
        TypeError: `prediction` or `target` is not a float16, bfloat16, float32 or float64 tensor.
        ValueError: the shapes differ.
    """
    for name, value in (("prediction", prediction), ("target", target)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a floating-point tensor, got {type(value).__name__}")
        if value.dtype not in _DTYPES:
            raise TypeError(f"{name} must be a real floating-point tensor, got {value.dtype}")
    if prediction.shape != target.shape:
        shapes = tuple(prediction.shape), tuple(target.shape)
        raise ValueError(f"prediction and target must have the same shape, got {shapes[0]} and {shapes[1]}")
    dtype = torch.promote_types(prediction.dtype, target.dtype)
    if dtype in _HALF_DTYPES and autocast_is_on(prediction):
        dtype = torch.float32
    if prediction.dtype == target.dtype == dtype:
        return prediction, target
    return prediction.to(dtype), target.to(dtype)


def check_a(a: float) -> float:
    """Return `a` as a float.

    Raises:
        TypeError: `a` is not a real number (a bool, a string or a tensor, for example).
        ValueError: `a` is zero, negative, infinite or NaN.
    """
    if type(a) is not float and (isinstance(a, bool) or not isinstance(a, numbers.Real)):
        raise TypeError(f"a must be a positive finite number, got {a!r}")
    if not 0 < a <= sys.float_info.max:  # also false for NaN
        raise ValueError(f"a must be a positive finite number, got {a!r}")
    return float(a)


def residual(prediction: Tensor, target: Tensor, a: float = 1.0) -> Tensor:
    """Return `t = prediction - target` in a dtype wide enough for the inputs and for `a`.

    The dtype is float64 for float64 inputs and for `a` outside `NORMAL_A`, and float32 otherwise. The subtraction is
    the only rounding.
    """
    dtype = torch.float32 if prediction.dtype != torch.float64 and NORMAL_A[0] < a < NORMAL_A[1] else torch.float64
    return prediction.to(dtype) - target.to(dtype)


def squared_l2(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared L2 loss `t^2` with `t = prediction - target`, elementwise (paper, Eq. 3).

    The gradient with respect to `prediction` is `2 t`.

    Args:
        prediction: floating-point tensor of any shape.
        target: floating-point tensor of the same shape.

    Returns:
        A tensor of the same shape in the promoted dtype, with values in [0, inf).

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: the shapes differ.

    Example:
        >>> squared_l2(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))
        tensor([0.2500, 0.0000])
    """
    if has_torch_function_variadic(prediction, target):
        return handle_torch_function(squared_l2, (prediction, target), prediction, target)
    prediction, target = match_inputs(prediction, target)
    return residual(prediction, target).square().to(prediction.dtype)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """L1 loss `|t|` with `t = prediction - target`, elementwise (paper, Eq. 4).

    The gradient with respect to `prediction` is `sign(t)`, and 0 at `t = 0`.

    Args:
        prediction: floating-point tensor of any shape.
        target: floating-point tensor of the same shape.

    Returns:
        A tensor of the same shape in the promoted dtype, with values in [0, inf).

    Raises:
        TypeError: an argument is not a floating-point tensor.
        ValueError: the shapes differ.

    Example:
        >>> l1(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0]))
        tensor([0.5000, 0.0000])
    """
    if has_torch_function_variadic(prediction, target):
        return handle_torch_function(l1, (prediction, target), prediction, target)
    prediction, target = match_inputs(prediction, target)
    return residual(prediction, target).abs().to(prediction.dtype)
