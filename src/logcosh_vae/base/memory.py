"""Memory of this process: how much is available, a check before it is taken, and keeping freed blocks."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt(3)
_LARGEST, _FORMERLY_LARGEST = 1 << 30, 1 << 25
_GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Make the C library keep freed blocks of up to 1 GiB instead of returning them to the operating system.

    By default glibc returns the large activations of each training step to the system, so every page of the next step
    costs a page fault, which takes a considerable part of the training time of a convolutional network. The setting
    applies to the whole process and cannot be undone, so only commands and their worker processes make it.

    Returns:
        Whether the setting was made; False where the C library is not glibc.

    Example:
        >>> keep_freed_memory() in (True, False)
        True

    Reference: mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    kept = any(mallopt(_MMAP_THRESHOLD, size) for size in (_LARGEST, _FORMERLY_LARGEST))
    return bool(kept and mallopt(_TRIM_THRESHOLD, _LARGEST) and mallopt(_TOP_PAD, 1 << 26))


def available_bytes(device: torch.device | None = None, *, shared: bool = False) -> int | None:
    """Return how much memory this process can take, in bytes; None if the system does not say.

    Args:
        device: None for the CPU.
        shared: return what several processes can take together: without the limit on the address space, which each of
            them has for itself, and of a GPU all its memory, because asking what is free takes some of it.

    On a CPU it is the smallest of what the machine has left (with swap), what the control group leaves on Linux, and
    the limit on the address space (`ulimit -v`). Half of the memory of the machine or the group counts as available
    even if other programs use it at the moment. On a CUDA GPU it is the free memory of that GPU.
    """
    if device is not None and device.type == "cuda":
        import torch

        if shared:
            return int(torch.cuda.get_device_properties(device).total_memory)
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_left_on_machine(), _left_in_group(), None if shared else _left_of_address_space()]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else None


def check_memory(
    needed: int, purpose: str, advice: str, device: torch.device | None = None, *, shared: bool = False
) -> None:
    """Check that memory suffices before it is taken.

    Args:
        needed: a lower bound of what is needed, in bytes.
        purpose: what needs it; the subject of the message.
        advice: what to change.
        device: where it is needed; None for the CPU.
        shared: several processes need it together, see `available_bytes`.

    Raises:
        ConfigError: less is available; the message has both numbers.
    """
    available = available_bytes(device, shared=True) if shared else available_bytes(device)
    if available is not None and needed > available:
        large = "2^63 bytes" if needed >= 1 << 63 else f"{needed:,} bytes ({needed / _GIB:,.1f} GiB)"
        left = f"{available:,} ({available / _GIB:,.1f} GiB)"
        purpose = purpose if len(purpose) < 150 else purpose[:147] + "..."
        raise ConfigError(f"{purpose} needs at least {large} of memory, and {left} are available; {advice}")


def _fields(path: str) -> dict[str, int]:
    """Return the numbers of a file with lines such as `MemFree: 123 kB`; empty if there is no such file."""
    values = {}
    with suppress(OSError, ValueError):
        for line in Path(path).read_text(encoding="ascii").splitlines():
            name, number, *unit = line.replace(":", " ").split()
            values[name] = int(number) * (1024 if unit == ["kB"] else 1)
    return values


def _left_on_machine() -> int | None:
    fields = _fields("/proc/meminfo")
    if "MemAvailable" in fields:
        return max(fields["MemAvailable"] + fields.get("SwapFree", 0), fields.get("MemTotal", 0) // 2)
    with suppress(AttributeError, ValueError, OSError):  # not on Windows; macOS tells only the memory of the machine
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _left_in_group() -> int | None:
    """What the control group of a container or batch job leaves to this process."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            root, limit, usage, cached = (
                ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
                if controllers == ""
                else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            )
            for folder in (Path(root + path), Path(root)):  # a container sees its own group as the root
                if (folder / limit).is_file():
                    largest = (folder / limit).read_text(encoding="ascii").strip()
                    if largest == "max" or int(largest) >= 1 << 62:
                        break
                    used = int((folder / usage).read_text(encoding="ascii"))
                    left = int(largest) - used + _fields(str(folder / "memory.stat")).get(cached, 0)
                    return max(left, int(largest) // 2)
    return None


def _left_of_address_space() -> int | None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            return limit - pages * resource.getpagesize()
    return None
