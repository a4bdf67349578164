"""The training objective (paper, Eq. 8), the only place that reduces and weighs losses.

`L = lambda * sum_i loss(x_hat_i - x_i) + D`, averaged over the batch; `D` is the KL divergence of a VAE's
posterior or the MMD of a WAE's codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import Loss
from ..models.autoencoder import Output
from ..models.distributions import MMD_SCALES, Source, mmd, standard_normal

Terms = dict[str, Tensor]
"""Named scalars; `objective` is the one to minimise."""


def per_image(values: Tensor) -> Tensor:
    """Sum over the pixels of each image and average over the batch: `(N, C, H, W)` to a scalar."""
    return values.sum() / values.shape[0]


@dataclass(frozen=True)
class Slopes:
    """The derivatives of an objective in some outputs of a network, which is all that training needs of it.

    Attributes:
        outputs: of the network, whose graphs lead to its weights.
        gradients: the objective's, one for each output and of its shape; None for an output that is a term itself.
    """

    outputs: Sequence[Tensor]
    gradients: Sequence[Tensor | None]

    def backward(self) -> None:
        """Add the objective's gradient to that of every weight that wants one."""
        pairs = zip(self.outputs, self.gradients, strict=True)
        # of a frozen encoder nothing leads to a weight; where nothing does at all, torch says so
        wanted = [pair for pair in pairs if pair[0].requires_grad] or [(self.outputs[0], self.gradients[0])]
        torch.autograd.backward([output for output, _ in wanted], [gradient for _, gradient in wanted])


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

    def divergence(self, output: Output, generator: Source = None) -> tuple[str, Tensor]:
        """`("kl", mean KL over the batch)` with a posterior, else `("mmd", MMD to a fresh prior sample)`."""
        if output.posterior is not None:
            return "kl", output.posterior.kl().mean()
        prior = standard_normal(output.z.shape, like=output.z, generator=generator)
        return "mmd", mmd(output.z, prior, self.mmd_scales)

    def for_training(self, output: Output, target: Tensor, generator: Source = None) -> Slopes:
        """The objective's slopes without its value (paper, Sec. 3.2): neither loss nor KL divergence is evaluated.

        Arguments are those of a call.

        Example:
            >>> from logcosh_vae import VAE
            >>> from logcosh_vae.losses import make_loss
            >>> model, x = VAE.from_network(), torch.rand(2, 1, 28, 28)
            >>> Objective(make_loss("log-cosh", a=100.0)).for_training(model(x), x).backward()
        """
        count = target.shape[0]
        of_loss = self.loss.grad(output.x_hat, target, self.weight / count)
        if output.posterior is None:
            _, divergence = self.divergence(output, generator)
            return Slopes((output.x_hat, divergence), (of_loss, None))
        return Slopes((output.x_hat, *output.posterior), (of_loss, *(s / count for s in output.posterior.kl_slopes())))

    def __call__(self, output: Output, target: Tensor, generator: Source = None) -> Terms:
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
