"""Sharpness of images: the variance of the Laplacian (paper, Sec. 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from .finite import check_finite

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value: luma of ITU-R BT.601."""


def grey(images: Tensor) -> Tensor:
    """Convert images to grey values.

    Args:
        images: `(N, C, H, W)` in [0, 1]; C is 1 (grey) or 3 (RGB).

    Returns:
        `(N, H, W)` in [0, 1], in the dtype of `images`.

    Raises:
        ValueError: another shape.

    Example:
        >>> grey(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 4, 4])
    """
    channels = images.shape[1] if images.ndim == 4 else 0
    if channels == 1:
        return images[:, 0]
    if channels == 3:
        return torch.einsum("nchw,c->nhw", images, torch.tensor(GREY_WEIGHTS).to(images))
    raise ValueError(f"images must be (N, 1, H, W) or (N, 3, H, W); got {tuple(images.shape)}")


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian of each image; larger is sharper (paper, Sec. 4).

    The grey image is convolved with `[[0, 1, 0], [1, -4, 1], [0, 1, 0]]` without padding. The result is the population
    variance of the output, in float64.

    Args:
        images: `(N, C, H, W)` in [0, 1], with 1 or 3 channels and at least 3 by 3 pixels.

    Returns:
        `(N,)`, float64, in [0, 16]; 0 for a constant image. The mean over the MNIST test images is 0.183.

    Raises:
        ValueError: the images have another number of channels, are too small, or are not finite.

    Example:
        >>> sharpness(torch.zeros(1, 1, 28, 28))
        tensor([0.], dtype=torch.float64)
    """
    pixels = check_finite(grey(images), "images").double()
    if min(pixels.shape[1:]) < 3:
        raise ValueError(f"images must be at least 3 by 3 pixels; got {tuple(images.shape)}")
    centre = pixels[:, 1:-1, 1:-1]
    vertical = pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1]
    laplacian = vertical + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:] - 4.0 * centre
    return laplacian.flatten(1).var(dim=1, correction=0)
