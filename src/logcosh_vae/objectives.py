"""The training objective (paper, Eq. 8), the only place that reduces and weighs losses.

`L = lambda * sum_i loss(x_hat_i - x_i) + D`, averaged over the batch; `D` is the KL divergence of a VAE's
posterior or the MMD of a WAE's codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .latent import MMD_SCALES, mmd, standard_normal
from .losses import Loss
from .models import Output

Terms = dict[str, Tensor]
"""Named scalars; `objective` is the one to minimise."""


def per_image(values: Tensor) -> Tensor:
    """Sum over the pixels of each image and average over the batch: `(N, C, H, W)` to a scalar."""
    return values.sum() / values.shape[0]


@dataclass(frozen=True)
class Objective:
    """Weighted reconstruction loss plus latent divergence.

    Args:
        loss: elementwise reconstruction loss, from `make_loss`.
        weight: `lambda` of Eq. 8; 1 for a VAE.
        mmd_scales: kernel scales, used where the encoder is deterministic.
    """

    loss: Loss
    weight: float = 1.0
    mmd_scales: tuple[float, ...] = MMD_SCALES

    def divergence(self, output: Output, generator: torch.Generator | None = None) -> tuple[str, Tensor]:
        """`("kl", mean KL over the batch)` with a posterior, else `("mmd", MMD to a fresh prior sample)`."""
        if output.posterior is not None:
            return "kl", output.posterior.kl().mean()
        prior = standard_normal(output.z.shape, like=output.z, generator=generator)
        return "mmd", mmd(output.z, prior, self.mmd_scales)

    def for_training(self, output: Output, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A scalar with the objective's gradient but not its value (paper, Sec. 3.2): the loss is not evaluated."""
        _, divergence = self.divergence(output, generator)
        return self.weight * per_image(self.loss.gradient_only(output.x_hat, target)) + divergence

    def __call__(self, output: Output, target: Tensor, generator: torch.Generator | None = None) -> Terms:
        """Every term by name, each a mean over the batch.

        Args:
            output: of a model's forward pass.
            target: `(N, C, H, W)` in [0, 1].
            generator: draws the prior sample of the MMD.

        Returns:
            `objective`, `reconstruction` (the loss summed over pixels, unweighted), `kl` or `mmd`, and
            `squared_l2`, tracked for every loss alike (paper, Fig. 6a).
        """
        name, divergence = self.divergence(output, generator)
        reconstruction = per_image(self.loss.value(output.x_hat, target))
        with torch.no_grad():
            squared_l2 = per_image((output.x_hat - target).square())
        return {
            "objective": self.weight * reconstruction + divergence,
            "reconstruction": reconstruction,
            name: divergence,
            "squared_l2": squared_l2,
        }
