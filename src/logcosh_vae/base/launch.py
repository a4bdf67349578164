"""Whether this process is one of several that `torchrun` has started; without torch, for the command line."""

from __future__ import annotations

import os


def rank_and_world_size() -> tuple[int, int]:
    """Rank of this process and number of those that `torchrun` has started for the command; `(0, 1)` without it."""
    if "MASTER_ADDR" not in os.environ:
        return 0, 1
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
