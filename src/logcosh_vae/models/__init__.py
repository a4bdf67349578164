"""VAE and WAE, their encoder and decoder networks, and the distributions of their codes."""

from __future__ import annotations

from .autoencoder import MODELS, VAE, WAE, Autoencoder, AutoencoderOutput
from .networks import NETWORKS, ImageShape, Size

__all__ = ["MODELS", "NETWORKS", "VAE", "WAE", "Autoencoder", "AutoencoderOutput", "ImageShape", "Size"]
