"""Squared L2 and L1 of the residual `t = prediction - target`, and what all losses share (paper, Eqs. 3 and 4).

Every loss is a function `(prediction, target) -> tensor of the same shape`. It is elementwise: the caller reduces and
weights it. The inputs have the same shape and are float16, bfloat16, float32 or float64; the result has their promoted
dtype. Half formats are computed in float32 and rounded once. Other dtypes raise TypeError, unequal shapes ValueError.
"""

from __future__ import annotations

import numbers
import sys

import torch
from torch import Tensor

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
NORMAL_A = 1e-30, 1e30
"""Between these, float32 has room for `a` and for `1 / a`."""


def match_inputs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in their common dtype.

    Raises:
        TypeError: one of them is not a real floating-point tensor.
        ValueError: their shapes differ.
    """
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


def check_a(a: float) -> float:
    """Return `a` as a float; TypeError or ValueError unless it is a positive finite number."""
    if type(a) is not float and (isinstance(a, bool) or not isinstance(a, numbers.Real)):
        raise TypeError(f"a must be a positive finite number, got {a!r}")
    if not 0 < a <= sys.float_info.max:  # also false for NaN
        raise ValueError(f"a must be a positive finite number, got {a!r}")
    return float(a)


def residual(prediction: Tensor, target: Tensor, a: float = 1.0) -> Tensor:
    """Return `t`, rounded once, in a dtype wide enough for the inputs and for `a`."""
    dtype = torch.float32 if prediction.dtype != torch.float64 and NORMAL_A[0] < a < NORMAL_A[1] else torch.float64
    return prediction.to(dtype) - target.to(dtype)


def squared_l2(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error `t^2` of each element, in [0, inf); its gradient is `2t` (paper, Eq. 3).

    >>> squared_l2(torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]))
    tensor([0.2500, 0.0000])
    """
    prediction, target = match_inputs(prediction, target)
    return residual(prediction, target).square().to(prediction.dtype)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute error `|t|` of each element, in [0, inf); its gradient is `sign(t)`, 0 at 0 (paper, Eq. 4).

    >>> l1(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0]))
    tensor([0.5000, 0.0000])
    """
    prediction, target = match_inputs(prediction, target)
    return residual(prediction, target).abs().to(prediction.dtype)
