"""Encoder and decoder networks (paper, A.2 and A.3); sizes follow from the image shape.

An encoder maps `(N, C, H, W)` in [0, 1] to `(N, outputs)`; a decoder maps `(N, d)` to `(N, C, H, W)` in (0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

ImageShape = tuple[int, int, int]
"""Channels, height, width."""

HIDDEN = (500, 500)
"""Hidden layers of the paper's MLP (A.2); the decoder has them in reverse order."""

CHANNELS = (128, 256, 512, 1024)
"""Channels of the paper's convolutions, in the encoder's order (A.2, A.3); further ones have the last's."""

KERNEL = 4
START = 8
"""The decoder's first feature map has at most this many pixels a side: 7 for the paper's 28, 8 for its 64."""


@dataclass(frozen=True)
class Size:
    """How large a network is: `hidden` layers of an MLP, `width` as a factor on the channels of convolutions."""

    hidden: tuple[int, ...] = HIDDEN
    width: float = 1.0


PAPER_SIZE = Size()


class Network(NamedTuple):
    """A pair of constructors: `encoder(image_shape, outputs, size)`, `decoder(image_shape, latent_size, size)`."""

    encoder: Callable[[ImageShape, int, Size], nn.Module]
    decoder: Callable[[ImageShape, int, Size], nn.Module]


def _check(image_shape: ImageShape, code_size: int, size: Size) -> None:
    for name, sizes in (("image shape", image_shape), ("latent size", (code_size,)), ("hidden", size.hidden)):
        if any(value < 1 for value in sizes):
            raise ValueError(f"{name} must be positive; got {tuple(sizes)}")
    if not 0.0 < size.width < math.inf:
        raise ValueError(f"width must be positive and finite; got {size.width}")


def _layers(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return layers[:-1]


def mlp_encoder(image_shape: ImageShape, outputs: int, size: Size) -> nn.Module:
    """Multi-layer perceptron with ReLU: `C H W - 500 - 500 - outputs` (paper, A.2)."""
    _check(image_shape, outputs, size)
    return nn.Sequential(nn.Flatten(), *_layers([math.prod(image_shape), *size.hidden, outputs]))


class Sigmoid(nn.Sigmoid):
    """Of float32 also under autocast: in bfloat16, neighbours near 1 are as far apart as two levels of 255."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values.float() if torch.is_autocast_enabled(values.device.type) else values)


def mlp_decoder(image_shape: ImageShape, latent_size: int, size: Size) -> nn.Module:
    """Multi-layer perceptron with ReLU and a final sigmoid: `d - 500 - 500 - C H W` (paper, A.2)."""
    _check(image_shape, latent_size, size)
    sizes = [latent_size, *reversed(size.hidden), math.prod(image_shape)]
    return nn.Sequential(*_layers(sizes), Sigmoid(), nn.Unflatten(1, image_shape))


def _half(height: int, width: int) -> tuple[int, int]:
    return -(-height // 2), -(-width // 2)


def _channels(size: Size, position: int) -> int:
    """Channels of the encoder's `position`-th convolution, scaled."""
    return max(1, round(CHANNELS[min(position, len(CHANNELS) - 1)] * size.width))


class Crop(nn.Module):
    """The top left `height` by `width` pixels of `(N, C, H, W)`."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : self.height, : self.width]

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


def conv_encoder(image_shape: ImageShape, outputs: int, size: Size) -> nn.Module:
    """Convolutions of 4x4 with stride 2, batch normalisation and ReLU, then a linear layer (paper, A.2 and A.3).

    Each halves the image, rounding up (28 - 14 - 7 - 4 - 2 and 64 - 32 - 16 - 8 - 4): zeros are added so that the
    filters cover all of it, one more at the bottom and the right of an odd size. There are four, and more for
    images of more than 64 pixels, until 4 are left.

    Raises:
        ValueError: the image is so small that a convolution would see a single row or column.
    """
    _check(image_shape, outputs, size)
    inputs, height, width = image_shape
    count = max(len(CHANNELS), math.ceil(math.log2(max(height, width) / 4)))
    least = 2 ** (count - 1) + 1
    if min(height, width) < least:
        raise ValueError(
            f"images of {height} by {width} pixels are too small for the convolutional network, which halves them "
            f"{count} times: it needs at least {least} each way"
        )
    layers: list[nn.Module] = []
    for position in range(count):
        channels = _channels(size, position)
        if height % 2 or width % 2:
            layers.append(nn.ZeroPad2d((0, width % 2, 0, height % 2)))
        layers += [
            nn.Conv2d(inputs, channels, KERNEL, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        inputs, (height, width) = channels, _half(height, width)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * height * width, outputs))


def _initialize_by_fan_in(layer: nn.ConvTranspose2d) -> None:
    """Draw weights and biases as torch does for a convolution: by the number of inputs that an output sums.

    For a transposed convolution torch goes by the number of its output channels instead. From 256 channels to 1 that
    is 16 times as large; no normalisation follows to undo it, the first steps saturate the sigmoid, and training with
    squared L2 or L1 may end with black images. The code published with Tolstikhin et al. (2018) draws with a standard
    deviation of 0.0099; this one is 0.009 at the paper's width.
    """
    bound = (layer.in_channels * math.prod(layer.kernel_size)) ** -0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound)


def conv_decoder(image_shape: ImageShape, latent_size: int, size: Size) -> nn.Module:
    """A linear layer, then transposed convolutions of 4x4 with stride 2, batch normalisation and ReLU; the last has
    stride 1, no normalisation and a sigmoid (paper, A.2 and A.3).

    `d - 7x7x1024 - 512 - 256 - 1` for 28 by 28, `d - 8x8x1024 - 512 - 256 - 128 - 3` for 64 by 64; for other
    images the first map is the size halved, rounding up, until at most 8 are left, and the channels halve each time.
    """
    _check(image_shape, latent_size, size)
    outputs, *extent = image_shape
    sizes = [(extent[0], extent[1])]
    while max(sizes[0]) > START:
        sizes.insert(0, _half(*sizes[0]))
    inputs = _channels(size, len(CHANNELS) - 1)
    height, width = sizes[0]
    layers: list[nn.Module] = [
        nn.Linear(latent_size, inputs * height * width),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (inputs, height, width)),
    ]
    for step, (height, width) in enumerate(sizes[1:], start=1):
        channels = max(1, round(CHANNELS[-1] * size.width / 2**step))
        layers.append(nn.ConvTranspose2d(inputs, channels, KERNEL, stride=2, padding=1, bias=False))
        if height % 2 or width % 2:
            layers.append(Crop(height, width))
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        inputs = channels
    # an even filter has no centre: one row and one column too many come out
    last = nn.ConvTranspose2d(inputs, outputs, KERNEL, stride=1, padding=1)
    _initialize_by_fan_in(last)
    return nn.Sequential(*layers, last, Crop(extent[0], extent[1]), Sigmoid())


NETWORKS = {"mlp": Network(mlp_encoder, mlp_decoder), "conv": Network(conv_encoder, conv_decoder)}
"""Networks by the name used in `--model vae-NAME`."""
