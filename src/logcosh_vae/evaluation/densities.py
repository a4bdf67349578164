"""Densities fitted to the codes of a run: fitting a mixture, and the file of densities in a run folder."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..base.errors import RunError
from ..base.extras import require
from ..base.files import one_line, read_regular, write_bytes
from ..models.density import REGULARISATION, CodeDensity, checked_codes
from ..training.weights_file import LARGEST_BYTES, digest_of, metadata_of, with_sorted_header

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
    """Fit a mixture without a warning where it stops before it has converged; it is usable then as well."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(codes)


def save_densities(densities: dict[str, CodeDensity], path: Path, **origin: str) -> None:
    """Write fitted densities to a safetensors file of plain arrays, such as `mixture.means`.

    Args:
        densities: by name, keys of `PRIORS`.
        path: the file; it is replaced.
        origin: what the densities were fitted to, for `load_densities` to compare.
    """
    tensors = {
        f"{name}.{key}": getattr(density, key).contiguous()
        for name, density in densities.items()
        for key in ("weights", "means", "factors")
    }
    held_out = {name: density.held_out for name, density in densities.items()}
    metadata = {**origin, "digest": digest_of(tensors), "held_out": json.dumps(held_out)}
    write_bytes(path, with_sorted_header(safetensors.torch.save(tensors, metadata)))


def load_densities(path: Path, latent_size: int | None = None) -> tuple[dict[str, CodeDensity], dict[str, str]]:
    """Read the densities of a file and what they were fitted to.

    Args:
        path: the file.
        latent_size: number of latent variables `d` that the densities must have; None for any.

    Raises:
        RunError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        content = read_regular(path, LARGEST_BYTES, follow=True)
        tensors, origin = safetensors.torch.load(content), metadata_of(content)
        if origin.pop("digest") != digest_of(tensors):
            raise ValueError("wrong checksum")
        held_out = json.loads(origin.pop("held_out"))
        densities = {name: _density(tensors, name, scores, latent_size) for name, scores in held_out.items()}
    except OSError:
        raise
    except Exception as error:  # a damaged file raises many types
        raise RunError(f"{path} is damaged ({one_line(error)}): remove it, and it is fitted anew") from None
    return densities, origin


def _density(tensors: Mapping[str, Tensor], name: str, scores: Sequence[Any], latent_size: int | None) -> CodeDensity:
    """Return the density `name` from the arrays of a file.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: they are missing or not those of a mixture.
    """
    weights, means, factors = (tensors[f"{name}.{key}"] for key in ("weights", "means", "factors"))
    components, d = len(weights), means.shape[-1] if latent_size is None else latent_size
    shapes: dict[str, tuple[int, ...]] = {
        "weights": (components,),
        "means": (components, d),
        "factors": (components, d, d),
    }
    for (key, shape), array in zip(shapes.items(), (weights, means, factors), strict=True):
        if array.dtype != torch.float64 or tuple(array.shape) != shape or not bool(array.isfinite().all()):
            found = f"{array.dtype} of shape {tuple(array.shape)}"
            raise ValueError(f"{name}.{key} must be finite float64 of shape {shape}; it is {found}")
    if components < 1 or bool((weights < 0).any()) or abs(float(weights.sum()) - 1) >= 1e-6:
        raise ValueError(f"{name}.weights are no probabilities")
    if bool((factors.diagonal(dim1=1, dim2=2) <= 0).any()) or bool(factors.triu(1).any()):
        raise ValueError(f"{name}.factors are no Cholesky factors")
    held_out = tuple((int(count), float(score)) for count, score in scores)
    if not all(count >= 1 and math.isfinite(score) for count, score in held_out):
        raise ValueError(f"the likelihoods of held-out codes of {name} are not finite")
    return CodeDensity(weights, means, factors, held_out)
