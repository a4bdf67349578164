"""How coarsely weights may be rounded, so that the page is small and its images still equal those of the model.

Every array of weights has one step. A layer whose rounding changes the images more gets a finer step, in the proportion
that costs the fewest bits for the same mean square error; one common factor is then the largest that keeps every pixel
of the check images within a tolerance. Linear layers of a decoder may then have larger steps, see `compensation`.

The weights of models that were saved with 8 bits are rounded already, with a step for every row. They stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..training.precision import LEVELS
from .compensation import compensated_decoder
from .layers import ExportError, Layer, apply
from .packing import rounded, smallest_step

PROBE = 0.01
"""Step with which the effect of rounding one array is measured, as a fraction of the standard deviation."""

ATTEMPTS = 12
"""Largest number of factors that are tried."""

MULTIPLICATIONS = 5e8
"""About how many multiplications the reconstruction of the check images may take, a fraction of a second."""


CHECKED_IMAGES = 500
"""Number of codes, and of images, that rounded networks are compared on, unless the networks are large."""


COMPENSATED_FACTOR = 3.0
"""How much larger steps are with compensation."""

CALIBRATION_CODES = 3_000
"""Number of codes that compensation is computed from."""

ROUNDED_ALREADY = 1e-4
"""How far weights, in steps, may be from integers to count as rounded; float32 leaves about 1e-5."""


@dataclass(frozen=True)
class Networks:
    """Encoder and decoder of a model as layers."""

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, in the order in which the page holds them."""
        return self.encoder + self.decoder

    def with_layers(self, layers: Sequence[Layer]) -> Networks:
        """Return networks of the same structure with other layers."""
        count = len(self.encoder)
        return Networks(tuple(layers[:count]), tuple(layers[count:]))


def codes_to_check(count: int, latent_size: int, radius: float, seed: int) -> Tensor:
    """Draw codes: half of them from the prior, the others uniformly from `[-radius, radius]`, where the sliders are."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count // 2, latent_size, generator=generator)
    uniform = torch.rand(count - count // 2, latent_size, generator=generator)
    return torch.cat([normal, radius * (2 * uniform - 1)])


class RoundingCheck:
    """Compares rounded networks with exact ones on codes and images.

    Args:
        networks: the exact networks.
        images: `(N, C, H, W)` in [0, 1], to reconstruct; some are taken.
        radius: range of the codes, see `codes_to_check`.
        seed: of the codes.
    """

    def __init__(self, networks: Networks, images: Tensor, radius: float, seed: int = 0) -> None:
        cost = sum(layer.multiplications for layer in networks.layers)
        count = int(min(CHECKED_IMAGES, max(32, MULTIPLICATIONS / cost)))
        latent_size = networks.decoder[0].inputs[0]
        drawn = codes_to_check(count, latent_size, radius, seed)
        if not len(images):
            images = apply(networks.decoder, drawn[: count // 2])
        self._images, self._radius, self._seed = images[:count], radius, seed
        encoded = apply(networks.encoder, self._images)
        self._codes = torch.cat([drawn, encoded])
        self._decoded = apply(networks.decoder, self._codes)
        if not bool(self._codes.isfinite().all() and self._decoded.isfinite().all()):
            raise ExportError("the model computes numbers that are not finite; train it with a lower learning rate")
        self._drawn = len(drawn)

    def typical_codes(self, count: int) -> Tensor:
        """Return about `count` codes of the same kinds, others than those that are compared."""
        drawn = codes_to_check(count, self._codes.shape[1], self._radius, self._seed + 1)
        return torch.cat([drawn, self._codes[self._drawn :]])

    def differences(self, networks: Networks) -> tuple[Tensor, Tensor]:
        """Return the pixel differences to the exact networks: of decoded codes, and of reconstructed images."""
        decoded = apply(networks.decoder, self._codes) - self._decoded
        reconstructed = apply(networks.decoder, apply(networks.encoder, self._images)) - self._decoded[self._drawn :]
        return decoded.abs(), reconstructed.abs()

    def largest(self, networks: Networks) -> float:
        """Return the largest difference of a pixel."""
        return max(float(part.max()) for part in self.differences(networks))


@dataclass(frozen=True)
class Rounding:
    """Networks with rounded weights.

    Attributes:
        networks: what the page computes with.
        steps: step of the weights of each layer; a tensor with a step for each row, see `row_steps`.
        difference: largest difference of a pixel of the check images to the exact networks, in [0, 1].
    """

    networks: Networks
    steps: tuple[float | Tensor, ...]
    difference: float


def row_steps(weight: Tensor) -> Tensor | None:
    """Return the steps of weights that were saved with 8 bits; None for others.

    Args:
        weight: `(R, ...)`, a matrix or the kernels of a convolution.

    Returns:
        `(R, 1, ...)`: each weight is a multiple of its row's step, by an integer from -127 to 127. A row of zeros has
        the least step of the others.
    """
    steps = weight.flatten(1).abs().amax(1).double() / LEVELS
    positive = steps[steps > 0]
    steps = steps.where(steps > 0, positive.min() if len(positive) else 1.0).view(-1, *[1] * (weight.ndim - 1))
    multiples = weight.double() / steps
    return steps if bool(((multiples - multiples.round()).abs() < ROUNDED_ALREADY).all()) else None


def as_saved(networks: Networks, check: RoundingCheck, tolerance: float) -> Rounding | None:
    """Return networks that were saved with 8 bits without rounding their weights again; None for others.

    Args:
        networks: the exact networks.
        check: compares rounded networks with them.
        tolerance: largest difference of a pixel, in [0, 1]. It is exceeded where the steps of a layer differ by many
            orders of magnitude; the result is None then, too.
    """
    layers, steps = [], []
    for layer in networks.layers:
        exact = row_steps(layer.weight)
        if exact is None:
            return None
        packed = rounded(exact, smallest_step(exact)).double()
        if not bool((packed > 0).all()):
            return None
        weight = (layer.weight.double() / exact).round().mul(packed).float()
        layers.append(replace(layer, weight=weight, bias=rounded(layer.bias, smallest_step(layer.bias))))
        steps.append(packed)
    read = networks.with_layers(layers)
    difference = check.largest(read)
    return Rounding(read, tuple(steps), difference) if difference <= tolerance else None


def rounded_networks(networks: Networks, steps: Sequence[float]) -> Networks:
    """Return networks with weights that are rounded with these steps, one per layer, and finely rounded biases."""
    layers = [
        replace(layer, weight=rounded(layer.weight, step), bias=rounded(layer.bias, smallest_step(layer.bias)))
        for layer, step in zip(networks.layers, steps, strict=True)
    ]
    return networks.with_layers(layers)


def round_networks(networks: Networks, check: RoundingCheck, steps: Sequence[float]) -> Rounding:
    """Round networks with given steps, which are made larger where compensation allows it.

    Args:
        networks: the exact networks.
        check: compares rounded networks with them.
        steps: of the weights of each layer.
    """
    simple = rounded_networks(networks, steps)
    count = len(networks.encoder)
    larger = [
        step * COMPENSATED_FACTOR if index > count and layer.kind == "linear" else step
        for index, (layer, step) in enumerate(zip(networks.layers, steps, strict=True))
    ]
    plain = Rounding(simple, tuple(steps), check.largest(simple))
    if larger == list(steps):
        return plain
    codes = check.typical_codes(CALIBRATION_CODES)
    decoder = compensated_decoder(networks.decoder, simple.decoder, larger[count:], codes)
    networks = Networks(simple.encoder, decoder)
    difference = check.largest(networks)
    return Rounding(networks, tuple(larger), difference) if difference <= 1.2 * plain.difference else plain


def _proportions(networks: Networks, check: RoundingCheck) -> list[float]:
    """Return steps whose ratios are the best ones.

    For weights `i = 1 ... L` with `n_i` numbers and an error `c_i s_i` for the step `s_i`, the bits `-sum n_i log s_i`
    are fewest, for a given sum of the squared errors, if `s_i` is proportional to `sqrt(n_i) / c_i`.
    """
    layers, steps = networks.layers, []
    for index, layer in enumerate(layers):
        probe = max(PROBE * float(layer.weight.std(correction=0)), smallest_step(layer.weight))
        changed = [*layers]
        changed[index] = replace(layer, weight=rounded(layer.weight, probe))
        parts = check.differences(networks.with_layers(changed))
        error = max(float(part.square().mean().sqrt()) for part in parts)
        steps.append(math.sqrt(layer.weight.numel()) * probe / error if error > 0 else math.inf)
    finite = [step for step in steps if step < math.inf]
    return [step if step < math.inf else max(finite, default=1.0) for step in steps]


class StepChooser:
    """Chooses the steps of all layers' weights.

    Args:
        networks: the exact networks.
        check: compares rounded networks with them.
    """

    def __init__(self, networks: Networks, check: RoundingCheck) -> None:
        self._networks, self._check = networks, check
        self._proportions = _proportions(networks, check)
        self._finest = [smallest_step(layer.weight) for layer in networks.layers]
        self._factor = 1e-3 / max(self._proportions)

    def steps_within(self, tolerance: float) -> list[float]:
        """Return the largest steps that change no pixel of the check images by more than a tolerance, in [0, 1].

        The search ends where the largest difference is at least 0.8 times the tolerance, or after `ATTEMPTS`.
        """
        best = self._finest
        for _ in range(ATTEMPTS):
            steps = [max(self._factor * p, least) for p, least in zip(self._proportions, self._finest, strict=True)]
            error = self._check.largest(rounded_networks(self._networks, steps))
            if error <= tolerance:
                best = steps
            if 0.8 * tolerance <= error <= tolerance:
                break
            self._factor *= min(100.0, max(0.01, 0.9 * tolerance / max(error, 1e-12)))
        return best
