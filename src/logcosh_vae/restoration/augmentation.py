"""Test-time augmentation: the mean of a network's results for an image and its mirror images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import RestorationNetwork

FLIPS = ((), (2,), (3,), (2, 3))
"""Axes of `(N, 3, H, W)` that are reversed: the image itself and its three mirror images."""


class FlipEnsemble(nn.Module):
    """The mean of a network's results for an image and its three mirror images, each flipped back.

    Errors that differ between the four results cancel in part, at four times the cost (self-ensemble, Lim et al.
    2017). The ensemble replaces the network in `tiling.restore` and `blending.restore_changed`.

    Attributes:
        downsample_factor, receptive_field_radius: those of the network.

    Example:
        >>> FlipEnsemble(RestorationNetwork((4, 8)))(torch.rand(1, 3, 5, 7)).shape
        torch.Size([1, 3, 5, 7])
    """

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.network = network
        self.downsample_factor, self.receptive_field_radius = network.downsample_factor, network.receptive_field_radius

    @property
    def takes_hint(self) -> bool:
        """Whether the network can be told of corrupted pixels."""
        return self.network.takes_hint

    def forward(self, images: Tensor, hint: Tensor | None = None) -> Tensor:
        height, width = images.shape[-2:]
        # padded before flipping, so that the downsampling grid has the same position in all four
        padded = F.pad(
            images, (0, -width % self.downsample_factor, 0, -height % self.downsample_factor), mode="replicate"
        )
        if hint is not None:
            hint = F.pad(hint, (0, padded.shape[-1] - width, 0, padded.shape[-2] - height))
        total = torch.zeros((), device=images.device)
        for axes in FLIPS:
            total = total + self.network(padded.flip(axes), None if hint is None else hint.flip(axes)).flip(axes)
        return (total / len(FLIPS))[..., :height, :width]
