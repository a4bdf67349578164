"""Compute devices: finding the one a user names, its float precision, and the number of usable CPU cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import ConfigError
from .files import one_line


def usable_cores() -> int:
    """Return how many cores this process may use: its CPU affinity on Linux, else the cores of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)  # not available on macOS and Windows
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def resolve_auto(name: str) -> str:
    """Replace `auto` by `cuda`, `mps` or `cpu`, the first that this machine has; return any other name unchanged."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def find_device(name: str) -> torch.device:
    """Return the device called `name`, after checking that it can compute.

    Args:
        name: as torch writes it: `cpu`, `cuda`, `cuda:N` or `mps`; or `auto`, see `resolve_auto`.

    Raises:
        ConfigError: the name is not a device, or this machine does not have it.
    """
    name = resolve_auto(name)
    try:
        device = torch.device(name)
        if device.type == "mps" and not torch.backends.mps.is_available():
            raise RuntimeError("this machine has no MPS")  # torch's own message is a page long
        torch.ones(1, device=device).item()  # fails on `meta`, which holds no data
    except (RuntimeError, AssertionError, AttributeError, ImportError) as error:  # torch's, by the kind of device
        reason = one_line(error).split(". ")[0]  # torch adds a list of all its backends
        raise ConfigError(f"device {name!r} cannot be used ({reason}); use auto, cpu, cuda, cuda:N or mps") from None
    return device


def available_device(name: str) -> torch.device:
    """Return the device called `name`, or the CPU if this machine lacks it or it lacks float64 (`float64_device`)."""
    try:
        return float64_device(find_device(name))
    except ConfigError:
        return torch.device("cpu")


def float64_device(device: torch.device) -> torch.device:
    """`device`, or the CPU instead of MPS, which has no float64; metrics need it."""
    return torch.device("cpu") if device.type == "mps" else device


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
