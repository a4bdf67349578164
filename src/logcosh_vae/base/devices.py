"""The device that a user names, and what it does well; the cores of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import ConfigError


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, where the system says so."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it, macOS and Windows have not
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def find_device(name: str) -> torch.device:
    """The device called `name`; `ConfigError` where there is none."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used ({reason}); use cpu, cuda or cuda:N") from None
    return device


def available_device(name: str) -> torch.device:
    """The device called `name`, or the CPU where it is not on this machine."""
    try:
        return find_device(name)
    except ConfigError:
        return torch.device("cpu")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Multiply float32 as float32: by default torch lets convolutions on a GPU round their inputs to 10 bits (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def takes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32; products are still summed in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(supported())
