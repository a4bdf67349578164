"""Encoder and decoder networks (paper, A.2); sizes follow from the image shape.

An encoder maps `(N, C, H, W)` in [0, 1] to `(N, outputs)`; a decoder maps `(N, d)` to `(N, C, H, W)` in (0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import nn

ImageShape = tuple[int, int, int]
"""Channels, height, width."""

HIDDEN = (500, 500)
"""Hidden layers of the paper's MLP (A.2); the decoder has them in reverse order."""


class Network(NamedTuple):
    """A pair of constructors: `encoder(image_shape, outputs, hidden)`, `decoder(image_shape, latent, hidden)`."""

    encoder: Callable[[ImageShape, int, Sequence[int]], nn.Module]
    decoder: Callable[[ImageShape, int, Sequence[int]], nn.Module]


def _check_sizes(image_shape: ImageShape, code_size: int, hidden: Sequence[int]) -> None:
    for name, sizes in (("image shape", image_shape), ("latent size", (code_size,)), ("hidden", hidden)):
        if any(size < 1 for size in sizes):
            raise ValueError(f"{name} must be positive; got {tuple(sizes)}")


def _layers(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return layers[:-1]


def mlp_encoder(image_shape: ImageShape, outputs: int, hidden: Sequence[int] = HIDDEN) -> nn.Module:
    """Multi-layer perceptron with ReLU: `C H W - 500 - 500 - outputs` (paper, A.2)."""
    _check_sizes(image_shape, outputs, hidden)
    return nn.Sequential(nn.Flatten(), *_layers([math.prod(image_shape), *hidden, outputs]))


def mlp_decoder(image_shape: ImageShape, latent_size: int, hidden: Sequence[int] = HIDDEN) -> nn.Module:
    """Multi-layer perceptron with ReLU and a final sigmoid: `d - 500 - 500 - C H W` (paper, A.2)."""
    _check_sizes(image_shape, latent_size, hidden)
    sizes = [latent_size, *reversed(hidden), math.prod(image_shape)]
    return nn.Sequential(*_layers(sizes), nn.Sigmoid(), nn.Unflatten(1, image_shape))


NETWORKS = {"mlp": Network(mlp_encoder, mlp_decoder)}
"""Networks by the name used in `--model vae-NAME`."""
