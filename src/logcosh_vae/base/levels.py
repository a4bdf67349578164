"""The conversion of a network's images to the levels of a picture, which no NaN or infinity passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import ImageValuesError

if TYPE_CHECKING:
    from torch import Tensor


def to_levels(images: Tensor, max_level: float = 255.0) -> Tensor:
    """Convert images in [0, 1] to levels: clamped, scaled and rounded to nearest. All pixels of a network come here.

    Args:
        images: float, of any shape.
        max_level: level of white: 255, or 65535 for 16 bits.

    Returns:
        Whole numbers in [0, max_level], with the shape, type and device of `images`.

    Raises:
        ImageValuesError: a value is not finite. It would become black, white or an arbitrary level.

    Example:
        >>> import torch
        >>> to_levels(torch.tensor([-0.1, 0.5, 1.0]))
        tensor([  0., 128., 255.])
    """
    finite = images.isfinite()
    if not bool(finite.all()):
        raise ImageValuesError(
            f"the network computes numbers that are not finite ({int((~finite).sum()):,} of {finite.numel():,}), which "
            "cannot be drawn: its weights are damaged or its training diverged; train again with a lower learning rate"
        )
    return images.detach().clamp(0.0, 1.0).mul_(max_level).round_()


@contextmanager
def naming_weights(weights: object) -> Iterator[None]:
    """Put `weights`, a name or path, in front of the message of an `ImageValuesError` that the block raises."""
    try:
        yield
    except ImageValuesError as error:
        raise ImageValuesError(f"{weights}: {error}") from None
