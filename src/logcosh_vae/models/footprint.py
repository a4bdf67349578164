"""How much memory a network takes, computed before the memory is taken.

Networks are built on torch's `meta` device, where tensors have shapes but no data, and the sizes of activations follow
from those of the layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import nn

MAX_LAYERS = 1000
"""Largest number of layers of one kind in a network: more are a mistake, and building them would take minutes."""

FLOAT_BYTES = 4

M = TypeVar("M", bound=nn.Module)


def without_data(build: Callable[[], M]) -> M:
    """Return the network that `build` makes, on the `meta` device: with shapes, but without memory for its weights.

    Args:
        build: builds the network from sizes of any magnitude, with at most `MAX_LAYERS` layers of a kind.

    Raises:
        ValueError: a size is invalid, or a tensor is larger than torch can describe.
    """
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, OverflowError, TypeError) as error:
        if isinstance(error, TypeError) and "argument 'size'" not in str(error):  # torch's for large integers
            raise
        raise ValueError("the network has tensors of more than 2^63 bytes; choose smaller sizes") from None


def state_bytes(network: nn.Module) -> int:
    """Return the bytes of all parameters and buffers."""
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def _output_shapes(layers: Iterable[nn.Module], shape: tuple[int, ...]) -> Iterator[tuple[nn.Module, tuple[int, ...]]]:
    """Yield each layer with the shape of its output for one image, without computing it."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            shape = (layer.out_features,)
        elif isinstance(layer, nn.Flatten):
            shape = (math.prod(shape),)
        elif isinstance(layer, nn.Unflatten):
            shape = tuple(layer.unflattened_size)
        elif isinstance(layer, nn.ZeroPad2d):
            left, right, top, bottom = layer.padding
            shape = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
            if isinstance(layer, nn.Conv2d):
                size = [(side + 2 * padding - kernel) // stride + 1 for side in shape[1:]]
            else:
                size = [(side - 1) * stride - 2 * padding + kernel for side in shape[1:]]
            shape = (layer.out_channels, *size)
        elif isinstance(layer, nn.MaxPool2d):
            shape = (shape[0], shape[1] // 2, shape[2] // 2)
        elif isinstance(height := getattr(layer, "height", None), int):  # networks.Crop
            shape = (shape[0], height, getattr(layer, "width", height))
        yield layer, shape


_STORED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Sigmoid)
"""Layers whose output is stored; the others are computed in place or are views."""


def activation_bytes(layers: Iterable[nn.Module], shape: tuple[int, ...]) -> int:
    """Return the bytes of the float32 activations that one image takes in training, including the input.

    Args:
        layers: layers that are applied one after another, such as an encoder of `NETWORKS`.
        shape: of one input, without the batch.
    """
    stored = sum(math.prod(out) for layer, out in _output_shapes(layers, shape) if isinstance(layer, _STORED))
    return FLOAT_BYTES * (math.prod(shape) + stored)


def training_bytes(weights: int, activations: int, averages: int = 2) -> int:
    """Return a lower bound of the memory of training: weights, gradients, the optimizer's averages, and activations.

    Args:
        weights: bytes of the weights.
        activations: bytes of the activations of a batch.
        averages: number of averages that the optimizer keeps per weight, 2 for Adam.
    """
    return (2 + averages) * weights + activations
