"""What is to be undone: each corruption has a random strength for training and a fixed one for measuring.

All work on images in [0, 1] and give images as a file would hold them: clipped to [0, 1] and of 256 levels.
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..training.loop import make_generator
from .text import CAPTIONS, PLAIN, TRAINING, Sheet, Style, cut, draw_sheet
from .text_cache import sheets


def eight_bit(images: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to 256 levels, as a picture file holds them."""
    return images.clamp(0.0, 1.0).mul(255.0).round_().div_(255.0)


class Corruption(ABC):
    """A way in which images are spoilt.

    Attributes:
        task: its name in `--task`.
        title: for people.
        clean_targets: two spoilt copies do not tell the clean image on average, so the clean one is the target.
        strongest: strengths for training are drawn between 0 and this, or as `weakest` says.
        measured: the strength for measuring.
        unit: what a strength is.
    """

    task: str
    title: str
    unit: str
    clean_targets = False
    weakest = 0.0
    strongest: float
    measured: float

    @abstractmethod
    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        """Spoil `(N, 3, H, W)` in [0, 1], each image as strongly as `strengths` `(N,)` says; may leave [0, 1]."""

    def training(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Spoil each of `(N, 3, H, W)` with a strength of its own, drawn evenly."""
        return eight_bit(self.apply(images, self._strengths(len(images), generator), generator))

    def pair(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Callable[[], Tensor]]:
        """What the network is shown, and what gives one after another of the targets it is compared with."""
        source = self.training(clean, generator)
        if self.clean_targets:
            return source, lambda: clean
        return source, lambda: self.training(clean, generator)

    def _strengths(self, count: int, generator: torch.Generator) -> Tensor:
        return self.weakest + (self.strongest - self.weakest) * torch.rand(count, generator=generator)

    def evaluation(self, image: Tensor, index: int) -> Tensor:
        """Spoil `(3, H, W)` with the measured strength; always alike for an index."""
        generator = make_generator(index, f"corruption {self.task}")
        return eight_bit(self.apply(image[None], torch.tensor([self.measured]), generator)[0])


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))


def _rng(generator: torch.Generator) -> np.random.Generator:
    """NumPy's random numbers, following from `generator`."""
    return np.random.default_rng(_seed(generator))


class Text(Corruption):
    """Strings of random size, place, colour and shape until they cover a share of the image (paper, Appendix D).

    In training some of them have an outline, for the sake of subtitles; text to measure on has none, as in the paper,
    and is none of training's.
    """

    task, title, unit = "text", "Text removal", "share of the image covered"
    strongest, measured = 0.5, 0.25
    SHEETS, SIDE, STYLE = 16, 512, TRAINING

    @cached_property
    def sheets(self) -> Sheet:
        """`(SHEETS, SIDE, SIDE)`: the text that training cuts its windows from, the same in every run."""
        return sheets(_seed(make_generator(0, "text sheets")), self.SHEETS, self.SIDE, self.STYLE)

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        rng = _rng(generator)
        count, _, height, width = images.shape
        windows = np.stack([draw_sheet(height, width, rng) for _ in range(count)])
        return self._over(images, windows, strengths, rng, PLAIN)

    def training(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        strengths = self._strengths(count, generator)
        rng = _rng(generator)
        if max(height, width) > self.SIDE // 2:  # sheets have too few windows of that size
            windows = np.stack([draw_sheet(height, width, rng, self.STYLE) for _ in range(count)])
            return eight_bit(self._over(images, windows, strengths, rng, self.STYLE))
        which = rng.integers(self.SHEETS, size=count)
        tops = rng.integers(self.SIDE - height + 1, size=count)
        lefts = rng.integers(self.SIDE - width + 1, size=count)
        places = zip(which, tops, lefts, strict=True)
        windows = np.stack([self.sheets[k, y : y + height, x : x + width] for k, y, x in places])
        return eight_bit(self._over(images, windows, strengths, rng, self.STYLE))

    def _over(
        self, images: Tensor, windows: Sheet, strengths: Tensor, rng: np.random.Generator, style: Style
    ) -> Tensor:
        opacity, colour = map(torch.from_numpy, cut(windows, strengths.numpy(), rng, style.common))
        return torch.lerp(images, colour.to(images), opacity.to(images))


class Captions(Text):
    """Text as it is found on people's pictures, in training; to measure on it is the paper's.

    Often there is little of it or none, it has outlines, shadows and several fonts, is half transparent, and half
    of the pictures have been stored as JPEG with it. A network that is trained so takes less of what is no text
    for text.
    """

    SHEETS, STYLE = 24, CAPTIONS
    NONE, LITTLE, STORED = 0.15, 0.3, 0.5
    """Shares of the patches without text, of those with little, and of those that have been stored as JPEG.

    The others have as much as the paper's: most is learnt from them, and little text alone would take several times as
    many steps.
    """

    def _strengths(self, count: int, generator: torch.Generator) -> Tensor:
        share, kind = torch.rand(2, count, generator=generator)
        share = torch.where(kind < self.NONE + self.LITTLE, share.pow(3), share)
        return torch.where(kind < self.NONE, 0.0, self.strongest * share)

    def pair(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Callable[[], Tensor]]:
        """Of what is stored as JPEG, the targets are so without text: artefacts far from text are not to be undone."""
        source = self.training(clean, generator)
        below = clean.clone()
        rng = _rng(generator)
        for index in np.flatnonzero(rng.random(len(clean)) < self.STORED):
            source[index], below[index] = stored(torch.stack([source[index], clean[index]]), rng)
        return source, lambda: self.training(below, generator)


def stored(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images `(N, 3, H, W)` as JPEG files give them back, all of one random quality and subsampling.

    The cells of 8 or 16 pixels that JPEG works in begin anywhere, as in a part of a photograph.
    """
    quality, subsampling = int(rng.integers(55, 97)), int(rng.choice([2, 2, 0]))
    before = rng.integers(0, 16, 2)
    padding = ((0, 0), *((int(count), 0) for count in before), (0, 0))
    pixels = images.mul(255.0).round().byte().permute(0, 2, 3, 1).numpy()
    given = []
    for picture in np.pad(pixels, padding, mode="symmetric"):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "jpeg", quality=quality, subsampling=subsampling)
        given.append(np.asarray(Image.open(file)))
    whole = torch.from_numpy(np.stack(given)[:, before[0] :, before[1] :]).permute(0, 3, 1, 2)
    return whole.to(images.dtype).div(255.0)


class Noise(Corruption):
    """Gaussian noise."""

    task, title, unit = "denoise", "Denoising", "standard deviation"
    strongest, measured = 50 / 255, 25 / 255

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(images.shape, generator=generator)
        return images + strengths.view(-1, 1, 1, 1).to(images) * noise.to(images)


class Impulses(Corruption):
    """Pixels replaced by random colours."""

    task, title, unit = "impulse", "Impulse noise", "share of pixels replaced"
    strongest, measured = 0.5, 0.25

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        hit = torch.rand((count, 1, height, width), generator=generator) < strengths.view(-1, 1, 1, 1)
        return torch.where(hit.to(images.device), torch.rand(images.shape, generator=generator).to(images), images)


class Blur(Corruption):
    """A Gaussian out of focus."""

    task, title, unit = "deblur", "Deblurring", "standard deviation in pixels"
    clean_targets = True
    weakest, strongest, measured = 0.5, 2.5, 1.6
    RADIUS = 8

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        count, channels, height, width = images.shape
        radius = min(self.RADIUS, height - 1, width - 1)
        places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        weights = torch.exp(-0.5 * (places / strengths.to(images).view(-1, 1)) ** 2)
        kernel = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
        padded = F.pad(images, (radius,) * 4, mode="reflect").reshape(
            1, count * channels, *_grown(height, width, radius)
        )
        rows = F.conv2d(padded, kernel[:, None, :, None], groups=count * channels)
        return F.conv2d(rows, kernel[:, None, None, :], groups=count * channels).reshape(images.shape)


def _grown(height: int, width: int, radius: int) -> tuple[int, int]:
    return height + 2 * radius, width + 2 * radius


class Mosaic(Corruption):
    """One colour a pixel, as under a Bayer filter (red, green; green, blue), the others filled in bilinearly."""

    task, title, unit = "demosaic", "Demosaicking", ""
    clean_targets = True
    weakest = strongest = measured = 1.0

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        _, _, height, width = images.shape
        seen = torch.zeros(3, height, width, dtype=images.dtype, device=images.device)
        seen[0, ::2, ::2] = seen[1, ::2, 1::2] = seen[1, 1::2, ::2] = seen[2, 1::2, 1::2] = 1.0
        tent = torch.tensor([0.5, 1.0, 0.5], dtype=images.dtype, device=images.device)
        kernel = torch.outer(tent, tent).expand(3, 1, 3, 3)
        known = F.conv2d(seen[None], kernel, padding=1, groups=3)
        filled = F.conv2d(images * seen, kernel, padding=1, groups=3) / known.clamp_min(1e-6)
        return torch.where(seen > 0, images, filled)


class Shrinking(Corruption):
    """Shrunk with antialiasing, then brought back to size bicubically."""

    task, title, unit = "super-resolution", "Super-resolution", "factor"
    clean_targets = True
    weakest, strongest, measured = 1.5, 4.0, 3.0

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        small = []
        for image, factor in zip(images, strengths.tolist(), strict=True):
            size = [max(2, math.ceil(side / factor)) for side in image.shape[1:]]
            shrunk = F.interpolate(image[None], size, mode="bicubic", antialias=True, align_corners=False)
            small.append(F.interpolate(shrunk, image.shape[1:], mode="bicubic", align_corners=False))
        return torch.cat(small)


CORRUPTIONS: dict[str, Corruption] = {
    corruption.task: corruption for corruption in (Text(), Noise(), Impulses(), Blur(), Mosaic(), Shrinking())
}
"""By the name used in `--task`."""

TRAINED_AS = {"text": Captions()}
"""What is trained on instead with `captions`."""
