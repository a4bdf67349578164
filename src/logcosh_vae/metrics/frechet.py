"""The Frechet distance between Gaussians fitted to the features of two image sets, known as FID for images.

`FeatureStatistics` holds the mean and covariance of a set, and `frechet_distance` compares two of them (Heusel et al.
2017; paper, Sec. 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .finite import check_finite


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and covariance of a set of feature vectors, stored as sums.

    The statistics of a set are the sum of those of its parts, so they can be accumulated over batches and processes.

    Attributes:
        count: number of feature vectors.
        total: their sum, `(d,)`, float64.
        products: sum of their outer products, `(d, d)`, float64.

    Example:
        >>> first, second = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 4.0]])
        >>> statistics = FeatureStatistics.of(first) + FeatureStatistics.of(second)
        >>> statistics.mean
        tensor([1., 2.], dtype=torch.float64)
    """

    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def of(cls, features: Tensor) -> FeatureStatistics:
        """Compute the statistics of features `(N, d)`.

        Raises:
            ValueError: the features are not a matrix, or not finite.
        """
        if features.ndim != 2:
            raise ValueError(f"features must have shape (N, d); got {tuple(features.shape)}")
        values = check_finite(features, "features").double()
        return cls(len(values), values.sum(dim=0), values.T @ values)

    def __add__(self, other: FeatureStatistics) -> FeatureStatistics:
        """Return the statistics of the union of both sets."""
        return FeatureStatistics(self.count + other.count, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """Mean feature vector, `(d,)`, float64."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance matrix, `(d, d)`, float64.

        Raises:
            ValueError: there are fewer than 2 feature vectors.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors; got {self.count}")
        return (self.products - torch.outer(self.total, self.mean)) / (self.count - 1)


def _factor(covariance: Tensor) -> Tensor:
    """Return `A` with `A A^T = covariance`; eigenvalues that are negative by rounding count as 0."""
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    factor: Tensor = eigenvectors * eigenvalues.clamp_min(0.0).sqrt()
    return factor


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    r"""Squared Frechet (2-Wasserstein) distance of two Gaussians with these means and covariances.

    .. math:: |\mu_1 - \mu_2|^2 + \mathrm{tr}\left(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\right)

    With :math:`\Sigma_i = A_i A_i^T`, the trace of the matrix square root is the sum of the singular values of
    :math:`A_1^T A_2`. This avoids the square root of a matrix that may be singular.

    Args:
        first: statistics of at least 2 feature vectors.
        second: statistics of at least 2 feature vectors of the same size.

    Returns:
        The distance, computed in float64: at least 0 up to rounding, and 0 for equal statistics.

    Raises:
        ValueError: the feature sizes differ, or a set has fewer than 2 feature vectors.

    Example:
        >>> x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
        >>> shifted = frechet_distance(FeatureStatistics.of(x), FeatureStatistics.of(x + 1.0))
        >>> round(shifted, 4)  # equal covariances: the squared distance of the means
        4.0

    Reference: Dowson and Landau (1982); Heusel et al. (2017).
    """
    if first.total.shape != second.total.shape:
        raise ValueError(f"feature sizes must be equal; got {len(first.total)} and {len(second.total)}")
    covariances = first.covariance, second.covariance
    root_trace = torch.linalg.svdvals(_factor(covariances[0]).T @ _factor(covariances[1])).sum()
    mean_distance = (first.mean - second.mean).square().sum()
    return float(mean_distance + covariances[0].trace() + covariances[1].trace() - 2.0 * root_trace)
