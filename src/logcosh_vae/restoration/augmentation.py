"""A network asked four times: about each picture and its mirror images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import RestorationNetwork

FLIPS = ((), (2,), (3,), (2, 3))
"""Axes of `(N, 3, H, W)` that are turned round."""


class FlipEnsemble(nn.Module):
    """The mean of what a network makes of a picture and of its mirror images, each turned back.

    What is told of one picture by chance is told otherwise of another and cancels, at four times the work
    (self-ensemble, Lim et al. 2017). It is used as the network is.

    Attributes:
        stride, reach: of the network, which see.

    Example:
        >>> FlipEnsemble(RestorationNetwork((4, 8)))(torch.rand(1, 3, 5, 7)).shape
        torch.Size([1, 3, 5, 7])
    """

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.network = network
        self.downsample_factor, self.receptive_field_radius = network.downsample_factor, network.receptive_field_radius

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        # padded first, so that a mirror image's cells are those of the picture
        padded = F.pad(
            images, (0, -width % self.downsample_factor, 0, -height % self.downsample_factor), mode="replicate"
        )
        total = torch.zeros((), device=images.device)
        for axes in FLIPS:
            total = total + self.network(padded.flip(axes)).flip(axes)
        return (total / len(FLIPS))[..., :height, :width]
