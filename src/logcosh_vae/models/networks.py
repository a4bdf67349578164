"""The encoder and decoder networks of the paper (A.2 and A.3), for images of any shape.

An encoder maps images `(N, C, H, W)` in [0, 1] to `(N, outputs)`; a decoder maps codes `(N, latent_size)` to images
`(N, C, H, W)` in [0, 1]. `NETWORKS` lists the pairs by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from ..losses.elementwise import float_under_autocast
from .distributions import LOG_VARIANCE_RANGE
from .footprint import MAX_LAYERS

ImageShape = tuple[int, int, int]
"""Channels, height, width."""

HIDDEN = (500, 500)
"""Units of the hidden layers of the paper's MLP encoder (A.2). The decoder has them in reverse order."""

CHANNELS = (128, 256, 512, 1024)
"""Channels of the paper's encoder convolutions (A.2, A.3). Further convolutions have as many as the last."""

KERNEL_SIZE = 4
MAX_START_SIZE = 8
"""Largest size of the decoder's first feature map: 7 for the paper's images of 28 pixels, 8 for those of 64."""


@dataclass(frozen=True)
class Size:
    """Size of a network.

    Attributes:
        hidden: units of the hidden layers of an MLP encoder; the decoder has them in reverse order.
        width: factor on the channels of a convolutional network, in (0, inf).
    """

    hidden: tuple[int, ...] = HIDDEN
    width: float = 1.0


PAPER_SIZE = Size()
"""The size used in the paper."""


class Network(NamedTuple):
    """Constructors of a matching encoder and decoder.

    Attributes:
        encoder: called as `encoder(image_shape, outputs, size)`.
        decoder: called as `decoder(image_shape, latent_size, size)`.
        max_log_variance: largest log-variance of a VAE's posterior.
    """

    encoder: Callable[[ImageShape, int, Size], nn.Module]
    decoder: Callable[[ImageShape, int, Size], nn.Module]
    max_log_variance: float = LOG_VARIANCE_RANGE[1]


def _check_sizes(image_shape: ImageShape, latent_size: int, size: Size) -> None:
    for name, sizes in (("image shape", image_shape), ("latent size", (latent_size,)), ("hidden", size.hidden)):
        if any(value < 1 for value in sizes):
            raise ValueError(f"{name} must be positive; got {tuple(sizes)}")
    if len(size.hidden) > MAX_LAYERS:
        raise ValueError(f"hidden must have at most {MAX_LAYERS} layers; got {len(size.hidden):,}")
    if not 0.0 < size.width < math.inf:
        raise ValueError(f"width must be positive and finite; got {size.width}")


def _linear_layers(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return layers[:-1]


def mlp_encoder(image_shape: ImageShape, outputs: int, size: Size) -> nn.Module:
    """Build the multilayer perceptron `C H W - 500 - 500 - outputs` with ReLU (paper, A.2).

    Args:
        image_shape: `(C, H, W)`.
        outputs: number of outputs per image.
        size: `hidden` sets the hidden layers.

    Returns:
        A module that maps `(N, C, H, W)` to `(N, outputs)`.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> import torch
        >>> mlp_encoder((1, 28, 28), 16, PAPER_SIZE)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 16])
    """
    _check_sizes(image_shape, outputs, size)
    return nn.Sequential(nn.Flatten(), *_linear_layers([math.prod(image_shape), *size.hidden, outputs]))


class Sigmoid(nn.Sigmoid):
    """A sigmoid that is computed in float32 under autocast, too.

    Near 1, adjacent bfloat16 numbers differ by 1/256, which is as much as adjacent levels of an 8-bit image.
    """

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(float_under_autocast(values))


def mlp_decoder(image_shape: ImageShape, latent_size: int, size: Size) -> nn.Module:
    """Build the multilayer perceptron `latent_size - 500 - 500 - C H W` with ReLU and a final sigmoid (paper, A.2).

    Args:
        image_shape: `(C, H, W)`.
        latent_size: size of a latent code.
        size: `hidden`, reversed, sets the hidden layers.

    Returns:
        A module that maps `(N, latent_size)` to `(N, C, H, W)` in [0, 1].

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> import torch
        >>> mlp_decoder((1, 28, 28), 8, PAPER_SIZE)(torch.zeros(2, 8)).shape
        torch.Size([2, 1, 28, 28])
    """
    _check_sizes(image_shape, latent_size, size)
    sizes = [latent_size, *reversed(size.hidden), math.prod(image_shape)]
    return nn.Sequential(*_linear_layers(sizes), Sigmoid(), nn.Unflatten(1, image_shape))


def _halve(height: int, width: int) -> tuple[int, int]:
    """Height and width after a convolution of stride 2: half, rounded up."""
    return -(-height // 2), -(-width // 2)


def _channels(size: Size, position: int) -> int:
    """Channels of the encoder's convolution at `position`, counted from 0."""
    return max(1, round(CHANNELS[min(position, len(CHANNELS) - 1)] * size.width))


class Crop(nn.Module):
    """Crop `(N, C, H, W)` to its top left `(N, C, height, width)`."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, : self.height, : self.width]

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}"


def conv_encoder(image_shape: ImageShape, outputs: int, size: Size) -> nn.Module:
    """Build 4x4 convolutions with stride 2, batch normalisation and ReLU, then a linear layer (paper, A.2 and A.3).

    Each convolution halves height and width, rounding up: 28 - 14 - 7 - 4 - 2 and 64 - 32 - 16 - 8 - 4. The padding is
    one pixel on each side, and one more at the bottom or right where the size is odd. There are four convolutions, and
    more for images larger than 64 pixels, until the larger side is at most 4.

    Args:
        image_shape: `(C, H, W)`.
        outputs: number of outputs per image.
        size: `width` scales the numbers of channels.

    Returns:
        A module that maps `(N, C, H, W)` to `(N, outputs)`.

    Raises:
        ValueError: a size is not positive, or the image is so small that the input of a convolution would have a
            height or width of 1.

    Example:
        >>> import torch
        >>> conv_encoder((3, 64, 64), 128, Size(width=0.125))(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 128])
    """
    _check_sizes(image_shape, outputs, size)
    inputs, height, width = image_shape
    count = max(len(CHANNELS), math.ceil(math.log2(max(height, width) / 4)))
    minimum = 2 ** (count - 1) + 1
    if min(height, width) < minimum:
        raise ValueError(
            f"images of {height} by {width} pixels are too small for the convolutional network, which halves them "
            f"{count} times: height and width must be at least {minimum}"
        )
    layers: list[nn.Module] = []
    for position in range(count):
        channels = _channels(size, position)
        if height % 2 or width % 2:
            layers.append(nn.ZeroPad2d((0, width % 2, 0, height % 2)))
        layers += [
            nn.Conv2d(inputs, channels, KERNEL_SIZE, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        inputs, (height, width) = channels, _halve(height, width)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * height * width, outputs))


def _initialize_by_fan_in(layer: nn.ConvTranspose2d) -> None:
    """Initialise weights and biases by fan-in, as torch does for `nn.Conv2d`.

    For a transposed convolution, torch derives the range from the number of output channels instead. For 256 input
    channels and 1 output channel, that range is 16 times as large. No normalisation follows the last layer, so the
    first steps would saturate the sigmoid, and training with squared L2 or L1 could end with black images. The code
    published with Tolstikhin et al. (2018) uses a standard deviation of 0.0099; here it is 0.009 at the paper's width.
    """
    bound = (layer.in_channels * math.prod(layer.kernel_size)) ** -0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound)


def conv_decoder(image_shape: ImageShape, latent_size: int, size: Size) -> nn.Module:
    """Build a linear layer, then 4x4 transposed convolutions with batch normalisation and ReLU (paper, A.2 and A.3).

    All have stride 2 except the last one, which has stride 1, no normalisation and a sigmoid. The layers are
    `d - 7x7x1024 - 512 - 256 - 1` for images of 28 by 28 and `d - 8x8x1024 - 512 - 256 - 128 - 3` for 64 by 64. In
    general, the first feature map has the image's size halved, rounding up, until it is at most `MAX_START_SIZE`, and
    the number of channels halves with every layer.

    Args:
        image_shape: `(C, H, W)`.
        latent_size: size `d` of a latent code.
        size: `width` scales the numbers of channels.

    Returns:
        A module that maps `(N, latent_size)` to `(N, C, H, W)` in [0, 1].

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> import torch
        >>> conv_decoder((3, 64, 64), 64, Size(width=0.125))(torch.zeros(2, 64)).shape
        torch.Size([2, 3, 64, 64])
    """
    _check_sizes(image_shape, latent_size, size)
    outputs, *extent = image_shape
    sizes = [(extent[0], extent[1])]
    while max(sizes[0]) > MAX_START_SIZE:
        sizes.insert(0, _halve(*sizes[0]))
    inputs = _channels(size, len(CHANNELS) - 1)
    height, width = sizes[0]
    layers: list[nn.Module] = [
        nn.Linear(latent_size, inputs * height * width),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (inputs, height, width)),
    ]
    for step, (height, width) in enumerate(sizes[1:], start=1):
        channels = max(1, round(CHANNELS[-1] * size.width / 2**step))
        layers.append(nn.ConvTranspose2d(inputs, channels, KERNEL_SIZE, stride=2, padding=1, bias=False))
        if height % 2 or width % 2:
            layers.append(Crop(height, width))
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        inputs = channels
    # with an even kernel and stride 1, the output has one row and one column too many
    last = nn.ConvTranspose2d(inputs, outputs, KERNEL_SIZE, stride=1, padding=1)
    _initialize_by_fan_in(last)
    return nn.Sequential(*layers, last, Crop(extent[0], extent[1]), Sigmoid())


CONV_MAX_LOG_VARIANCE = 4.0
"""Largest log-variance of the posterior of a convolutional VAE, e^4 = 55 times the prior's variance.

The last layer of the paper's encoder has 16,384 inputs that are not negative, so one step of Adam, which changes every
weight by about the learning rate, moves a log-variance by several units. In the first steps some of them exceed 10, and
the gradient of the KL divergence is half the variance: Adam's average of the squared gradients is then so large that
the encoder stands almost still for thousands of steps (studies/encoder_start.py). At an optimum no posterior is wider
than the prior, so the limit takes nothing away.
"""

NETWORKS = {
    "mlp": Network(mlp_encoder, mlp_decoder),
    "conv": Network(conv_encoder, conv_decoder, CONV_MAX_LOG_VARIANCE),
}
"""Networks by name, as in `--model vae-NAME` and `--model wae-NAME`."""
