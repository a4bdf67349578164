"""Compute devices: finding the one a user names, its float precision, and the number of usable CPU cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import ConfigError


def usable_cores() -> int:
    """Return how many cores this process may use: its CPU affinity on Linux, else the cores of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)  # not available on macOS and Windows
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def find_device(name: str) -> torch.device:
    """Return the device called `name`, after checking that it can hold a tensor.

    Args:
        name: as torch writes it: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: the name is not a device, or this machine does not have it.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used ({reason}); use cpu, cuda or cuda:N") from None
    return device


def available_device(name: str) -> torch.device:
    """Return the device called `name`, or the CPU if this machine does not have it."""
    try:
        return find_device(name)
    except ConfigError:
        return torch.device("cpu")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Run convolutions on a GPU in full float32 inside the `with` block.

    By default torch allows TF32 for them, which rounds their inputs to a mantissa of 10 bits.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def takes_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware, faster than float32; sums stay in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(supported())
