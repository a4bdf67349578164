"""Fitting a mixture of Gaussians to the codes of a run. `training.density_file` stores densities."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ..base.extras import require
from ..models.density import REGULARISATION, CodeDensity, checked_codes
from ..training.density_file import load_densities, save_densities

__all__ = [
    "COMPONENTS",
    "HELD_OUT",
    "MIN_CODES",
    "check_enough_codes",
    "fit_mixture",
    "load_densities",
    "save_densities",
]

COMPONENTS = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of components that are tried for a mixture, until the likelihood of held-out codes falls."""

HELD_OUT = 0.1
"""Fraction of the codes that the number of components is chosen on."""


MIN_CODES = {"gaussian": 2, "mixture": 20}
"""Smallest number of codes that each density can be fitted to."""


def check_enough_codes(name: str, count: int) -> None:
    """Check that a density can be fitted to `count` codes.

    Args:
        name: `gaussian` or `mixture`.
        count: number of codes.

    Raises:
        ValueError: there are too few.
        MissingPackageError: scikit-learn is not installed, and a mixture needs it.
    """
    if name == "mixture":
        require("fitting a mixture", "sklearn")
    if count < MIN_CODES[name]:
        raise ValueError(f"a {name} needs at least {MIN_CODES[name]} codes; got {count}")


def fit_mixture(codes: Tensor, seed: int = 0) -> CodeDensity:
    """Fit a mixture of Gaussians with full covariances by expectation maximisation (scikit-learn).

    The number of components is the one of `COMPONENTS` with the largest likelihood of held-out codes. They are tried in
    increasing order until the likelihood falls or there are fewer than `5 d` codes per component.

    Args:
        codes: `(N, d)`.
        seed: of the split into fitted and held-out codes and of the initial components.

    Raises:
        MissingPackageError: scikit-learn is not installed.
        ValueError: there are fewer than 20 codes, or codes that are not finite.
    """
    codes = checked_codes(codes)
    check_enough_codes("mixture", len(codes))
    from sklearn.mixture import GaussianMixture

    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))
    count = max(2, int(HELD_OUT * len(codes)))
    held, fitted = codes[order[:count]].numpy(), codes[order[count:]].numpy()
    best: Any = None
    scores: list[tuple[int, float]] = []
    for components in COMPONENTS:
        if components > 1 and len(fitted) < 5 * codes.shape[1] * components:
            break
        mixture = GaussianMixture(components, reg_covar=REGULARISATION, random_state=seed, max_iter=200)
        _fit_quietly(mixture, fitted)
        scores.append((components, float(mixture.score(held))))
        if best is not None and scores[-1][1] < max(score for _, score in scores[:-1]):
            break
        best = mixture
    weights, means, covariances = map(torch.from_numpy, (best.weights_, best.means_, best.covariances_))
    return CodeDensity.from_covariances(weights, means, covariances, tuple(scores))


def _fit_quietly(mixture: Any, codes: Any) -> None:
    """Fit a mixture without a warning where it stops before it has converged; it is usable then as well.

    One thread computes. Its matrices are small, so more threads mostly wait for each other: on a busy machine a fit
    takes ten times as long with them, and their number would change the last digits.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(codes)
