"""What a config takes where it leaves a value open: the paper's settings by image set (A.2, A.3), and restoration's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BETAS = {"mlp": (0.9, 0.999), "conv": (0.5, 0.999)}
"""Adam's, by network. The paper does not give them: the framework's for the MLP; for convolutions those of the code
published with Tolstikhin et al. (2018), since at full width the usual momentum carries the first steps so far towards
black that the sigmoid saturates (studies/conv_start.py)."""

RESTORATION_WIDTHS = (16, 32, 64, 128)
"""Channels of the restoration network at each resolution, the whole image's first."""

RESTORATION_A = 50.0
"""`a` of log-cosh for restoration; how it was chosen: docs/restoration.md."""


@dataclass(frozen=True)
class Setting:
    """Values of one image set; those that differ between VAE and WAE are by family.

    Attributes:
        latent_size: `d`.
        epochs: of training.
        a: of the log-cosh loss.
        reconstruction_weight: `lambda` of Eq. 8.
        lr_milestones: `(epoch, factor)`: after that epoch the learning rate is multiplied by the factor.
    """

    latent_size: int
    epochs: Mapping[str, int]
    a: Mapping[str, float]
    reconstruction_weight: Mapping[str, float]
    lr_milestones: tuple[tuple[float, float], ...] | None = None


# The code published with Tolstikhin et al. (2018) minimises 0.05 |t|^2 + 10 MMD on MNIST with pixels in [0, 1], and
# 0.05 |t|^2 + 100 MMD on CelebA with pixels in [-1, 1], where a residual is twice as large: 0.05 / 10 and 0.2 / 100.
_MNIST = Setting(
    latent_size=8,
    epochs={"vae": 40, "wae": 40},
    a={"vae": 100.0, "wae": 100.0},
    reconstruction_weight={"vae": 1.0, "wae": 0.005},
)
_CELEBA = Setting(
    latent_size=64,
    epochs={"vae": 68, "wae": 55},
    a={"vae": 100.0, "wae": 2.5},
    reconstruction_weight={"vae": 1.0, "wae": 0.002},
    lr_milestones=((30, 0.5), (50, 0.2)),
)

SETTINGS: dict[str, Setting] = {"mnist": _MNIST, "fashion-mnist": _MNIST, "celeba": _CELEBA}


def setting_of(data: str) -> Setting:
    """The setting of an image set; images that the paper does not use are treated as its faces are."""
    return SETTINGS.get(data, _CELEBA)
