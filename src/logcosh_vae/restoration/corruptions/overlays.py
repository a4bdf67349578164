"""Text drawn over images: as in the paper, and as captions are found on photographs."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...training.loop import make_generator
from ..text import ANY_SCRIPT, CAPTIONS, PLAIN, TRAINING, TextCanvas, TextStyle, draw_text_canvas, render_text
from ..text_cache import cached_text_canvases
from .base import Corruption, draw_seed, numpy_generator, quantize


class Text(Corruption):
    """Strings of random size, position, colour and shape that cover a given fraction of the image (paper, Appendix D).

    In training 15% of the strings have an outline, because subtitles do. The text for evaluation has none, as in the
    paper, and is drawn anew for each image, so a network has not seen it in training.
    """

    task, title, unit = "text", "Text removal", "share of the image covered"
    max_strength, eval_strength = 0.5, 0.25
    CANVAS_COUNT, CANVAS_SIZE, STYLE = 16, 512, TRAINING

    @cached_property
    def canvases(self) -> TextCanvas:
        """`(CANVAS_COUNT, CANVAS_SIZE, CANVAS_SIZE)`: the text canvases that training crops, the same in every run."""
        seed = draw_seed(make_generator(0, "text sheets"))
        return cached_text_canvases(seed, self.CANVAS_COUNT, self.CANVAS_SIZE, self.STYLE)

    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        rng = numpy_generator(generator)
        count, _, height, width = images.shape
        crops = np.stack([draw_text_canvas(height, width, rng) for _ in range(count)])
        return self._overlay(images, crops, strengths, rng, PLAIN)

    def training(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        strengths = self._strengths(count, generator)
        rng = numpy_generator(generator)
        if max(height, width) > self.CANVAS_SIZE // 2:  # the canvases have too few different crops of that size
            crops = np.stack([draw_text_canvas(height, width, rng, self.STYLE) for _ in range(count)])
            return quantize(self._overlay(images, crops, strengths, rng, self.STYLE))
        indices = rng.integers(self.CANVAS_COUNT, size=count)
        tops = rng.integers(self.CANVAS_SIZE - height + 1, size=count)
        lefts = rng.integers(self.CANVAS_SIZE - width + 1, size=count)
        corners = zip(indices, tops, lefts, strict=True)
        crops = np.stack([self.canvases[k, y : y + height, x : x + width] for k, y, x in corners])
        return quantize(self._overlay(images, crops, strengths, rng, self.STYLE))

    def _overlay(
        self, images: Tensor, crops: TextCanvas, coverage: Tensor, rng: np.random.Generator, style: TextStyle
    ) -> Tensor:
        opacity, colour = map(torch.from_numpy, render_text(crops, coverage.numpy(), rng, style.common_colours))
        return torch.lerp(images, colour.to(images), opacity.to(images))


class Captions(Text):
    """Captions as they are found on photographs, for training; evaluation uses the text of the paper.

    Many images have little text or none. Strings have outlines, shadows, several fonts and partial transparency, and
    half of the images have been compressed as JPEG. A network trained on these mistakes other content for text less
    often.
    """

    CANVAS_COUNT, STYLE = 24, CAPTIONS
    NO_TEXT, LITTLE_TEXT, COMPRESSED = 0.15, 0.3, 0.5
    """Fractions of the crops without text, with little text, and compressed as JPEG.

    The other crops have as much text as the paper's, because a network learns most from them: with little text only,
    training would need several times as many steps.
    """

    def _strengths(self, count: int, generator: torch.Generator) -> Tensor:
        fraction, kind = torch.rand(2, count, generator=generator)
        fraction = torch.where(kind < self.NO_TEXT + self.LITTLE_TEXT, fraction.pow(3), fraction)
        return torch.where(kind < self.NO_TEXT, 0.0, self.max_strength * fraction)

    def pair(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """Return the network's input, what it would be without text, and a function that draws targets.

        If the input is compressed, so is the clean image, over which the targets are drawn: the network is not meant to
        remove JPEG artefacts away from text.
        """
        source = self.training(clean, generator)
        background = clean.clone()
        rng = numpy_generator(generator)
        for index in np.flatnonzero(rng.random(len(clean)) < self.COMPRESSED):
            source[index], background[index] = compress_jpeg(torch.stack([source[index], clean[index]]), rng)
        return source, background, lambda: self.training(background, generator)


class AnyScript(Captions):
    """Captions of which a third consists of invented signs, so that a network depends less on letters that it knows."""

    CANVAS_COUNT, STYLE = 32, ANY_SCRIPT


def compress_jpeg(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Compress images as JPEG and decode them, all with one random quality and chroma subsampling.

    The grid of JPEG's blocks of 8 or 16 pixels gets a random offset, as in a crop of a photograph.

    Args:
        images: `(N, 3, H, W)` in [0, 1].
        rng: draws the quality (55 to 96), the subsampling (4:2:0 or 4:4:4) and the offset.

    Returns:
        `(N, 3, H, W)` in [0, 1].
    """
    quality, subsampling = int(rng.integers(55, 97)), int(rng.choice([2, 2, 0]))
    offset = rng.integers(0, 16, 2)
    padding = ((0, 0), *((int(count), 0) for count in offset), (0, 0))
    pixels = images.mul(255.0).round().byte().permute(0, 2, 3, 1).numpy()
    decoded = []
    for image in np.pad(pixels, padding, mode="symmetric"):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "jpeg", quality=quality, subsampling=subsampling)
        decoded.append(np.asarray(Image.open(file)))
    cropped = torch.from_numpy(np.stack(decoded)[:, offset[0] :, offset[1] :]).permute(0, 3, 1, 2)
    return cropped.to(images.dtype).div(255.0)
