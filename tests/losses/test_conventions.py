"""The conversions of docs/weights.md: other conventions have the gradients of the loss and weight that it names."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from logcosh_vae.losses import make_loss
from logcosh_vae.training.objective import per_image

D = 3 * 4 * 5
BETA = 0.3

Terms = tuple[Tensor, float]
"""The reconstruction term of another convention, averaged over the batch, and the weight of its KL or MMD."""


def signed(images: Tensor) -> Tensor:
    """Pixels in [-1, 1] instead of [0, 1]."""
    return 2 * images - 1


def keras_log_cosh(prediction: Tensor, target: Tensor) -> Tensor:
    t = prediction - target
    return (t + F.softplus(-2 * t) - math.log(2)).mean(-1)


def log_cosh_sum(t: Tensor, a: float) -> Tensor:
    return (torch.cosh(a * t).log() / a).sum() / len(t)


def distribution_nll(distribution: type, scale: float) -> Callable[[Tensor, Tensor], Terms]:
    return lambda x_hat, x: (-distribution(x_hat, scale).log_prob(x).sum() / len(x), 1.0)


CONVENTIONS: dict[str, tuple[Callable[[Tensor, Tensor], Terms], str, float, float | None]] = {
    "mean of squares": (lambda x_hat, x: (F.mse_loss(x_hat, x), BETA), "l2", 1 / (D * BETA), None),
    "mean of absolute values": (lambda x_hat, x: (F.l1_loss(x_hat, x), BETA), "l1", 1 / (D * BETA), None),
    "mean of log cosh": (
        lambda x_hat, x: ((x_hat - x).cosh().log().mean(), BETA), "log-cosh", 1 / (D * BETA), 1.0
    ),
    "beta-VAE": (
        lambda x_hat, x: (0.5 * F.mse_loss(x_hat, x, reduction="sum") / len(x), BETA), "l2", 1 / (2 * BETA), None
    ),
    "Gaussian": (distribution_nll(torch.distributions.Normal, 0.2), "l2", 1 / (2 * 0.2**2), None),
    "Laplace": (distribution_nll(torch.distributions.Laplace, 0.2), "l1", 1 / 0.2, None),
    "log-cosh likelihood": (
        lambda x_hat, x: (0.7 * torch.cosh((x_hat - x) / 0.2).log().sum() / len(x), 1.0),
        "log-cosh", 0.7 / 0.2, 1 / 0.2,
    ),
    "pythae VAE": (
        lambda x_hat, x: (0.5 * F.mse_loss(x_hat.flatten(1), x.flatten(1), reduction="none").sum(-1).mean(), 1.0),
        "l2", 0.5, None,
    ),
    "pythae WAE": (
        lambda x_hat, x: (F.mse_loss(x_hat.flatten(1), x.flatten(1), reduction="none").sum(-1).mean(), 0.03),
        "l2", 1 / 0.03, None,
    ),
    "diffusers l2": (
        lambda x_hat, x: (F.mse_loss(signed(x_hat), signed(x), reduction="none").sum() / len(x), 1e-6),
        "l2", 4 / 1e-6, None,
    ),
    "diffusers l1": (
        lambda x_hat, x: (F.l1_loss(signed(x_hat), signed(x), reduction="none").sum() / len(x), 1e-6),
        "l1", 2 / 1e-6, None,
    ),
    "log-cosh in [-1, 1]": (
        lambda x_hat, x: (log_cosh_sum(signed(x_hat) - signed(x), 3.0), BETA), "log-cosh", 2 / BETA, 6.0
    ),
    "log-cosh in [0, 255]": (
        lambda x_hat, x: (log_cosh_sum(255 * x_hat - 255 * x, 0.02), BETA), "log-cosh", 255 / BETA, 255 * 0.02
    ),
    "Keras": (lambda x_hat, x: (keras_log_cosh(x_hat, x).mean(), BETA), "log-cosh", 1 / (D * BETA), 1.0),
}  # fmt: skip


@pytest.mark.parametrize(("elsewhere", "loss", "weight", "a"), CONVENTIONS.values(), ids=CONVENTIONS)
def test_conventions_are_converted(
    elsewhere: Callable[[Tensor, Tensor], Terms], loss: str, weight: float, a: float | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    x_hat, x = torch.rand(2, 6, 3, 4, 5, generator=generator, dtype=torch.float64)
    x_hat.requires_grad_()
    term, divergence_weight = elsewhere(x_hat, x)
    (expected,) = torch.autograd.grad(term / divergence_weight, x_hat)
    (obtained,) = torch.autograd.grad(weight * per_image(make_loss(loss, a).value(x_hat, x)), x_hat)
    assert torch.allclose(obtained, expected, rtol=1e-9, atol=0)
