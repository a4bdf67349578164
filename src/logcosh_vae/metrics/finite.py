"""The check that all metrics make of their inputs."""

from __future__ import annotations

from torch import Tensor


def check_finite(values: Tensor, name: str) -> Tensor:
    """Return `values` after checking that none is NaN or infinite, because a metric of such numbers means nothing.

    Args:
        values: any shape.
        name: what the error message calls them.

    Raises:
        ValueError: some are not finite.

    Example:
        >>> import torch
        >>> check_finite(torch.tensor([0.5, 1.0]), "images")
        tensor([0.5000, 1.0000])
    """
    finite = values.isfinite()
    if not bool(finite.all()):
        raise ValueError(f"{name} must be finite; {int((~finite).sum()):,} of {values.numel():,} numbers are not")
    return values
