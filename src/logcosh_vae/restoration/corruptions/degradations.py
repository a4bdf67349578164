"""Corruptions of every pixel or of random pixels: noise, impulse noise, blur, Bayer mosaic and low resolution."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Corruption


class Noise(Corruption):
    """Additive Gaussian noise."""

    task, title, unit = "denoise", "Denoising", "standard deviation"
    max_strength, eval_strength = 50 / 255, 25 / 255

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(images.shape, generator=generator)
        return images + strengths.view(-1, 1, 1, 1).to(images) * noise.to(images)


class ImpulseNoise(Corruption):
    """Random pixels replaced by random colours."""

    task, title, unit = "impulse", "Impulse noise", "share of pixels replaced"
    max_strength, eval_strength = 0.5, 0.25

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        replaced = torch.rand((count, 1, height, width), generator=generator) < strengths.view(-1, 1, 1, 1)
        colours = torch.rand(images.shape, generator=generator).to(images)
        return torch.where(replaced.to(images.device), colours, images)


class Blur(Corruption):
    """Gaussian blur, truncated at `RADIUS` pixels."""

    task, title, unit = "deblur", "Deblurring", "standard deviation in pixels"
    clean_targets = True
    min_strength, max_strength, eval_strength = 0.5, 2.5, 1.6
    RADIUS = 8

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        count, channels, height, width = images.shape
        radius = min(self.RADIUS, height - 1, width - 1)
        offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        weights = torch.exp(-0.5 * (offsets / strengths.to(images).view(-1, 1)) ** 2)
        kernel = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
        padded = F.pad(images, (radius,) * 4, mode="reflect")
        # one group per image and channel, because each image has its own kernel
        grouped = padded.reshape(1, count * channels, height + 2 * radius, width + 2 * radius)
        rows = F.conv2d(grouped, kernel[:, None, :, None], groups=count * channels)
        return F.conv2d(rows, kernel[:, None, None, :], groups=count * channels).reshape(images.shape)


class Mosaic(Corruption):
    """A Bayer mosaic (rows red-green and green-blue): one colour per pixel, the others interpolated bilinearly."""

    task, title, unit = "demosaic", "Demosaicking", ""
    clean_targets = True
    min_strength = max_strength = eval_strength = 1.0

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        _, _, height, width = images.shape
        mosaic = torch.zeros(3, height, width, dtype=images.dtype, device=images.device)
        mosaic[0, ::2, ::2] = mosaic[1, ::2, 1::2] = mosaic[1, 1::2, ::2] = mosaic[2, 1::2, 1::2] = 1.0
        tent = torch.tensor([0.5, 1.0, 0.5], dtype=images.dtype, device=images.device)
        kernel = torch.outer(tent, tent).expand(3, 1, 3, 3)
        weights = F.conv2d(mosaic[None], kernel, padding=1, groups=3)
        interpolated = F.conv2d(images * mosaic, kernel, padding=1, groups=3) / weights.clamp_min(1e-6)
        return torch.where(mosaic > 0, images, interpolated)


class Shrinking(Corruption):
    """Low resolution: bicubic downsampling with antialiasing, then bicubic upsampling to the original size."""

    task, title, unit = "super-resolution", "Super-resolution", "factor"
    clean_targets = True
    min_strength, max_strength, eval_strength = 1.5, 4.0, 3.0

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        upsampled = []
        for image, factor in zip(images, strengths.tolist(), strict=True):
            size = [max(2, math.ceil(extent / factor)) for extent in image.shape[1:]]
            small = F.interpolate(image[None], size, mode="bicubic", antialias=True, align_corners=False)
            upsampled.append(F.interpolate(small, image.shape[1:], mode="bicubic", align_corners=False))
        return torch.cat(upsampled)
