"""Batches of float images in [0, 1] from images held as uint8, on whatever device they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .memmap import file_of


class Batch(NamedTuple):
    """Images `(B, C, H, W)`, float32 in [0, 1], and labels `(B,)` where the set has them."""

    images: Tensor
    labels: Tensor | None


def to_unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1], the same shape.

    Raises:
        TypeError: the images are not uint8.

    Example:
        >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images at rest are uint8; got {images.dtype}")
    return images.to(torch.float32).div_(255.0)


def check_unit_range(images: Tensor, name: str) -> Tensor:
    """Return `images` if they are floating and all in [0, 1].

    Raises:
        ValueError: another dtype, a value outside [0, 1] or NaN; the message names them by `name`.
    """
    if not images.is_floating_point():
        raise ValueError(f"{name} must be floating-point in [0, 1]; got {images.dtype}")
    outside = ~((images >= 0.0) & (images <= 1.0))
    if bool(outside.any()):
        missing = int(images.isnan().sum())
        low, high = images.nan_to_num(nan=0.5).aminmax()
        found = f"{missing:,} of {images.numel():,} are NaN" if missing else f"got values from {low:g} to {high:g}"
        raise ValueError(f"{name} must be in [0, 1]; {found}")
    return images


def _check_batches(count: int, batch_size: int) -> None:
    if count < 1:
        raise ValueError("there are no images to take batches of")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")


def training_batches(
    images: Tensor,
    batch_size: int,
    generator: torch.Generator,
    labels: Tensor | None = None,
    rows: slice = slice(None),
) -> Iterator[Batch]:
    """One epoch in an order drawn from `generator`.

    The last images of the order that do not fill a batch wait for another epoch's order; a set smaller than a batch
    is one batch.

    Args:
        images: `(N, C, H, W)`, uint8.
        batch_size: `B`.
        generator: on the CPU, so that the order does not depend on the device.
        labels: `(N,)` on the same device.
        rows: the rows of each batch to return; the others belong to other processes.

    Raises:
        ValueError: there are no images, or `batch_size` is below 1.
    """
    count = len(images)
    _check_batches(count, batch_size)
    order = torch.randperm(count, generator=generator).to(images.device)
    size = min(batch_size, count)
    file = file_of(images)
    for start in range(0, count - size + 1, size):
        chosen = order[start : start + size][rows]
        if file is None:
            taken = images.index_select(0, chosen)
        else:
            taken = file.take(images, chosen)
            file.expect(images, order[start + size : start + 2 * size][rows])
        yield Batch(to_unit(taken), None if labels is None else labels[chosen])


def evaluation_batches(images: Tensor, batch_size: int, labels: Tensor | None = None) -> Iterator[Batch]:
    """All images once, in order, in the fewest batches of at most `batch_size`; their sizes differ by at most one."""
    count = len(images)
    _check_batches(count, batch_size)
    parts = -(-count // batch_size)
    bounds = [part * count // parts for part in range(parts + 1)]
    file = file_of(images)
    for start, end in pairwise(bounds):
        taken = images[start:end] if file is None else file.take(images, torch.arange(start, end))
        if file is not None:
            file.expect(images, torch.arange(end, min(count, 2 * end - start)))
        yield Batch(to_unit(taken), None if labels is None else labels[start:end])
