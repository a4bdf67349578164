"""Memory of this process: what torch frees is kept for the next step instead of going back to the system and forth."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
_LARGEST, _FORMERLY_LARGEST = 1 << 30, 1 << 25


def keep_freed_memory() -> bool:
    """Have the C library keep blocks of up to a gibibyte that are freed; whether it does.

    It would else return the large activations of every step to the system, and each page of the next step's would cost
    a fault, a good part of the time of training a convolutional network. The setting holds for the whole process and
    cannot be taken back, so only commands and their workers make it. Only glibc knows it; elsewhere nothing happens.

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
