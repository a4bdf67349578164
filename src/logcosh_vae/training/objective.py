"""The training objective (paper, Eq. 8). Losses are reduced and weighted here and nowhere else.

`L = lambda * sum_i loss(x_hat_i - x_i) + D`, averaged over the batch; `D` is the KL divergence of a VAE's posterior or
the MMD of a WAE's codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import Likelihood, Loss
from ..models.autoencoder import AutoencoderOutput
from ..models.distributions import MMD_SCALES, NoiseSource, mmd, standard_normal

Losses = dict[str, Tensor]
"""Scalar losses by name; training minimises the one called `loss`."""


def per_image(values: Tensor) -> Tensor:
    """Sum `values`, `(N, C, H, W)`, over the pixels of each image and average over the batch; returns a scalar."""
    return values.sum() / values.shape[0]


def detached(losses: Losses) -> Losses:
    """Return the losses without their autograd graphs."""
    return {name: value.detach() for name, value in losses.items()}


@dataclass(frozen=True)
class Objective:
    """Weighted reconstruction loss plus latent divergence.

    Args:
        loss: elementwise reconstruction loss, from `make_loss`, or a likelihood with learned parameters, whose negative
            logarithm is the loss.
        reconstruction_weight: `lambda` of Eq. 8; 1 for a VAE.
        mmd_scales: scales of the MMD's kernels, used when the encoder is deterministic (WAE).
        free_bits: smallest KL divergence that counts for a latent variable, in nats; see `DiagonalGaussian.kl`.
        divergence_weight: factor on the latent divergence, a scalar tensor that warm-up changes in place; None for 1.
    """

    loss: Loss | Likelihood
    reconstruction_weight: float = 1.0
    mmd_scales: tuple[float, ...] = MMD_SCALES
    free_bits: float = 0.0
    divergence_weight: Tensor | None = None

    def divergence(self, output: AutoencoderOutput, generator: NoiseSource = None) -> tuple[str, Tensor]:
        """Return name and value of the latent divergence, a scalar.

        It is `"kl"`, averaged over the batch, if `output` has a posterior. Otherwise it is `"mmd"`, the MMD between the
        codes and a sample of the prior that is drawn with `generator`.
        """
        if output.posterior is not None:
            return "kl", output.posterior.kl(self.free_bits).mean()
        prior = standard_normal(output.z.shape, like=output.z, generator=generator)
        return "mmd", mmd(output.z, prior, self.mmd_scales)

    def likelihood(self) -> Likelihood | None:
        """Return the likelihood of the pixels that the weighted loss stands for; None if the loss has none."""
        return self.loss if isinstance(self.loss, Likelihood) else self.loss.likelihood(self.reconstruction_weight)

    def __call__(self, output: AutoencoderOutput, target: Tensor, generator: NoiseSource = None) -> Losses:
        """Compute all losses, averaged over the batch.

        Args:
            output: the result of the model's forward pass on `target`.
            target: `(N, C, H, W)` in [0, 1].
            generator: draws the prior sample of the MMD.

        Returns:
            `loss` (the one to minimise), `reconstruction` (summed over pixels, unweighted), `kl` (without free bits) or
            `mmd`, both unweighted, and `squared_l2`, which is tracked for every reconstruction loss (paper, Fig. 6a).
        """
        name, divergence = self.divergence(output, generator)
        reconstruction = per_image(self.loss.value(output.x_hat, target))
        with torch.no_grad():
            squared_l2 = per_image((output.x_hat - target).square())
        return {
            "loss": self.reconstruction_weight * reconstruction + self._weighted(divergence),
            "reconstruction": reconstruction,
            name: divergence if self.free_bits == 0.0 or output.posterior is None else output.posterior.kl().mean(),
            "squared_l2": squared_l2,
        }

    def backward(
        self, output: AutoencoderOutput, target: Tensor, generator: NoiseSource = None, *, compute_loss: bool = True
    ) -> Losses:
        """Accumulate the gradient of the objective in the `grad` of every parameter.

        Training needs the gradient at every step, but the value only at logged steps. Without `compute_loss`, the
        backward pass starts from the gradients with respect to `x_hat` and the posterior's parameters, which have
        closed forms; the loss and the KL divergence are not evaluated (paper, Sec. 3.2). The gradient is the same. A
        likelihood is always evaluated, because its parameters need a gradient as well.

        Args:
            output: as for `__call__`.
            target: as for `__call__`.
            generator: as for `__call__`.
            compute_loss: whether to evaluate the losses as well.

        Returns:
            The detached losses that `__call__` returns, or an empty dict without `compute_loss`.

        Example:
            >>> from logcosh_vae import VAE
            >>> from logcosh_vae.losses import make_loss
            >>> model, x = VAE.from_network(), torch.rand(2, 1, 28, 28)
            >>> sorted(Objective(make_loss("log-cosh", a=100.0)).backward(model(x), x))
            ['kl', 'loss', 'reconstruction', 'squared_l2']
        """
        if compute_loss:
            losses = self(output, target, generator)
            losses["loss"].backward()
            return detached(losses)
        count = target.shape[0]
        start, start_grad = self._reconstruction_start(output.x_hat, target)
        if output.posterior is None:
            _, divergence = self.divergence(output, generator)
            _backward((start, self._weighted(divergence)), (start_grad, None))
        else:
            posterior_grads = (self._weighted(grad / count) for grad in output.posterior.kl_grads(self.free_bits))
            _backward((start, *output.posterior), (start_grad, *posterior_grads))
        return {}

    def _weighted(self, value: Tensor) -> Tensor:
        """Return a value of the latent divergence, or its gradient, times its weight."""
        return value if self.divergence_weight is None else self.divergence_weight * value

    def _reconstruction_start(self, x_hat: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return where the backward pass of the reconstruction starts, and the gradient there; None stands for 1."""
        if isinstance(self.loss, Loss):
            return x_hat, self.loss.grad(x_hat, target, self.reconstruction_weight / len(target))
        return self.reconstruction_weight / len(target) * self.loss.nll_total(x_hat, target), None


def _backward(outputs: Sequence[Tensor], output_grads: Sequence[Tensor | None]) -> None:
    """Call `torch.autograd.backward`, skipping outputs that depend on no trainable parameter (a frozen encoder's)."""
    pairs = list(zip(outputs, output_grads, strict=True))
    differentiable = [pair for pair in pairs if pair[0].requires_grad] or pairs[
        :1
    ]  # if none is, torch raises the error
    torch.autograd.backward([output for output, _ in differentiable], [grad for _, grad in differentiable])
