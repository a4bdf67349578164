"""Batches of float images from uint8 images in memory: this package, torch's `DataLoader`, and the limit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ..data.batches import to_unit, training_batches
from ..training.loop import make_generator
from .timing import Contender

IMAGES, BATCH = 20_000, 100
OURS, LOADER, LIMIT = "logcosh-vae", "torch DataLoader", "conversion alone"
"""Names in results. The limit converts images that are adjacent in memory, without drawing random ones."""


def contenders(channels: int, side: int) -> list[Contender]:
    """Return the contenders; a unit of work is one batch of random images, float32 in [0, 1].

    Args:
        channels: channels of the images.
        side: their height and width.
    """
    pixels = torch.randint(
        256, (IMAGES, channels, side, side), dtype=torch.uint8, generator=make_generator(0, "benchmark")
    )

    def ours(count: int) -> None:
        left = count
        while left:
            for _ in training_batches(pixels, BATCH, make_generator(0, "shuffle")):
                left -= 1
                if not left:
                    break

    def collate(batch: list[tuple[Tensor]]) -> Tensor:
        return torch.stack([image for (image,) in batch]).float() / 255.0

    def loader(count: int) -> None:
        left = count
        while left:
            for _ in DataLoader(TensorDataset(pixels), BATCH, shuffle=True, collate_fn=collate):
                left -= 1
                if not left:
                    break

    def limit(count: int) -> None:
        for index in range(count):
            start = index * BATCH % IMAGES
            to_unit(pixels[start : start + BATCH])

    return [Contender(OURS, ours), Contender(LOADER, loader), Contender(LIMIT, limit)]
