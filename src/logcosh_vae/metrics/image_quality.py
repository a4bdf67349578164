"""How near a restored image is to the clean one: PSNR and SSIM, of whole images in [0, 1]."""

from __future__ import annotations

import math

from torch import Tensor

WINDOW = 11
SIGMA = 1.5
"""SSIM's Gaussian window (Wang et al. 2004)."""


def psnr(image: Tensor, clean: Tensor) -> float:
    """Peak signal to noise ratio in dB of `(3, H, W)` in [0, 1], over all channels; infinite for equal images."""
    error = float((image.double() - clean.double()).square().mean())
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(image: Tensor, clean: Tensor) -> float:
    """Structural similarity of `(3, H, W)` in [0, 1], mean over channels; Gaussian window of 11 pixels, sigma 1.5.

    Every pixel counts: windows at the margin are filled up by reflection. In float32 it is right to 1e-5.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ModuleNotFoundError:
        raise ImportError("ssim needs torchmetrics: pip install 'logcosh-vae[all]'") from None

    value = structural_similarity_index_measure(
        image[None].float(), clean[None].float(), sigma=SIGMA, kernel_size=WINDOW, data_range=1.0
    )
    return float(value)  # type: ignore[arg-type]  # one tensor, unless more is asked for
