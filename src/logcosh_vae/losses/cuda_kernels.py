"""Fused GPU kernels for the log-cosh loss and its gradient, each in one pass over memory.

`torch.cuda.jiterator` compiles them on first use; no compiler needs to be installed. `value` and `grad` return None
where the kernels do not apply, and the caller then uses torch operations. This is the case if

- the tensors are not on one GPU, or are not of one of the dtypes float32, float16 and bfloat16,
- a tensor has no data: under function transforms, tracing, or dispatch modes such as fake tensors, or
- torch was built without jiterator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""Supported dtypes; jiterator computes float16 and bfloat16 in float32 and rounds once."""

Kernel = Callable[..., Tensor]

# jiterator takes the function name from the text after the last ">", so comparisons must be written with "<"
_GRAD_SCALAR_FACTOR = """template <typename T> T log_cosh_grad(T prediction, T target, T a, T factor) {
    return tanh(a * (prediction - target)) * factor;
}"""
_GRAD_TENSOR_FACTOR = """template <typename T> T log_cosh_grad_tensor_factor(T prediction, T target, T factor, T a) {
    return tanh(a * (prediction - target)) * factor;
}"""


@cache
def _value_code(coefficients: tuple[float, ...], branch: float) -> str:
    """Source of the kernel `log(cosh(x)) / a`, `x = a t`, for the polynomial `P` with these coefficients.

    It computes `x t P(x^2 - branch^2 / 2)` for `|x| <= branch`, else `|t| - (log(2) - log1p(exp(-2|x|))) / a`.
    """
    polynomial = f"T({coefficients[-1]!r})"
    for coefficient in coefficients[-2::-1]:
        polynomial = f"({polynomial} * s + T({coefficient!r}))"
    return f"""
    template <typename T> T log_cosh_value(T prediction, T target, T a, T inverse) {{
        const T t = prediction - target;
        const T x = a * t;
        const T magnitude = fabs(x);
        const T s = x * x - T({branch**2 / 2!r});
        const T near = {polynomial} * x * t;
        const T far = fabs(t) + (log1p(exp(T(-2) * magnitude)) - T({math.log(2.0)!r})) * inverse;
        return magnitude <= T({branch!r}) ? near : far;
    }}
    """


@cache
def _kernel(code: str, **scalars: float) -> Kernel | None:
    """The compiled kernel with these default scalars, or None if torch cannot compile it."""
    try:
        function: Kernel = torch.cuda.jiterator._create_jit_fn(code, **scalars)
        probe = torch.zeros(1, device="cuda")
        function(*[probe] * (3 if code is _GRAD_TENSOR_FACTOR else 2))
    except (RuntimeError, AttributeError, AssertionError):
        return None
    return function


def _supported(*tensors: Tensor) -> bool:
    """Whether all are plain tensors with data, on one device and of one supported dtype."""
    first = tensors[0]
    if first.dtype not in _DTYPES or torch._C._len_torch_dispatch_stack():
        return False
    for tensor in tensors:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.device != first.device or tensor.dtype != first.dtype:
            return False
        try:
            tensor.data_ptr()
        except RuntimeError:  # inside a function transform
            return False
    return True


def value(
    prediction: Tensor, target: Tensor, a: float, coefficients: tuple[float, ...], branch: float
) -> Tensor | None:
    """The elementwise loss `log(cosh(a t)) / a`.

    Args:
        prediction, target: tensors of the same shape.
        a: a number in `NORMAL_A`, (1e-30, 1e30).
        coefficients: of `P` in ascending powers of `x^2 - branch^2 / 2`, where `x = a t`.
        branch: `P` is used for `|x|` up to this number.

    Returns:
        A tensor like `prediction`, or None where the kernel does not apply.
    """
    if not _supported(prediction, target):
        return None
    kernel = _kernel(_value_code(coefficients, branch), a=1.0, inverse=1.0)
    return None if kernel is None else kernel(prediction, target, a=a, inverse=1.0 / a)


def grad(prediction: Tensor, target: Tensor, a: float, factor: Tensor | float) -> Tensor | None:
    """The gradient with respect to `prediction`, `factor * tanh(a t)`.

    Args:
        prediction, target: tensors of the same shape.
        a: a number in `NORMAL_A`, (1e-30, 1e30).
        factor: a number, or a tensor that broadcasts to that shape.

    Returns:
        A tensor like `prediction`, or None where the kernel does not apply.
    """
    if not _supported(prediction, target, *([factor] if isinstance(factor, Tensor) else [])):
        return None
    if isinstance(factor, Tensor):
        kernel = _kernel(_GRAD_TENSOR_FACTOR, a=1.0)
        return None if kernel is None else kernel(prediction, target, factor, a=a)
    kernel = _kernel(_GRAD_SCALAR_FACTOR, a=1.0, factor=1.0)
    return None if kernel is None else kernel(prediction, target, a=a, factor=factor)
