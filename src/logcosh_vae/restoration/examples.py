"""What a restoration network learns from: corrupted crops of pictures, and what they are compared with.

A step's images are made on the CPU, from one seed. So several threads can prepare the steps of an epoch ahead of a GPU,
which computes a step faster than one core corrupts its images; the numbers do not depend on how many they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..base.devices import usable_cores
from ..data.batches import to_unit
from ..data.memmap import reader_for
from .config import RestorationConfig
from .corruptions import Corruption
from .corruptions.base import draw_seed

MIN_DIFFERENCE = 2.5 / 255
"""Pixels that differ from the clean image by more count as corrupted; rounding and the ringing of JPEG differ less."""

MOST_WORKERS = 12
"""Threads that prepare steps for a GPU."""

AHEAD = 3
"""Steps that each thread prepares ahead."""


class Examples(NamedTuple):
    """The images of one step, in [0, 1].

    Attributes:
        source: `(N, 3, H, W)`, input of the network.
        targets: what its output is compared with, each `(N, 3, H, W)`.
        corrupted: `(N, 1, H, W)`, 1 where the source is corrupted and 0 elsewhere; None for a network without a mask.
    """

    source: Tensor
    targets: tuple[Tensor, ...]
    corrupted: Tensor | None = None

    def pinned(self) -> Examples:
        """Return a copy in memory that a GPU can read while the CPU goes on."""
        corrupted = None if self.corrupted is None else self.corrupted.pin_memory()
        return Examples(self.source.pin_memory(), tuple(each.pin_memory() for each in self.targets), corrupted)


def crops(tiles: Tensor, config: RestorationConfig, generator: torch.Generator) -> Tensor:
    """Return random crops of random tiles, flipped and transposed at random.

    Args:
        tiles: `(N, 3, tile_size, tile_size)`, uint8.
        config: batch size and crop size.
        generator: source of randomness.

    Returns:
        `(batch_size, 3, crop_size, crop_size)` in [0, 1].
    """
    offsets = tiles.shape[-1] - config.crop_size + 1
    reader = reader_for(tiles)
    indices = torch.randint(len(tiles), (config.batch_size,), generator=generator)
    selected = tiles[indices] if reader is None else reader.read(indices)
    corners = torch.randint(offsets, (config.batch_size, 2), generator=generator).tolist()
    flips = torch.randint(2, (config.batch_size, 3), generator=generator).tolist()
    batch = []
    for tile, (top, left), (horizontal, vertical, transpose) in zip(selected, corners, flips, strict=True):
        crop = tile[:, top : top + config.crop_size, left : left + config.crop_size]
        flipped = crop.flip([axis for axis, flip in ((2, horizontal), (1, vertical)) if flip])
        batch.append(flipped.transpose(1, 2) if transpose else flipped)
    return to_unit(torch.stack(batch))


def corrupted_pixels(source: Tensor, clean: Tensor) -> Tensor:
    """Return which pixels of `(N, 3, H, W)` are corrupted, as `(N, 1, H, W)` of 0 and 1."""
    return ((source - clean).abs().amax(dim=1, keepdim=True) > MIN_DIFFERENCE).float()


def make_examples(tiles: Tensor, corruption: Corruption, config: RestorationConfig, seed: int) -> Examples:
    """Return the images of one step, which depend only on the arguments.

    The targets are `config.targets` other corrupted copies, or the clean image where the config or the corruption says
    so.
    """
    generator = torch.Generator().manual_seed(seed)
    source, clean, draw_target = corruption.pair(crops(tiles, config, generator), generator)
    compares_clean = bool(config.clean_targets) or corruption.clean_targets
    targets = (clean,) if compares_clean else tuple(draw_target() for _ in range(config.targets))
    return Examples(source, targets, corrupted_pixels(source, clean) if config.mask else None)


def worker_count(device: torch.device) -> int:
    """Return how many threads prepare steps for a device: none for the CPU, whose cores compute the steps."""
    return min(MOST_WORKERS, max(1, usable_cores() - 2)) if device.type == "cuda" else 0


def epoch_examples(
    tiles: Tensor, corruption: Corruption, config: RestorationConfig, generator: torch.Generator, workers: int = 0
) -> Iterator[Examples]:
    """Yield the images of the steps of one epoch.

    Args:
        tiles: `(N, 3, tile_size, tile_size)`, uint8.
        corruption: what the network learns to undo.
        config: `config.steps` steps.
        generator: source of the seeds, one for each step.
        workers: threads that prepare steps ahead, in pinned memory; 0 for none.
    """
    seeds = iter([draw_seed(generator) for _ in range(config.steps)])
    make = partial(make_examples, tiles, corruption, config)
    if not workers:
        yield from map(make, seeds)
        return
    first = make(next(seeds))  # draws what all threads share
    can_pin = torch.cuda.is_available()
    with ThreadPoolExecutor(workers, "examples") as pool:
        waiting: deque[Future[Examples]] = deque()

        def prepare() -> None:
            seed = next(seeds, None)
            if seed is not None:
                waiting.append(pool.submit(lambda: make(seed).pinned() if can_pin else make(seed)))

        try:
            for _ in range(AHEAD * workers):
                prepare()
            yield first.pinned() if can_pin else first
            while waiting:
                ready = waiting.popleft().result()
                prepare()
                yield ready
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
