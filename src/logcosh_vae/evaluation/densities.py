"""Densities fitted to the codes of a run: fitting a mixture, and the file of densities in a run folder."""

from __future__ import annotations

import json
import warnings
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


def load_densities(path: Path) -> tuple[dict[str, CodeDensity], dict[str, str]]:
    """Read the densities of a file and what they were fitted to.

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
        densities = {
            name: CodeDensity(
                tensors[f"{name}.weights"],
                tensors[f"{name}.means"],
                tensors[f"{name}.factors"],
                tuple((int(count), float(score)) for count, score in scores),
            )
            for name, scores in held_out.items()
        }
        for name, density in densities.items():
            _check_arrays(name, density)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}): remove it, and it is fitted anew") from None
    return densities, origin


def _check_arrays(name: str, density: CodeDensity) -> None:
    """Raise `ValueError` if arrays do not fit together or are not those of a mixture."""
    components, d = len(density.weights), density.means.shape[-1]
    shapes = {"means": (components, d), "factors": (components, d, d)}
    for key, shape in shapes.items():
        array: Tensor = getattr(density, key)
        if tuple(array.shape) != shape or not bool(array.isfinite().all()):
            raise ValueError(f"{name}.{key} must be finite and have the shape {shape}; it has {tuple(array.shape)}")
    if not (bool((density.weights >= 0).all()) and abs(float(density.weights.sum()) - 1) < 1e-6):
        raise ValueError(f"{name}.weights are no probabilities")
