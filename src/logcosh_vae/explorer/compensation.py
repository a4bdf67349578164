"""Rounding a weight matrix so that its products stay the same: errors of one column are made up for by later columns.

The columns are rounded one after another. After each, the columns that are left change so that the mean square error of
the products with typical inputs is smallest (Frantar et al. 2023, "GPTQ", Sec. 3). The activations of a decoder lie
near a surface of few dimensions, so that most of the error can be made up for: with a step three to four times as large
(two bits less per weight), the images are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .layers import Layer, apply
from .packing import rounded as rounded_to

DAMPING = 1e-3
"""Added to the second moments of the inputs, as a fraction of their mean: weights change less along unused inputs."""


def compensated(weight: Tensor, step: float, inputs: Tensor) -> Tensor:
    """Round a matrix to multiples of a step.

    Args:
        weight: `(O, I)`.
        step: the step.
        inputs: `(N, I)`, typical inputs.

    Returns:
        `(O, I)`, float32, near `weight` such that the products with inputs like these are, too.
    """
    x = inputs.double()
    moments = x.T @ x / len(x)
    size = len(moments)
    moments += (DAMPING * moments.diagonal().mean() + 1e-12) * torch.eye(size, dtype=x.dtype)
    # row i of the factor: how an error in column i is spread over the columns from i on
    try:
        spread = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moments)), upper=True)
    except RuntimeError:  # the inputs are too large, or not finite
        return rounded_to(weight, step)
    left, result = weight.double().clone(), torch.empty_like(weight, dtype=x.dtype)
    for i in range(size):
        result[:, i] = (left[:, i] / step).round() * step
        error = (left[:, i] - result[:, i]) / spread[i, i]
        left[:, i + 1 :] -= error[:, None] * spread[i, i + 1 :]
    return result.float()


@torch.no_grad()
def compensated_decoder(
    exact: Sequence[Layer], rounded: Sequence[Layer], steps: Sequence[float], codes: Tensor
) -> tuple[Layer, ...]:
    """Return a rounded decoder whose linear layers are rounded with compensation, all but the first.

    The inputs of the first one are the latent variables, which have nothing in common.

    Args:
        exact: layers of the decoder.
        rounded: the same with rounded weights and biases.
        steps: of the weights of each layer.
        codes: `(N, latent_size)`, typical codes.
    """
    layers: list[Layer] = []
    values = codes
    for index, (layer, simple, step) in enumerate(zip(exact, rounded, steps, strict=True)):
        if index and layer.kind == "linear":
            simple = replace(simple, weight=compensated(layer.weight, step, values.flatten(1)))
        layers.append(simple)
        if any(later.kind == "linear" for later in exact[index + 1 :]):
            values = apply([simple], values)
    return tuple(layers)
