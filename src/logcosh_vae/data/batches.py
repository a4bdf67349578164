"""Batches of float images in [0, 1] from uint8 images in memory, on a device or in a mapped file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .memmap import reader_for


class Batch(NamedTuple):
    """One batch.

    Attributes:
        images: `(B, C, H, W)`, float32 in [0, 1].
        labels: the rows of the set's labels, `(B,)` or `(B, A)`; None for a set without labels.
    """

    images: Tensor
    labels: Tensor | None


def to_unit(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [0, 1], in the same shape.

    Raises:
        TypeError: the images are not uint8.

    Example:
        >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8; got {images.dtype}")
    return images.to(torch.float32).div_(255.0)


def check_unit_range(images: Tensor, name: str) -> Tensor:
    """Return `images` after checking that they are floating-point and all in [0, 1].

    Args:
        images: any shape.
        name: what the error message calls them.

    Raises:
        ValueError: they have another dtype, or hold NaN or a value outside [0, 1].
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
        raise ValueError("batches need at least one image; the image set is empty")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")


def training_batches(
    images: Tensor,
    batch_size: int,
    generator: torch.Generator,
    labels: Tensor | None = None,
    rows: slice = slice(None),
) -> Iterator[Batch]:
    """Yield the batches of one epoch, in an order drawn from `generator`.

    The images at the end of the order that do not fill a batch are not used in this epoch. A set that is smaller than
    a batch gives one batch.

    Args:
        images: `(N, C, H, W)`, uint8.
        batch_size: number of images per batch, `B`, over all processes.
        generator: a generator on the CPU, so that the order does not depend on the device.
        labels: `(N,)` or `(N, A)`, on the same device as the images.
        rows: the rows of each batch that this process uses; the others belong to other processes.

    Raises:
        ValueError: there are no images, or `batch_size` is below 1.
    """
    count = len(images)
    _check_batches(count, batch_size)
    order = torch.randperm(count, generator=generator).to(images.device)
    size = min(batch_size, count)
    reader = reader_for(images)
    for start in range(0, count - size + 1, size):
        chosen = order[start : start + size][rows]
        if reader is None:
            batch = images.index_select(0, chosen)
        else:
            batch = reader.read(chosen)
            reader.prefetch(order[start + size : start + 2 * size][rows])
        yield Batch(to_unit(batch), None if labels is None else labels[chosen])


def evaluation_batches(images: Tensor, batch_size: int, labels: Tensor | None = None) -> Iterator[Batch]:
    """Yield all images once, in order, in the smallest number of batches; batch sizes differ by at most one.

    Args:
        images: `(N, C, H, W)`, uint8.
        batch_size: largest number of images per batch.
        labels: `(N,)` or `(N, A)`.

    Raises:
        ValueError: there are no images, or `batch_size` is below 1.
    """
    count = len(images)
    _check_batches(count, batch_size)
    batches = -(-count // batch_size)
    bounds = [index * count // batches for index in range(batches + 1)]
    reader = reader_for(images)
    for start, end in pairwise(bounds):
        if reader is None:
            batch = images[start:end]
        else:
            batch = reader.read(torch.arange(start, end))
            reader.prefetch(torch.arange(end, min(count, 2 * end - start)))
        yield Batch(to_unit(batch), None if labels is None else labels[start:end])
