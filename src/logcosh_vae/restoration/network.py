"""The network that restores: convolutions and deconvolutions with symmetric skip connections (paper, Appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from ..training.defaults import RESTORATION_WIDTHS

SLOPE = 0.1
"""Of the activation below 0, so that no unit can stay without a gradient."""


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to their input; at first they add a constant."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.second(F.leaky_relu(self.first(features), SLOPE))
        return features + hidden


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


class RestorationNetwork(nn.Module):
    """From corrupted to restored images of any size, `(N, 3, H, W)` about [0, 1].

    Convolutions halve the image, deconvolutions double it again, and what stood at each resolution on the way down is
    added on the way up. The last convolution gives what to change.

    Args:
        widths: channels at each resolution, the whole image's first.
        blocks: residual blocks at each resolution, on the way down and on the way up.

    Attributes:
        widths, blocks: as given.
        stride: images are padded to multiples of it, repeating their last row and column.
        reach: an output pixel depends on no input pixel further away than this, each way.
    """

    def __init__(self, widths: Sequence[int] = RESTORATION_WIDTHS, blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        if not widths or min(widths) < 1 or blocks < 1:
            raise ValueError(f"widths and blocks must be positive; got {tuple(widths)} and {blocks}")
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        self.encode = nn.ModuleList(_blocks(width, blocks) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths))
        self.decode = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        self.downsample_factor = 2 ** (len(widths) - 1)
        coarsest = len(widths) - 1
        steps = [(2 * blocks * (2 if level < coarsest else 1)) * 2**level for level in range(len(widths))]
        # two more for the first and the last convolution; a cell of each resolution may begin a stride before the pixel
        self.receptive_field_radius = 2 + sum(steps) + self.downsample_factor

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(
            images, (0, -width % self.downsample_factor, 0, -height % self.downsample_factor), mode="replicate"
        )
        features = self.first(padded)
        passed = []
        for blocks, shrink in zip(self.encode, self.shrink, strict=False):
            features = blocks(features)
            passed.append(features)
            features = shrink(features)
        features = self.encode[-1](features)
        for grow, blocks in zip(list(self.grow)[::-1], list(self.decode)[::-1], strict=True):
            features = blocks(grow(features) + passed.pop())
        change: Tensor = self.last(features)
        return images + change[..., :height, :width]

    def deepened(self, blocks: int) -> RestorationNetwork:
        """A copy with more residual blocks at each resolution, which gives the same: the new ones add nothing yet.

        Raises:
            ValueError: this one has more blocks than that.
        """
        if blocks < self.blocks:
            raise ValueError(f"blocks cannot fall from {self.blocks} to {blocks}")
        deeper = RestorationNetwork(self.widths, blocks)
        deeper.load_state_dict(self.state_dict(), strict=False)
        for stack in (*deeper.encode, *deeper.decode):
            for block in list(stack.children())[self.blocks :]:
                nn.init.zeros_(block.second.weight)
                nn.init.zeros_(block.second.bias)
        return deeper.train(self.training)

    def inner_kernels(self) -> list[nn.Parameter]:
        """The kernels of all convolutions and deconvolutions but the first and the last."""
        return [
            weight
            for name, weight in self.named_parameters()
            if weight.ndim == 4 and name not in ("first.weight", "last.weight")
        ]
