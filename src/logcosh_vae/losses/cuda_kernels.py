"""The log-cosh loss of tensors on a GPU, each of value and gradient in one pass over memory.

torch compiles the kernels at their first use (`torch.cuda.jiterator`, which needs no compiler on the machine). Every
function gives None where they do not serve: another device or dtype, tensors that stand for something else (function
transforms, tracing, modes), or a build of torch without them. The caller then computes the same with torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""The half formats are computed in float32 and rounded once."""

Kernel = Callable[..., Tensor]

# torch finds the function's name after the last ">" that a name can follow: comparisons are written with "<"
_GRAD = """template <typename T> T log_cosh_grad(T prediction, T target, T a, T factor) {
    return tanh(a * (prediction - target)) * factor;
}"""
_GRAD_BY = """template <typename T> T log_cosh_grad_by(T prediction, T target, T factor, T a) {
    return tanh(a * (prediction - target)) * factor;
}"""


@cache
def _value_code(coefficients: tuple[float, ...], branch: float) -> str:
    """`x t P(x^2)` up to `branch`, beyond it `|t| - (log 2 - log(1 + exp(-2|x|))) / a`, with `x = a t`."""
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
    """The compiled function, or None where this build of torch cannot make it."""
    try:
        function: Kernel = torch.cuda.jiterator._create_jit_fn(code, **scalars)
        probe = torch.zeros(1, device="cuda")
        function(*[probe] * (3 if code is _GRAD_BY else 2))
    except (RuntimeError, AttributeError, AssertionError):
        return None
    return function


def _serves(*tensors: Tensor) -> bool:
    """Whether all are ordinary tensors on one GPU, of one dtype that the kernels know."""
    first = tensors[0]
    if first.dtype not in _DTYPES or torch._C._len_torch_dispatch_stack():
        return False
    for tensor in tensors:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.device != first.device or tensor.dtype != first.dtype:
            return False
        try:
            tensor.data_ptr()
        except RuntimeError:  # tensors of function transforms
            return False
    return True


def value(
    prediction: Tensor, target: Tensor, a: float, coefficients: tuple[float, ...], branch: float
) -> Tensor | None:
    """`log(cosh(a t)) / a`; `a` from 1e-30 to 1e30, `coefficients` those of `P` around `branch^2 / 2`."""
    if not _serves(prediction, target):
        return None
    kernel = _kernel(_value_code(coefficients, branch), a=1.0, inverse=1.0)
    return None if kernel is None else kernel(prediction, target, a=a, inverse=1.0 / a)


def grad(prediction: Tensor, target: Tensor, a: float, factor: Tensor | float) -> Tensor | None:
    """`factor * tanh(a t)`; the factor is a number, or a tensor that broadcasts to the others' shape."""
    if not _serves(prediction, target, *([factor] if isinstance(factor, Tensor) else [])):
        return None
    if isinstance(factor, Tensor):
        kernel = _kernel(_GRAD_BY, a=1.0)
        return None if kernel is None else kernel(prediction, target, factor, a=a)
    kernel = _kernel(_GRAD, a=1.0, factor=1.0)
    return None if kernel is None else kernel(prediction, target, a=a, factor=factor)
