"""The restoration network: an encoder-decoder with symmetric additive skip connections (paper, Appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.likelihood_base import Likelihood
from ..models.footprint import MAX_LAYERS
from ..training.defaults import RESTORATION_WIDTHS

MAX_LEVELS = 8
"""Largest number of resolutions. Images are padded to a multiple of 2^(levels - 1) pixels, times `unshuffle`."""

MAX_UNSHUFFLE = 8
"""Largest value of `unshuffle`."""

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


@dataclass(frozen=True)
class Architecture:
    """What determines the layers of a `RestorationNetwork`.

    Attributes:
        widths: channels at each resolution, beginning with the highest.
        blocks: residual blocks at each resolution, in the encoder and in the decoder.
        unshuffle: height and width of the squares of pixels that become the channels of one pixel at the highest
            resolution. Larger values leave more time for wide layers.
        mask: whether the network also estimates which pixels are corrupted, and changes the others by nothing.
        hint: whether the network can be told of pixels that are corrupted, by a fourth channel of its input.

    Raises:
        ValueError: `widths` is empty, a number is not positive, or one is too large.
    """

    widths: tuple[int, ...] = RESTORATION_WIDTHS
    blocks: int = 1
    unshuffle: int = 1
    mask: bool = False
    hint: bool = False

    def __post_init__(self) -> None:
        widths, blocks = self.widths, self.blocks
        if len(widths) > MAX_LEVELS or len(widths) * blocks > MAX_LAYERS:
            raise ValueError(
                f"widths must have at most {MAX_LEVELS} levels, and levels times blocks must be at most {MAX_LAYERS}; "
                f"got {len(widths):,} levels and blocks {blocks:,}"
            )
        if not widths or min(widths) < 1 or blocks < 1:
            raise ValueError(f"widths and blocks must be positive; got {tuple(widths)} and {blocks}")
        if not 1 <= self.unshuffle <= MAX_UNSHUFFLE:
            raise ValueError(f"unshuffle must be from 1 to {MAX_UNSHUFFLE}; got {self.unshuffle}")

    @property
    def inputs(self) -> int:
        """Channels of the input: red, green, blue and, with `hint`, the hint."""
        return 4 if self.hint else 3

    @property
    def outputs(self) -> int:
        """Channels of the output at the full resolution: red, green, blue and, with `mask`, the mask."""
        return 4 if self.mask else 3

    @property
    def parameter_count(self) -> int:
        """The number of parameters, computed without building the network."""
        widths, square = self.widths, self.unshuffle * self.unshuffle
        ends = (9 * self.inputs * square + 1) * widths[0] + (9 * widths[0] + 1) * self.outputs * square
        residuals = [2 * (9 * width**2 + width) * self.blocks for width in widths]
        steps = sum(4 * fine * coarse + coarse + 4 * fine * coarse + fine for fine, coarse in pairwise(widths))
        return ends + 2 * sum(residuals[:-1]) + residuals[-1] + steps

    @property
    def downsample_factor(self) -> int:
        """Ratio of the full to the lowest resolution."""
        return self.unshuffle << (len(self.widths) - 1)

    @property
    def receptive_field_radius(self) -> int:
        """An upper bound of the distance in pixels between an output pixel and the input pixels that it depends on."""
        coarsest = len(self.widths) - 1
        radii = [(2 * self.blocks * (2 if level < coarsest else 1)) << level for level in range(coarsest + 1)]
        # 2 for the first and the last convolution; the downsampling grid shifts by up to downsample_factor
        return self.unshuffle * (2 + sum(radii)) + self.downsample_factor


class RestorationNetwork(nn.Module):
    """Map corrupted images `(N, 3, H, W)` in [0, 1] of any size to restored ones, which may leave [0, 1] slightly.

    Strided convolutions halve the resolution at each level and transposed convolutions double it again. The features of
    each level of the encoder are added to those of the decoder. The output of the last convolution is added to the
    input; with a mask it is first multiplied by the probability that a pixel is corrupted.

    Args:
        widths, blocks, unshuffle, mask, hint: those of `Architecture`.

    Attributes:
        architecture: the arguments.
        downsample_factor: that of `Architecture`. Images are padded to a multiple of it by repeating the last row and
            column.
        receptive_field_radius: that of `Architecture`.
        likelihood: learned together with the network; None unless training sets it.

    Raises:
        ValueError: see `Architecture`.

    Example:
        >>> import torch
        >>> RestorationNetwork((4, 8))(torch.rand(1, 3, 5, 7)).shape
        torch.Size([1, 3, 5, 7])
    """

    @classmethod
    def of(cls, architecture: Architecture) -> Self:
        """Return a network with random weights."""
        return cls(
            architecture.widths,
            architecture.blocks,
            unshuffle=architecture.unshuffle,
            mask=architecture.mask,
            hint=architecture.hint,
        )

    def __init__(
        self,
        widths: Sequence[int] = RESTORATION_WIDTHS,
        blocks: int = 1,
        *,
        unshuffle: int = 1,
        mask: bool = False,
        hint: bool = False,
    ) -> None:
        super().__init__()
        self.architecture = Architecture(tuple(widths), blocks, unshuffle, mask, hint)
        square = unshuffle**2
        self.first = nn.Conv2d(self.architecture.inputs * square, widths[0], 3, padding=1)
        self.encode = nn.ModuleList(_blocks(width, blocks) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths))
        self.decode = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], self.architecture.outputs * square, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        self.downsample_factor = self.architecture.downsample_factor
        self.receptive_field_radius = self.architecture.receptive_field_radius
        self.likelihood: Likelihood | None = None

    @property
    def takes_hint(self) -> bool:
        """Whether it can be told of corrupted pixels."""
        return self.architecture.hint

    def forward(self, images: Tensor, hint: Tensor | None = None) -> Tensor:
        return self.with_mask(images, hint)[0]

    def with_mask(self, images: Tensor, hint: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the restored images, and for each pixel the logit `(N, 1, H, W)` that it is corrupted.

        The second is None for a network without a mask.

        Args:
            images: `(N, 3, H, W)` in [0, 1].
            hint: `(N, 1, H, W)`, 1 at pixels that are known to be corrupted and 0 elsewhere, where others may be
                corrupted; None for all 0. Only for a network with `Architecture.hint`.
        """
        height, width = images.shape[-2:]
        padded = F.pad(
            images, (0, -width % self.downsample_factor, 0, -height % self.downsample_factor), mode="replicate"
        )
        if hint is not None:
            hint = F.pad(hint, (0, padded.shape[-1] - width, 0, padded.shape[-2] - height))
        outputs = self._outputs(padded, hint)[..., :height, :width]
        return images + self._change(outputs), outputs[:, 3:] if self.architecture.mask else None

    def change(self, padded: Tensor) -> Tensor:
        """Return what is added to images whose height and width are multiples of `downsample_factor`."""
        return self._change(self._outputs(padded))

    def _change(self, outputs: Tensor) -> Tensor:
        return outputs[:, :3] * outputs[:, 3:].sigmoid() if self.architecture.mask else outputs

    def _outputs(self, padded: Tensor, hint: Tensor | None = None) -> Tensor:
        unshuffle = self.architecture.unshuffle
        if self.architecture.hint:
            padded = torch.cat([padded, torch.zeros_like(padded[:, :1]) if hint is None else hint], dim=1)
        features = self.first(padded if unshuffle == 1 else F.pixel_unshuffle(padded, unshuffle))
        skips = []
        for blocks, shrink in zip(self.encode, self.shrink, strict=False):
            features = blocks(features)
            skips.append(features)
            features = shrink(features)
        features = self.encode[-1](features)
        for grow, blocks in zip(list(self.grow)[::-1], list(self.decode)[::-1], strict=True):
            features = blocks(grow(features) + skips.pop())
        outputs: Tensor = self.last(features)
        return outputs if unshuffle == 1 else F.pixel_shuffle(outputs, unshuffle)

    def extended(self, blocks: int, hint: bool | None = None) -> RestorationNetwork:
        """Return a copy with more residual blocks or with a hint, which computes the same function at first.

        Args:
            blocks: residual blocks at each resolution.
            hint: whether the copy takes a hint; None for as before.

        Raises:
            ValueError: this network has more blocks, or a hint that the copy would not have.
        """
        before = self.architecture
        hint = before.hint if hint is None else hint
        if blocks < before.blocks:
            raise ValueError(f"blocks must be at least {before.blocks}, those of the network to extend; got {blocks}")
        if before.hint and not hint:
            raise ValueError("hint must be true, as for the network to extend")
        deeper = RestorationNetwork.of(replace(before, blocks=blocks, hint=hint))
        state = self.state_dict()
        if hint != before.hint:  # the hint is the last channel, and has no influence at first
            kernel = state["first.weight"]
            added = kernel.new_zeros(len(kernel), before.unshuffle**2, *kernel.shape[2:])
            state["first.weight"] = torch.cat([kernel, added], dim=1)
        deeper.load_state_dict(state, strict=False)
        for stack in (*deeper.encode, *deeper.decode):
            for block in list(stack.children())[before.blocks :]:
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
