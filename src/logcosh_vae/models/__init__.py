"""The models: `VAE` and `WAE`, their encoder and decoder networks, and latent distributions.

- `autoencoder`: the models and what their forward pass returns.
- `networks`: the MLP and convolutional networks of the paper.
- `distributions`: the Gaussian posterior, KL divergence, MMD, and sources of random numbers.

Images are `(N, C, H, W)` float tensors in [0, 1]; latent codes are `(N, latent_size)`.
"""

from __future__ import annotations

from .autoencoder import MODELS, VAE, WAE, Autoencoder, AutoencoderOutput
from .networks import NETWORKS, ImageShape, Size

__all__ = ["MODELS", "NETWORKS", "VAE", "WAE", "Autoencoder", "AutoencoderOutput", "ImageShape", "Size"]
