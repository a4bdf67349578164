"""Encoders and decoders as a list of layers, the form in which the page holds them.

Each layer is a linear map, a convolution or a transposed convolution, with a bias and an activation. Batch
normalisation is folded into weights and biases, and padding and cropping into the sizes. `apply` computes the layers in
torch, as a reference for what the page computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import RunError
from ..models.networks import Crop

Shape = tuple[int, int, int]
"""Channels, height, width of the values for one image; `(n, 1, 1)` for a vector."""


class ExportError(RunError):
    """A model cannot be put on the page; the message names the reason."""


@dataclass(frozen=True)
class Layer:
    """A linear map with bias and activation.

    Inputs and outputs beyond their sizes count as zeros, so that padding at the bottom and the right, and cropping,
    need no fields of their own.

    Attributes:
        kind: `linear`, `conv` or `transposed`.
        inputs: shape of the input.
        outputs: shape of the output.
        weight: in torch's layout: `(O, I)`, `(O, I, k, k)` or, for transposed convolutions, `(I, O, k, k)`.
        bias: `(O,)`.
        activation: `none`, `relu` or `sigmoid`.
        kernel: side `k` of the kernel; 1 if linear.
        stride: of a convolution.
        padding: rows of zeros above and columns of zeros to the left of the input; those that a transposed convolution
            cuts from the top and the left of its output.
    """

    kind: str
    inputs: Shape
    outputs: Shape
    weight: Tensor
    bias: Tensor
    activation: str = "none"
    kernel: int = 1
    stride: int = 1
    padding: int = 0

    @property
    def multiplications(self) -> int:
        """Number of multiplications for one image, borders included."""
        places = math.prod((self.inputs if self.kind == "transposed" else self.outputs)[1:])
        return self.weight.numel() * (places if self.kind != "linear" else 1)


@torch.no_grad()
def layers_of(network: nn.Module, shape: Shape) -> list[Layer]:
    """Return the layers of an encoder or decoder in evaluation mode.

    Args:
        network: an `nn.Sequential` of the layers that `models.networks` uses, on the CPU.
        shape: shape of the input; `(latent_size, 1, 1)` for a decoder.

    Raises:
        ExportError: the network has a layer that the page does not know.
    """
    if not isinstance(network, nn.Sequential):
        raise ExportError(f"{_name(network)} cannot be explored: only nn.Sequential networks can")
    builder = _Builder(shape)
    for module in network:
        builder.add(module)
    return builder.layers


def _name(module: nn.Module) -> str:
    return f"a network with {type(module).__name__}"


class _Builder:
    """Collects layers. `shape` is that of the next layer's input, `padding` the pending one at the top and the left."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.layers: list[Layer] = []
        self.extra = (0, 0)  # pending zeros at the bottom and at the right

    def add(self, module: nn.Module) -> None:
        for kind, add in self._KINDS:
            if isinstance(module, kind):
                add(self, module)
                return
        raise self._refusal(module)

    def _refusal(self, module: nn.Module) -> ExportError:
        known = "Linear, Conv2d, ConvTranspose2d, BatchNorm2d, ReLU and Sigmoid"
        return ExportError(f"{_name(module)} ({module}) cannot be explored; the page computes {known}")

    def _append(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape, self.extra = layer.outputs, (0, 0)

    def _linear(self, module: nn.Linear) -> None:
        if module.in_features != math.prod(self.shape):
            raise self._refusal(module)
        weight = module.weight.detach().clone()
        outputs = (module.out_features, 1, 1)
        self._append(Layer("linear", self.shape, outputs, weight, _bias(module, module.out_features)))

    def _convolution(self, module: nn.Conv2d) -> None:
        kernel, stride, padding = self._check_square(module)
        sizes = [(n + x + 2 * padding - kernel) // stride + 1 for n, x in zip(self.shape[1:], self.extra, strict=True)]
        outputs = (module.out_channels, sizes[0], sizes[1])
        weight, bias = module.weight.detach().clone().contiguous(), _bias(module, module.out_channels)
        layer = Layer("conv", self.shape, outputs, weight, bias, kernel=kernel, stride=stride, padding=padding)
        self._append(layer)

    def _transposed(self, module: nn.ConvTranspose2d) -> None:
        kernel, stride, padding = self._check_square(module)
        sizes = [(n - 1) * stride - 2 * padding + kernel for n in self.shape[1:]]
        outputs = (module.out_channels, sizes[0], sizes[1])
        weight, bias = module.weight.detach().clone().contiguous(), _bias(module, module.out_channels)
        layer = Layer("transposed", self.shape, outputs, weight, bias, kernel=kernel, stride=stride, padding=padding)
        self._append(layer)

    def _check_square(self, module: nn.Conv2d | nn.ConvTranspose2d) -> tuple[int, int, int]:
        """Return kernel, stride and padding, equal in both directions."""
        pairs = (module.kernel_size, module.stride, module.padding)
        plain = module.dilation == (1, 1) and module.groups == 1 and module.padding_mode == "zeros"
        if not plain or any(isinstance(p, str) or p[0] != p[1] for p in pairs) or any(module.output_padding):
            raise self._refusal(module)
        return module.kernel_size[0], module.stride[0], int(module.padding[0])

    def _normalise(self, module: nn.BatchNorm2d) -> None:
        if not self.layers or self.layers[-1].activation != "none" or module.running_var is None:
            raise self._refusal(module)
        last = self.layers[-1]
        gain = torch.ones_like(module.running_var) if module.weight is None else module.weight
        shift = torch.zeros_like(module.running_var) if module.bias is None else module.bias
        assert module.running_mean is not None
        scale = gain.double() / (module.running_var.double() + module.eps).sqrt()
        along = (1, -1, 1, 1) if last.kind == "transposed" else (-1, *[1] * (last.weight.ndim - 1))
        weight = (last.weight.double() * scale.reshape(along)).float()
        bias = ((last.bias.double() - module.running_mean.double()) * scale + shift.double()).float()
        self.layers[-1] = replace(last, weight=weight, bias=bias)

    def _activate(self, module: nn.Module) -> None:
        if not self.layers or self.layers[-1].activation != "none":
            raise self._refusal(module)
        self.layers[-1] = replace(self.layers[-1], activation="relu" if isinstance(module, nn.ReLU) else "sigmoid")

    def _pad(self, module: nn.ZeroPad2d) -> None:
        left, right, top, bottom = module.padding
        if left or top:
            raise self._refusal(module)
        self.extra = (bottom, right)

    def _crop(self, module: Crop) -> None:
        if not self.layers or self.layers[-1].kind != "transposed":
            raise self._refusal(module)
        outputs = (self.shape[0], min(self.shape[1], module.height), min(self.shape[2], module.width))
        self.layers[-1] = replace(self.layers[-1], outputs=outputs)
        self.shape = outputs

    def _unflatten(self, module: nn.Unflatten) -> None:
        size = tuple(int(n) for n in module.unflattened_size)
        if len(size) != 3 or math.prod(size) != math.prod(self.shape):
            raise self._refusal(module)
        self.shape = (size[0], size[1], size[2])

    def _skip(self, _: nn.Module) -> None:
        """Flattening changes only the shape, and dropout nothing in evaluation mode."""

    _KINDS: tuple[tuple[type[nn.Module], Callable[..., None]], ...] = (
        (nn.Linear, _linear),
        (nn.Conv2d, _convolution),
        (nn.ConvTranspose2d, _transposed),
        (nn.BatchNorm2d, _normalise),
        (nn.ReLU, _activate),
        (nn.Sigmoid, _activate),
        (nn.ZeroPad2d, _pad),
        (Crop, _crop),
        (nn.Unflatten, _unflatten),
        (nn.Flatten, _skip),
        (nn.Identity, _skip),
        (nn.Dropout, _skip),
    )


def _bias(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, outputs: int) -> Tensor:
    return torch.zeros(outputs) if module.bias is None else module.bias.detach().clone()


def first_outputs(layers: Sequence[Layer], count: int) -> list[Layer]:
    """Return the layers with only the first `count` outputs of the last one, which is linear.

    They are the means of a VAE's encoder, without the log-variances.
    """
    *others, last = layers
    return [*others, replace(last, outputs=(count, 1, 1), weight=last.weight[:count], bias=last.bias[:count])]


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda values: values,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


@torch.no_grad()
def apply(layers: Sequence[Layer], values: Tensor) -> Tensor:
    """Compute the layers in torch: values `(N, ...)` to `(N, C, H, W)`, or `(N, n)` if the last layer is linear."""
    for layer in layers:
        if layer.kind == "linear":
            values = F.linear(values.flatten(1), layer.weight, layer.bias)
        else:
            values = _convolve(layer, values.reshape(-1, *layer.inputs))
        values = ACTIVATIONS[layer.activation](values)
    return values


def _convolve(layer: Layer, values: Tensor) -> Tensor:
    _, height, width = layer.outputs
    if layer.kind == "transposed":
        full = F.conv_transpose2d(values, layer.weight, layer.bias, stride=layer.stride, padding=layer.padding)
        return full[:, :, :height, :width]
    bottom, right = (
        (size - 1) * layer.stride + layer.kernel - inputs - layer.padding
        for size, inputs in zip((height, width), layer.inputs[1:], strict=True)
    )
    padded = F.pad(values, (layer.padding, right, layer.padding, bottom))
    return F.conv2d(padded, layer.weight, layer.bias, stride=layer.stride)
