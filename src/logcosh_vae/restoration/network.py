"""The restoration network: an encoder-decoder with symmetric additive skip connections (paper, Appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from ..models.footprint import MAX_LAYERS
from ..training.defaults import RESTORATION_WIDTHS

MAX_LEVELS = 8
"""Largest number of resolutions. Images are padded to a multiple of 2^(levels - 1) pixels."""

NEGATIVE_SLOPE = 0.1
"""Slope of the leaky ReLU below 0."""


class Residual(nn.Module):
    """Two 3x3 convolutions with a residual connection; the second begins with zero weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.second(F.leaky_relu(self.first(features), NEGATIVE_SLOPE))
        return features + hidden


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


def check_sizes(widths: Sequence[int], blocks: int) -> None:
    """Check the arguments of `RestorationNetwork`.

    Raises:
        ValueError: `widths` is empty, a width or `blocks` is not positive, or there are too many levels or blocks.
    """
    if len(widths) > MAX_LEVELS or len(widths) * blocks > MAX_LAYERS:
        raise ValueError(
            f"widths must have at most {MAX_LEVELS} levels, and levels times blocks must be at most {MAX_LAYERS}; "
            f"got {len(widths):,} levels and blocks {blocks:,}"
        )
    if not widths or min(widths) < 1 or blocks < 1:
        raise ValueError(f"widths and blocks must be positive; got {tuple(widths)} and {blocks}")


def parameter_count(widths: Sequence[int], blocks: int) -> int:
    """Return the number of parameters of `RestorationNetwork(widths, blocks)`, computed without building it."""
    ends = 27 * widths[0] + widths[0] + 27 * widths[0] + 3
    residuals = [2 * (9 * width**2 + width) * blocks for width in widths]
    steps = sum(4 * fine * coarse + coarse + 4 * fine * coarse + fine for fine, coarse in pairwise(widths))
    return ends + 2 * sum(residuals[:-1]) + residuals[-1] + steps


class RestorationNetwork(nn.Module):
    """Map corrupted images `(N, 3, H, W)` in [0, 1] of any size to restored ones, which may leave [0, 1] slightly.

    Strided convolutions halve the resolution at each level and transposed convolutions double it again. The features of
    each level of the encoder are added to those of the decoder. The output of the last convolution is added to the
    input.

    Args:
        widths: channels at each resolution, beginning with the full resolution.
        blocks: residual blocks at each resolution, in the encoder and in the decoder.

    Attributes:
        widths, blocks: the arguments.
        downsample_factor: ratio of the full to the lowest resolution. Images are padded to a multiple of it by
            repeating the last row and column.
        receptive_field_radius: an upper bound of the distance, vertical or horizontal, between an output pixel and the
            input pixels that it depends on.

    Raises:
        ValueError: `widths` is empty, a width or `blocks` is not positive, or there are too many levels or blocks.

    Example:
        >>> import torch
        >>> RestorationNetwork((4, 8))(torch.rand(1, 3, 5, 7)).shape
        torch.Size([1, 3, 5, 7])
    """

    def __init__(self, widths: Sequence[int] = RESTORATION_WIDTHS, blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        check_sizes(widths, blocks)
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        self.encode = nn.ModuleList(_blocks(width, blocks) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths))
        self.decode = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        self.downsample_factor = 2 ** (len(widths) - 1)
        coarsest = len(widths) - 1
        radii = [(2 * blocks * (2 if level < coarsest else 1)) * 2**level for level in range(len(widths))]
        # 2 for the first and the last convolution; the downsampling grid shifts by up to downsample_factor
        self.receptive_field_radius = 2 + sum(radii) + self.downsample_factor

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(
            images, (0, -width % self.downsample_factor, 0, -height % self.downsample_factor), mode="replicate"
        )
        return images + self.change(padded)[..., :height, :width]

    def change(self, padded: Tensor) -> Tensor:
        """Return what is added to images whose height and width are multiples of `downsample_factor`."""
        features = self.first(padded)
        skips = []
        for blocks, shrink in zip(self.encode, self.shrink, strict=False):
            features = blocks(features)
            skips.append(features)
            features = shrink(features)
        features = self.encode[-1](features)
        for grow, blocks in zip(list(self.grow)[::-1], list(self.decode)[::-1], strict=True):
            features = blocks(grow(features) + skips.pop())
        change: Tensor = self.last(features)
        return change

    def deepened(self, blocks: int) -> RestorationNetwork:
        """Return a copy with more residual blocks at each resolution, which computes the same function at first.

        Raises:
            ValueError: this network has more blocks.
        """
        if blocks < self.blocks:
            raise ValueError(f"blocks must be at least {self.blocks}, those of the network to deepen; got {blocks}")
        deeper = RestorationNetwork(self.widths, blocks)
        deeper.load_state_dict(self.state_dict(), strict=False)
        for stack in (*deeper.encode, *deeper.decode):
            for block in list(stack.children())[self.blocks :]:
                nn.init.zeros_(block.second.weight)
                nn.init.zeros_(block.second.bias)
        return deeper.train(self.training)

    def inner_kernels(self) -> list[nn.Parameter]:
        """Return the kernels of all convolutions except the first and the last."""
        return [
            weight
            for name, weight in self.named_parameters()
            if weight.ndim == 4 and name not in ("first.weight", "last.weight")
        ]
