"""Rank and world size set by `torchrun`, read without importing torch so that the command line starts quickly."""

from __future__ import annotations

import os


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes `torchrun` started; `(0, 1)` without `torchrun`."""
    if "MASTER_ADDR" not in os.environ:
        return 0, 1
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
