"""Densities that are fitted to the codes of a trained autoencoder, to sample from instead of the prior.

The codes of images do not follow the prior exactly, less so the more information they carry. A density that is fitted
to them after training gives better samples from the same decoder (Ghosh et al. 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PRIORS = ("standard", "gaussian", "mixture")
"""Where codes are drawn from: the prior `N(0, I)`, a fitted Gaussian, or a fitted mixture of Gaussians."""

REGULARISATION = 1e-6
"""Added to the variances of the codes, so that covariances of unused latent variables can be inverted."""


@dataclass(frozen=True)
class CodeDensity:
    """A mixture of Gaussians in the latent space; one component for a single Gaussian.

    Attributes:
        weights: probabilities of the components, `(K,)`, float64.
        means: `(K, d)`, float64.
        factors: lower Cholesky factors of the covariances, `(K, d, d)`, float64.
        held_out: mean log-density of held-out codes, in nats, by number of components tried; empty without a choice.

    Example:
        >>> density = CodeDensity(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None])
        >>> density.sample(3, torch.Generator().manual_seed(0)).shape, density.log_prob(torch.zeros(1, 2))
        (torch.Size([3, 2]), tensor([-1.8379]))
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    held_out: tuple[tuple[int, float], ...] = ()

    @property
    def components(self) -> int:
        """Number of Gaussians."""
        return len(self.weights)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw codes.

        Args:
            count: number of codes.
            generator: a CPU generator; None for torch's global one.

        Returns:
            `(count, d)` in the dtype of the parameters, on the CPU.
        """
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        codes = self.means[chosen]
        for index in chosen.unique():
            of_component = chosen == index
            codes[of_component] += noise[of_component] @ self.factors[index].T
        return codes

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return the log-density of codes `(N, d)` in nats, `(N,)`."""
        codes = codes.to(self.means.dtype)
        logs = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            whitened = torch.linalg.solve_triangular(factor, (codes - mean).T, upper=False)
            log_volume = factor.diagonal().log().sum() + 0.5 * len(mean) * math.log(2 * math.pi)
            logs.append(weight.log() - 0.5 * whitened.square().sum(0) - log_volume)
        return torch.stack(logs).logsumexp(0)

    @classmethod
    def from_covariances(
        cls, weights: Tensor, means: Tensor, covariances: Tensor, held_out: tuple[tuple[int, float], ...] = ()
    ) -> CodeDensity:
        """Return the mixture with these covariances, `(K, d, d)`.

        Raises:
            ValueError: a covariance is not positive definite.
        """
        factors, info = torch.linalg.cholesky_ex(covariances.double())
        if bool((info != 0).any()):
            raise ValueError("a covariance is not positive definite")
        return cls(weights.double(), means.double(), factors, held_out)


def fit_gaussian(codes: Tensor) -> CodeDensity:
    """Fit a Gaussian with full covariance.

    Args:
        codes: `(N, d)` with at least two codes.

    Raises:
        ValueError: there are fewer than two codes, or codes that are not finite.
    """
    codes = checked_codes(codes)
    covariance = torch.cov(codes.T).reshape(codes.shape[1], -1) + REGULARISATION * torch.eye(codes.shape[1]).double()
    return CodeDensity.from_covariances(torch.ones(1), codes.mean(0, keepdim=True), covariance[None])


def checked_codes(codes: Tensor) -> Tensor:
    """Return codes as a float64 tensor on the CPU.

    Raises:
        ValueError: they are not `(N, d)` with `N >= 2`, or not finite.
    """
    if codes.ndim != 2 or len(codes) < 2:
        raise ValueError(f"codes must be (N, d) with at least two of them; got {tuple(codes.shape)}")
    if not bool(codes.isfinite().all()):
        raise ValueError("the codes are not finite")
    return codes.detach().cpu().double()
