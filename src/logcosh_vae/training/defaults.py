"""Default values of configs: the paper's settings for each data set (A.2, A.3), and those of restoration.

`RECOMMENDED` is the setting for unknown images, which `--loss auto` chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BETAS = {"mlp": (0.9, 0.999), "conv": (0.5, 0.999)}
"""Adam's betas for each network; the paper does not state them. The MLP uses torch's defaults. Convolutional networks
use those of the code published with Tolstikhin et al. (2018): at full width, the first steps with beta1 = 0.9 overshoot
towards black images until the sigmoid saturates (studies/conv_start.py)."""

RESTORATION_WIDTHS = (16, 32, 64, 128)
"""Channels of the restoration network at each resolution, from full resolution downwards."""

RESTORATION_A = 50.0
"""`a` of log-cosh for restoration; docs/restoration.md describes how it was chosen."""


@dataclass(frozen=True)
class DataDefaults:
    """Default values for one data set; mappings have one entry per model family (`vae`, `wae`).

    Attributes:
        latent_size: dimension `d` of the latent space.
        epochs: number of training epochs.
        a: parameter `a` of the log-cosh loss.
        reconstruction_weight: `lambda` of Eq. 8.
        lr_milestones: pairs `(epoch, factor)`; after that epoch the learning rate is multiplied by the factor.
    """

    latent_size: int
    epochs: Mapping[str, int]
    a: Mapping[str, float]
    reconstruction_weight: Mapping[str, float]
    lr_milestones: tuple[tuple[float, float], ...] | None = None


# The WAE weights follow from the code published with Tolstikhin et al. (2018). On MNIST, with pixels in [0, 1], it
# minimises 0.05 |t|^2 + 10 MMD, which gives 0.05 / 10. On CelebA it minimises 0.05 |t|^2 + 100 MMD with pixels in
# [-1, 1]; residuals are twice as large there and their squares four times, which gives 4 * 0.05 / 100.
_MNIST = DataDefaults(
    latent_size=8,
    epochs={"vae": 40, "wae": 40},
    a={"vae": 100.0, "wae": 100.0},
    reconstruction_weight={"vae": 1.0, "wae": 0.005},
)
_CELEBA = DataDefaults(
    latent_size=64,
    epochs={"vae": 68, "wae": 55},
    a={"vae": 100.0, "wae": 2.5},
    reconstruction_weight={"vae": 1.0, "wae": 0.002},
    lr_milestones=((30, 0.5), (50, 0.2)),
)

AUTO = "auto"
"""Name of the recommended setting, as `--loss` and `objective.loss` take it; `resolve` replaces it by the setting."""


@dataclass(frozen=True)
class Recommendation:
    """A setting for images for which nobody knows `a` and the weight.

    Attributes:
        loss: name of the loss.
        likelihood: what is learned of its likelihood.
        prior: where codes are drawn from, one of `models.density.PRIORS`.
    """

    loss: str
    likelihood: str
    prior: str


# The study `reproduce likelihood` (paper/likelihood.py, docs/likelihood.md) compares this setting with every loss at
# weights set by hand. Its results decide what stands here.
RECOMMENDED = Recommendation("log-cosh", "scale+shape", "mixture")
"""What `--loss auto` stands for; nothing else defines it."""

DEFAULTS: dict[str, DataDefaults] = {"mnist": _MNIST, "fashion-mnist": _MNIST, "celeba": _CELEBA}


def defaults_for(data: str) -> DataDefaults:
    """Return the defaults for a data set; images that the paper does not use get those of CelebA."""
    return DEFAULTS.get(data, _CELEBA)
