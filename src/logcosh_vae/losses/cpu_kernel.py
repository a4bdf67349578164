"""The log-cosh loss of float32 tensors in memory by compiled code, where there was a C compiler at the install.

One pass over memory each for the value, its sum and the grad (`log_cosh.c`), by as many threads as torch has. Every
function gives None where its code does not serve: no compiler was there, the tensors are on another device, of another
dtype, of unlike or scattered layout, or stand for something else (function transforms, tracing, modes). The caller then
computes the same with torch.
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

A_THREAD_S = 1 << 18
"""Elements that are worth a thread of their own."""

_POINTER, _COUNT, _FLOAT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float
_PLAIN = (Tensor, nn.Parameter)


@cache
def library() -> ctypes.CDLL | None:
    """Return the library that `setup.py` compiled into this folder, or None if it is missing or cannot be loaded."""
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    try:
        code = ctypes.CDLL(__file__.rpartition("cpu_kernel")[0] + "_log_cosh" + suffix)
        code.log_cosh_value.argtypes = [_POINTER] * 3 + [_FLOAT, _FLOAT, _COUNT, _COUNT]
        code.log_cosh_sum.argtypes = [_POINTER] * 2 + [_FLOAT, _FLOAT, _COUNT, _COUNT]
        code.log_cosh_grad.argtypes = [_POINTER] * 4 + [_FLOAT, _COUNT, _COUNT, _COUNT]
    except (OSError, AttributeError):
        return None
    code.log_cosh_value.restype = code.log_cosh_grad.restype = None
    code.log_cosh_sum.restype = ctypes.c_double
    return code


def _address(tensor: Tensor) -> int:
    """Where the elements begin; 0 for what has no memory of its own, or other signs than its memory holds."""
    if type(tensor) not in _PLAIN or tensor.dtype != torch.float32 or not tensor.is_cpu or tensor.is_neg():
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors of function transforms
        return 0


def _together(first: Tensor, second: Tensor) -> bool:
    """Whether both hold the same elements in the same order, with nothing between them."""
    if first.shape != second.shape:
        return False
    if first.is_contiguous() and second.is_contiguous():
        return True
    return first.ndim == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in (first, second))


def _in_parts(work: Callable[..., object], arguments: tuple[float, ...], count: int) -> None:
    """`work(*arguments, start, end)` over all of `count`, on as many threads as torch has and the work is worth."""
    parts = 1 if count < 2 * A_THREAD_S else min(count // A_THREAD_S, torch.get_num_threads())
    if parts == 1:
        work(*arguments, 0, count)
        return
    each = -(-count // parts)
    bounds = [(start, min(start + each, count)) for start in range(0, count, each)]
    threads = [Thread(target=work, args=(*arguments, *part)) for part in bounds[1:]]
    for thread in threads:
        thread.start()
    work(*arguments, *bounds[0])
    for thread in threads:
        thread.join()


def value(prediction: Tensor, target: Tensor, a: float) -> Tensor | None:
    """`log(cosh(a t)) / a`; `a` from 1e-30 to 1e30."""
    code = library()
    first, second = _address(prediction), _address(target)
    # modes that trace or fake operations see none of ours
    if not (code and first and second and _together(prediction, target)) or torch._C._len_torch_dispatch_stack():
        return None
    result = torch.empty_like(prediction)
    _in_parts(code.log_cosh_value, (first, second, result.data_ptr(), a, 1.0 / a), prediction.numel())
    return result


def total(prediction: Tensor, target: Tensor, a: float, *, mean: bool = False) -> Tensor | None:
    """The sum or the mean of `value` over all elements, in one pass that writes none of them."""
    code = library()
    first, second = _address(prediction), _address(target)
    if not (code and first and second and _together(prediction, target)) or torch._C._len_torch_dispatch_stack():
        return None
    sums: list[float] = []

    def work(*arguments: float) -> None:
        sums.append(code.log_cosh_sum(*arguments))

    count = prediction.numel()
    _in_parts(work, (first, second, a, 1.0 / a), count)
    result = math.fsum(sums)  # the same in whichever order the threads end
    # a ctypes float is inf where float32 has no room, as a sum of torch is; new_full would raise an error
    return prediction.new_full((), _FLOAT(result / count if mean else result).value)


def grad(prediction: Tensor, target: Tensor, a: float, factors: Tensor) -> Tensor | None:
    """`factors * tanh(a t)`; the factors are of the same shape, or one number expanded to it."""
    code = library()
    first, second, third = _address(prediction), _address(target), _address(factors)
    if not (code and first and second and third and _together(prediction, target)):
        return None
    each = any(factors.stride())
    if (each and not _together(prediction, factors)) or torch._C._len_torch_dispatch_stack():
        return None
    result = torch.empty_like(prediction)
    _in_parts(code.log_cosh_grad, (first, second, third, result.data_ptr(), a, each), prediction.numel())
    return result
