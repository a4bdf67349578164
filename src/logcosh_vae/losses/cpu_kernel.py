"""Fused CPU kernels for the log-cosh loss of float32 tensors, compiled from `log_cosh.c` when the package is built.

`value`, `total` and `grad` each make one pass over memory, multithreaded with torch's number of threads. They return
None where the kernels do not apply, and the caller then uses torch operations. This is the case if

- the package was installed without a C compiler,
- a tensor is not on the CPU, is not float32, or is not dense with the memory layout of the others, or
- a tensor has no data: under function transforms, tracing, or dispatch modes such as fake tensors.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from functools import cache
from threading import Thread

import torch
from torch import Tensor, nn

ELEMENTS_PER_THREAD = 1 << 18
"""Smallest number of elements for which starting another thread pays off."""

_POINTER, _COUNT, _FLOAT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float
_TENSOR_TYPES = (Tensor, nn.Parameter)


LIBRARY = (
    __file__.rpartition("cpu_kernel")[0] + "_log_cosh" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
)
"""Path of the compiled library, as `setup.py` names it."""


@cache
def library() -> ctypes.CDLL | None:
    """Return the library that `setup.py` compiled into this folder, or None if it is missing or cannot be loaded."""
    try:
        code = ctypes.CDLL(LIBRARY)
        code.log_cosh_value.argtypes = [_POINTER] * 3 + [_FLOAT, _FLOAT, _COUNT, _COUNT]
        code.log_cosh_sum.argtypes = [_POINTER] * 2 + [_FLOAT, _FLOAT, _COUNT, _COUNT]
        code.log_cosh_grad.argtypes = [_POINTER] * 4 + [_FLOAT, _COUNT, _COUNT, _COUNT]
    except (OSError, AttributeError):
        return None
    code.log_cosh_value.restype = code.log_cosh_grad.restype = None
    code.log_cosh_sum.restype = ctypes.c_double
    return code


def why_not_used() -> str | None:
    """Return why the compiled library is not in use, and what to do; None if it is."""
    if library() is not None:
        return None
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return f"{error}. It is compiled at the installation: install a C compiler, then this package again"
    return f"{LIBRARY} is of another version; install this package again"


def _address(tensor: Tensor) -> int:
    """The address of a float32 CPU tensor's data; 0 for other tensors, those without data, and negated views."""
    if type(tensor) not in _TENSOR_TYPES or tensor.dtype != torch.float32 or not tensor.is_cpu or tensor.is_neg():
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:  # inside a function transform
        return 0


def _same_dense_layout(first: Tensor, second: Tensor) -> bool:
    """Whether both tensors have the same shape and are dense in the same memory order."""
    if first.shape != second.shape:
        return False
    if first.is_contiguous() and second.is_contiguous():
        return True
    return first.ndim == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in (first, second))


def _parallel_for(kernel: Callable[..., object], arguments: tuple[float, ...], count: int) -> None:
    """Call `kernel(*arguments, start, end)` for ranges that cover `count` elements, one range per thread."""
    workers = 1 if count < 2 * ELEMENTS_PER_THREAD else min(count // ELEMENTS_PER_THREAD, torch.get_num_threads())
    if workers == 1:
        kernel(*arguments, 0, count)
        return
    chunk = -(-count // workers)
    ranges = [(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    threads = [Thread(target=kernel, args=(*arguments, *bounds)) for bounds in ranges[1:]]
    for thread in threads:
        thread.start()
    kernel(*arguments, *ranges[0])
    for thread in threads:
        thread.join()


def value(prediction: Tensor, target: Tensor, a: float) -> Tensor | None:
    """The elementwise loss `log(cosh(a t)) / a`.

    Args:
        prediction, target: tensors of the same shape.
        a: a number in `NORMAL_A`, (1e-30, 1e30).

    Returns:
        A float32 tensor like `prediction`, or None where the kernel does not apply.
    """
    code = library()
    p, q = _address(prediction), _address(target)
    # a dispatch mode (tracing, fake tensors) would not see the kernel
    if not (code and p and q and _same_dense_layout(prediction, target)) or torch._C._len_torch_dispatch_stack():
        return None
    result = torch.empty_like(prediction)
    _parallel_for(code.log_cosh_value, (p, q, result.data_ptr(), a, 1.0 / a), prediction.numel())
    return result


def total(prediction: Tensor, target: Tensor, a: float, *, mean: bool = False) -> Tensor | None:
    """The sum of the loss over all elements, or its mean, without storing the elements.

    Returns:
        A float32 scalar, or None where the kernel does not apply. Arguments are those of `value`.
    """
    code = library()
    p, q = _address(prediction), _address(target)
    if not (code and p and q and _same_dense_layout(prediction, target)) or torch._C._len_torch_dispatch_stack():
        return None
    sums: list[float] = []

    def partial_sum(*arguments: float) -> None:
        sums.append(code.log_cosh_sum(*arguments))

    count = prediction.numel()
    _parallel_for(partial_sum, (p, q, a, 1.0 / a), count)
    result = math.fsum(sums)  # exact, so independent of the order in which threads finish
    # where the sum exceeds float32, c_float gives inf as torch's sum does; new_full alone would raise an error
    return prediction.new_full((), _FLOAT(result / count if mean else result).value)


def grad(prediction: Tensor, target: Tensor, a: float, output_grad: Tensor) -> Tensor | None:
    """The gradient with respect to `prediction`, `output_grad * tanh(a t)`.

    Args:
        prediction, target: tensors of the same shape.
        a: a number in `NORMAL_A`, (1e-30, 1e30).
        output_grad: a tensor of that shape; it may be a scalar expanded to it.

    Returns:
        A float32 tensor like `prediction`, or None where the kernel does not apply.
    """
    code = library()
    p, q, g = _address(prediction), _address(target), _address(output_grad)
    if not (code and p and q and g and _same_dense_layout(prediction, target)):
        return None
    elementwise = any(output_grad.stride())  # an expanded scalar has only zero strides
    if (elementwise and not _same_dense_layout(prediction, output_grad)) or torch._C._len_torch_dispatch_stack():
        return None
    result = torch.empty_like(prediction)
    _parallel_for(code.log_cosh_grad, (p, q, g, result.data_ptr(), a, elementwise), prediction.numel())
    return result
