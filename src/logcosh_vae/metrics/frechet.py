"""Frechet distance between Gaussians fitted to features of two image sets (Heusel et al. 2017; paper, Sec. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """Sums from which mean and covariance follow; add those of the parts to get those of the whole.

    Attributes:
        count: number of feature vectors.
        total: their sum, `(d,)`, float64.
        products: sum of their outer products, `(d, d)`, float64.
    """

    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def of(cls, features: Tensor) -> FeatureStatistics:
        """Statistics of `(N, d)` features."""
        if features.ndim != 2:
            raise ValueError(f"features must be (N, d); got {tuple(features.shape)}")
        values = features.double()
        return cls(len(values), values.sum(dim=0), values.T @ values)

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        return FeatureStatistics(self.count + other.count, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """`(d,)`."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """`(d, d)`, unbiased."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors; got {self.count}")
        return (self.products - torch.outer(self.total, self.mean)) / (self.count - 1)


def _root(covariance: Tensor) -> Tensor:
    """`A` with `A A^T = covariance`; rounding below 0 is cut off."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp_min(0.0).sqrt()
    return root


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    r"""Squared Frechet (2-Wasserstein) distance of two Gaussians, in float64.

    .. math:: |\mu_1 - \mu_2|^2 + \mathrm{tr}\left(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\right)

    With :math:`\Sigma_i = A_i A_i^T` the last trace is the sum of the singular values of :math:`A_1^T A_2`, which
    needs no root of a matrix that may be singular.

    Returns:
        At least 0 up to rounding; 0 for equal statistics.

    Reference: Dowson and Landau (1982); Heusel et al. (2017).
    """
    covariances = first.covariance, second.covariance
    cross = torch.linalg.svdvals(_root(covariances[0]).T @ _root(covariances[1])).sum()
    distance = (first.mean - second.mean).square().sum()
    return float(distance + covariances[0].trace() + covariances[1].trace() - 2.0 * cross)
