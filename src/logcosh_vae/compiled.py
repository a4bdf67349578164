"""The log-cosh loss of float32 tensors in memory by compiled code, where there was a C compiler at the install.

One pass over memory each for the value and for the slope (`log_cosh.c`), by as many threads as torch has. Every
function gives None where its code does not serve: no compiler was there, the tensors are on another device, of another
dtype, of unlike or scattered layout, or stand for something else (function transforms, tracing, modes). The caller then
computes the same with torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from threading import Thread

import torch
from torch import Tensor, nn

A_THREAD_S = 1 << 18
"""Elements that are worth a thread of their own."""

_POINTER, _COUNT, _FLOAT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float


@cache
def library() -> ctypes.CDLL | None:
    """The compiled code, if it was built and can be loaded."""
    spec = find_spec("logcosh_vae._log_cosh")
    if spec is None or spec.origin is None:
        return None
    try:
        code = ctypes.CDLL(spec.origin)
        code.log_cosh_value.argtypes = [_POINTER] * 3 + [_FLOAT, _FLOAT, _COUNT]
        code.log_cosh_slope.argtypes = [_POINTER] * 3 + [_FLOAT, _FLOAT, _COUNT]
        code.log_cosh_slope_by.argtypes = [_POINTER] * 4 + [_FLOAT, _COUNT]
    except (OSError, AttributeError):
        return None
    for function in (code.log_cosh_value, code.log_cosh_slope, code.log_cosh_slope_by):
        function.restype = None
    return code


def _address(tensor: Tensor) -> int:
    """Where the elements begin; 0 for what has no memory of its own, or other signs than its memory holds."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        return 0
    if tensor.is_neg() or torch._C._len_torch_dispatch_stack():  # modes that trace or fake operations see none of ours
        return 0
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors of function transforms
        return 0


def _together(*tensors: Tensor) -> bool:
    """Whether all hold the same elements in the same order, with nothing between them."""
    if len({tensor.shape for tensor in tensors}) != 1:
        return False
    if all(tensor.is_contiguous() for tensor in tensors):
        return True
    return tensors[0].ndim == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors)


def _in_parts(count: int, work: Callable[[int, int], None]) -> None:
    """`work(start, length)` over all of `count`, on as many threads as torch has and the work is worth."""
    parts = min(torch.get_num_threads(), count // A_THREAD_S)
    if parts <= 1:
        work(0, count)
        return
    each = -(-count // parts)
    threads = [Thread(target=work, args=(start, min(each, count - start))) for start in range(each, count, each)]
    for thread in threads:
        thread.start()
    work(0, each)
    for thread in threads:
        thread.join()


def value(prediction: Tensor, target: Tensor, a: float) -> Tensor | None:
    """`log(cosh(a t)) / a`; `a` from 1e-30 to 1e30."""
    code = library()
    addresses = [_address(prediction), _address(target)]
    if code is None or not all(addresses) or not _together(prediction, target):
        return None
    result = torch.empty_like(prediction)
    first, second, third = *addresses, result.data_ptr()

    def work(start: int, length: int) -> None:
        skipped = 4 * start
        code.log_cosh_value(first + skipped, second + skipped, third + skipped, a, 1.0 / a, length)

    _in_parts(prediction.numel(), work)
    return result


def slope(prediction: Tensor, target: Tensor, a: float, factors: Tensor) -> Tensor | None:
    """`factors * tanh(a t)`; the factors are of the same shape, or one number expanded to it."""
    code = library()
    addresses = [_address(prediction), _address(target), _address(factors)]
    if code is None or not all(addresses) or not _together(prediction, target):
        return None
    one = not any(factors.stride())
    if not one and not _together(prediction, factors):
        return None
    result = torch.empty_like(prediction)
    first, second, third, fourth = *addresses, result.data_ptr()
    factor = float(ctypes.c_float.from_address(third).value) if one else 0.0

    def work(start: int, length: int) -> None:
        skipped = 4 * start
        if one:
            code.log_cosh_slope(first + skipped, second + skipped, fourth + skipped, a, factor, length)
        else:
            code.log_cosh_slope_by(first + skipped, second + skipped, third + skipped, fourth + skipped, a, length)

    _in_parts(prediction.numel(), work)
    return result
