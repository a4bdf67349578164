"""Memory allocation of this process: freed blocks are kept for the next training step."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt(3)
_LARGEST, _FORMERLY_LARGEST = 1 << 30, 1 << 25


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
