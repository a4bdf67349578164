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
import torch.nn.functional as F
from torch import Tensor

from ..base.devices import usable_cores
from ..data.batches import to_unit
from ..data.memmap import reader_for
from .config import RestorationConfig
from .corruptions import Corruption
from .corruptions.base import draw_seed

MIN_DIFFERENCE = 2.5 / 255
"""Pixels that differ from the clean image by more count as corrupted; rounding and the ringing of JPEG differ less."""

HINTED_DIFFERENCE = 12 / 255
"""Pixels that differ from the clean image by more are in a complete hint."""

UNHINTED, INCOMPLETE, MISTAKEN = 0.35, 0.25, 0.1
"""Fractions of the crops without a hint, with gaps in it, and with a hint that also marks pixels that are clean."""

MOST_DILATION, GAPS, GAP_SIDES = 2, 6, (8, 40)
"""Largest radius by which a hint is dilated, most gaps of a hint, and smallest and largest side of a gap, in pixels."""

MOST_WORKERS = 12
"""Threads that prepare steps for a GPU."""

AHEAD = 3
"""Steps that each thread prepares ahead."""


class Examples(NamedTuple):
    """The images of one step, in [0, 1].

    Attributes:
        source: `(N, 3, H, W)`, input of the network.
        targets: what its output is compared with, each `(N, 3, H, W)`.
        corrupted: `(N, 1, H, W)`, 1 where the source is corrupted and 0 elsewhere; None for a network that has neither
            a mask nor a hint.
        hint: `(N, 1, H, W)`, 1 where the network is told that the source is corrupted; None for one without a hint.
    """

    source: Tensor
    targets: tuple[Tensor, ...]
    corrupted: Tensor | None = None
    hint: Tensor | None = None

    def pinned(self) -> Examples:
        """Return a copy in memory that a GPU can read while the CPU goes on."""
        corrupted, hint = (each if each is None else each.pin_memory() for each in (self.corrupted, self.hint))
        return Examples(self.source.pin_memory(), tuple(each.pin_memory() for each in self.targets), corrupted, hint)


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


def corrupted_pixels(source: Tensor, clean: Tensor, least: float = MIN_DIFFERENCE) -> Tensor:
    """Return which pixels of `(N, 3, H, W)` are corrupted, as `(N, 1, H, W)` of 0 and 1.

    Args:
        source, clean: in [0, 1].
        least: pixels that differ by more count as corrupted.
    """
    return ((source - clean).abs().amax(dim=1, keepdim=True) > least).float()


def draw_hints(source: Tensor, clean: Tensor, generator: torch.Generator) -> Tensor:
    """Return what a network is told of the corrupted pixels: nothing, all, or all but some gaps.

    A few hints also mark the corrupted pixels of another crop, because at the time of use a hint is an estimate.

    Args:
        source, clean: `(N, 3, H, W)` in [0, 1].
        generator: source of randomness.

    Returns:
        `(N, 1, H, W)` of 0 and 1.
    """
    complete = corrupted_pixels(source, clean, HINTED_DIFFERENCE)
    count, _, height, width = complete.shape
    kinds, mistakes = torch.rand(2, count, generator=generator).tolist()
    radii = torch.randint(MOST_DILATION + 1, (count,), generator=generator).tolist()
    hints = torch.zeros_like(complete)
    for index in range(count):
        if kinds[index] < UNHINTED:
            continue
        hint = complete[index]
        if mistakes[index] < MISTAKEN:
            hint = torch.maximum(hint, complete[index - 1])
        radius = radii[index]
        hints[index] = F.max_pool2d(hint, 2 * radius + 1, 1, radius)
        if kinds[index] < UNHINTED + INCOMPLETE:
            gaps = int(torch.randint(1, GAPS + 1, (), generator=generator))
            corners = torch.rand(gaps, 2, generator=generator) * torch.tensor([height, width])
            sides = torch.randint(*GAP_SIDES, (gaps, 2), generator=generator)
            for (top, left), (down, across) in zip(corners.long().tolist(), sides.tolist(), strict=True):
                hints[index, :, top : top + down, left : left + across] = 0.0
    return hints


def make_examples(tiles: Tensor, corruption: Corruption, config: RestorationConfig, seed: int) -> Examples:
    """Return the images of one step, which depend only on the arguments.

    The targets are `config.targets` other corrupted copies, or the clean image where the config or the corruption says
    so.
    """
    generator = torch.Generator().manual_seed(seed)
    source, clean, draw_target = corruption.pair(crops(tiles, config, generator), generator)
    compares_clean = bool(config.clean_targets) or corruption.clean_targets
    targets = (clean,) if compares_clean else tuple(draw_target() for _ in range(config.targets))
    corrupted = corrupted_pixels(source, clean) if config.mask or config.hint else None
    return Examples(source, targets, corrupted, draw_hints(source, clean, generator) if config.hint else None)


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
