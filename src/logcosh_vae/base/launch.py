"""Rank and world size set by `torchrun`, read without importing torch so that the command line starts quickly."""

from __future__ import annotations

import os

from .errors import ConfigError


def is_distributed() -> bool:
    """Return whether `torchrun` or a similar program has started this process."""
    return "MASTER_ADDR" in os.environ


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes `torchrun` started; `(0, 1)` without `torchrun`.

    Raises:
        ConfigError: the environment variables do not hold numbers.
    """
    if not is_distributed():
        return 0, 1
    rank, world_size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        return int(rank), int(world_size)
    except ValueError:
        raise ConfigError(
            f"RANK={rank} and WORLD_SIZE={world_size} must be whole numbers where MASTER_ADDR is set"
        ) from None


def local_world_size() -> int:
    """Return how many processes `torchrun` started on this machine; 1 without `torchrun` or if it does not say."""
    value = os.environ.get("LOCAL_WORLD_SIZE", "") if is_distributed() else ""
    return max(1, int(value)) if value.isascii() and value.isdigit() else 1
