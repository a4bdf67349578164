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


def resolve_auto(name: str) -> str:
    """Replace `auto` by `cuda`, `mps` or `cpu`, the first that this machine has; return any other name unchanged."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def find_device(name: str) -> torch.device:
    """The device called `name` (`auto`: see `resolve_auto`); `ConfigError` where there is none."""
    name = resolve_auto(name)
    try:
        device = torch.device(name)
        if device.type == "mps" and not torch.backends.mps.is_available():
            raise RuntimeError("this machine has no MPS")  # torch's own message is a page long
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used ({reason}); use auto, cpu, cuda, cuda:N or mps") from None
    return device


def available_device(name: str) -> torch.device:
    """The device called `name`, or the CPU where it is not on this machine or has no float64 (see `float64_device`)."""
    try:
        return float64_device(find_device(name))
    except ConfigError:
        return torch.device("cpu")


def float64_device(device: torch.device) -> torch.device:
    """`device`, or the CPU instead of MPS, which has no float64; metrics need it."""
    return torch.device("cpu") if device.type == "mps" else device


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
