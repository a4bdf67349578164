"""Pixel statistics of an image set, and the loss the paper advises for it (footnote 1 and appendix B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .image_set import ImageSet

NEAR_LEVELS = 13
"""A byte within this distance of 0 or 255 counts as near 0 or 1 (0.05 in units of [0, 1])."""

NEARLY_ALL = 0.8
"""Fraction of pixels near 0 or 1 from which the paper's "nearly all" holds. In MNIST the fraction is about 0.9, in
photographs less than 0.1."""


@dataclass(frozen=True)
class Summary:
    """Pixel statistics of an image set; pixel values are in [0, 1].

    Attributes:
        count: number of images.
        shape: `(C, H, W)` of each image.
        mean: mean of the pixels, by channel.
        std: standard deviation of the pixels, by channel.
        near_0_or_1: fraction of all pixels within 0.05 of 0 or 1.
    """

    count: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    near_0_or_1: float

    @property
    def advised_loss(self) -> str:
        """The loss the paper advises: `l1` if nearly all pixels are near 0 or 1, else `log-cosh`."""
        return "l1" if self.near_0_or_1 >= NEARLY_ALL else "log-cosh"

    @property
    def advice(self) -> str:
        """The advice and the fraction it is based on, as one sentence."""
        fraction = f"{100 * self.near_0_or_1:.0f}% of the pixels are within 0.05 of 0 or 1"
        if self.advised_loss == "l1":
            return f"{fraction}: the paper advises L1 for such images, with log-cosh about as good (footnote 1)"
        return f"{fraction}: the paper advises log-cosh for such images (footnote 1)"


BATCH_PIXELS = 1 << 23
"""Number of pixels of a channel that are counted at a time."""


def histogram(images: Tensor) -> Tensor:
    """Count how often each byte value occurs in each channel.

    Args:
        images: `(N, C, H, W)`, uint8.

    Returns:
        `(C, 256)`, int64.
    """
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for batch in images.split(max(1, BATCH_PIXELS // images[0, 0].numel())):
        for channel in range(channels):
            counts[channel] += torch.bincount(batch[:, channel].flatten(), minlength=256)
    return counts


def summarise(images: ImageSet) -> Summary:
    """Compute the statistics of all pixels, reading the images once, in batches.

    Example:
        summarise(load_images("mnist", "train")).advised_loss  # 'l1'
    """
    counts = histogram(images.images).double()
    values = torch.arange(256, dtype=torch.float64) / 255.0
    total = counts.sum(dim=1)
    mean = (counts @ values) / total
    std = ((counts @ values.square()) / total - mean.square()).clamp_min(0.0).sqrt()
    near_0_or_1 = (counts[:, : NEAR_LEVELS + 1].sum() + counts[:, 255 - NEAR_LEVELS :].sum()) / total.sum()
    channels, height, width = images.images.shape[1:]
    return Summary(
        len(images.images), (channels, height, width), tuple(mean.tolist()), tuple(std.tolist()), float(near_0_or_1)
    )
