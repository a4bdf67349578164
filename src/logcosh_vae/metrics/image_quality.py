"""PSNR and SSIM: how close a restored image is to the clean one.

Both take one image `(C, H, W)` in [0, 1] and its reference.
"""

from __future__ import annotations

import math

from torch import Tensor

from .finite import check_finite

WINDOW = 11
"""Size of SSIM's Gaussian window, in pixels (Wang et al. 2004)."""
SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, in pixels (Wang et al. 2004)."""


def psnr(image: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio over all pixels and channels.

    Args:
        image: `(C, H, W)` in [0, 1].
        clean: the reference, of the same shape.

    Returns:
        `-10 log10(mean squared error)` in dB, for a peak value of 1; infinite for equal images.

    Raises:
        ValueError: the shapes differ, or a pixel is not finite.

    Example:
        >>> import torch
        >>> psnr(torch.full((3, 16, 16), 0.5), torch.full((3, 16, 16), 0.25))  # -20 log10(0.25)
        12.041199826559248
    """
    _check(image, clean)
    squared_error = float((image.double() - clean.double()).square().mean())
    return math.inf if squared_error == 0.0 else -10.0 * math.log10(squared_error)


def ssim(image: Tensor, clean: Tensor) -> float:
    """Structural similarity with a Gaussian window of 11 pixels and sigma 1.5 (Wang et al. 2004).

    Windows are centred on every pixel; at the border, the image is padded by reflection.

    Args:
        image: `(C, H, W)` in [0, 1], at least 6 by 6 pixels.
        clean: the reference, of the same shape.

    Returns:
        The mean over pixels and channels, in [-1, 1]; 1 for equal images. It is computed in float32, with an absolute
        error below 1e-5.

    Raises:
        ValueError: the shapes differ, a pixel is not finite, or the images are smaller than 6 by 6 pixels.

    Example:
        >>> import torch
        >>> image = torch.rand(3, 32, 32)
        >>> round(ssim(image, image), 4)
        1.0
    """
    _check(image, clean)
    minimum = WINDOW // 2 + 1
    if min(image.shape[-2:]) < minimum:
        raise ValueError(f"images must be at least {minimum} by {minimum} pixels; got {tuple(image.shape)}")
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ModuleNotFoundError:
        raise ImportError("ssim needs torchmetrics: pip install 'logcosh-vae[all]'") from None

    value = structural_similarity_index_measure(
        image[None].float(), clean[None].float(), sigma=SIGMA, kernel_size=WINDOW, data_range=1.0
    )
    return float(value)  # type: ignore[arg-type]  # a tensor, because no other output was requested


def _check(image: Tensor, clean: Tensor) -> None:
    for name, values in (("image", image), ("clean image", clean)):
        check_finite(values, name)
    if image.shape != clean.shape:
        raise ValueError(f"both images must have the same shape; got {tuple(image.shape)} and {tuple(clean.shape)}")
