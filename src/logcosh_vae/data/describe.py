"""What an image set is like, and which loss that speaks for (paper, footnote 1 and appendix B)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .image_set import ImageSet

NEAR = 13
"""A byte at most this far from 0 or from 255 (0.05 in [0, 1]) counts as near."""

NEARLY_ALL = 0.8
"""From this share on, nearly all pixels are near 0 or 1: nine tenths are in MNIST, less than a tenth in photographs."""


@dataclass(frozen=True)
class Summary:
    """Pixel statistics of an image set, in [0, 1].

    Attributes:
        count: of images; shape: `(C, H, W)` of each.
        mean, spread: of the pixels, by channel; the spread is a standard deviation.
        near: share of the pixels within 0.05 of 0 or 1.
    """

    count: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    near: float

    @property
    def advised_loss(self) -> str:
        """The loss that the paper advises: `l1` where nearly all pixels are near 0 or 1, else `log-cosh`."""
        return "l1" if self.near >= NEARLY_ALL else "log-cosh"

    @property
    def advice(self) -> str:
        """The same in words."""
        share = f"{100 * self.near:.0f}% of the pixels are within 0.05 of 0 or 1"
        if self.advised_loss == "l1":
            return f"{share}: L1 should do well here, log-cosh about as well (paper, footnote 1 and appendix B)"
        return f"{share}: log-cosh should do better than L1 here (paper, footnote 1 and appendix B)"


def histogram(images: Tensor, batch_size: int = 2_000) -> Tensor:
    """How often each byte occurs in each channel of `(N, C, H, W)` images: `(C, 256)`, int64."""
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for batch in images.split(batch_size):
        for channel in range(channels):
            counts[channel] += torch.bincount(batch[:, channel].flatten(), minlength=256)
    return counts


def summarise(images: ImageSet) -> Summary:
    """Statistics of all pixels; the images are read once, in batches.

    Example:
        summarise(load_images("mnist", "train")).advised_loss  # 'l1'
    """
    counts = histogram(images.images).double()
    values = torch.arange(256, dtype=torch.float64) / 255.0
    total = counts.sum(dim=1)
    mean = (counts @ values) / total
    spread = ((counts @ values.square()) / total - mean.square()).clamp_min(0.0).sqrt()
    near = (counts[:, : NEAR + 1].sum() + counts[:, 255 - NEAR :].sum()) / total.sum()
    channels, height, width = images.images.shape[1:]
    return Summary(
        len(images.images), (channels, height, width), tuple(mean.tolist()), tuple(spread.tolist()), float(near)
    )
