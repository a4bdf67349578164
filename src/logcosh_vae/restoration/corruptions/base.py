"""The interface of a corruption, and what its implementations share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...training.loop import make_generator


def quantize(images: Tensor) -> Tensor:
    """Clip to [0, 1] and round to 256 levels, the values that an image file of 8 bits can hold."""
    return images.clamp(0.0, 1.0).mul(255.0).round_().div_(255.0)


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed in [0, 2^62) from `generator`."""
    return int(torch.randint(2**62, (), generator=generator))


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """Return a NumPy generator whose seed is drawn from `generator`."""
    return np.random.default_rng(draw_seed(generator))


class Corruption(ABC):
    """A degradation that a network learns to undo.

    Attributes:
        task: name of the task, as in `--task`.
        title: name of the task in tables and figures.
        unit: unit of the strength; empty if the corruption has no strength.
        clean_targets: whether the training target is the clean image. It has to be where the mean or median of many
            corrupted copies differs from the clean image, so that Noise2Noise does not apply.
        min_strength, max_strength: training strengths are drawn uniformly from this range.
        eval_strength: strength used for evaluation.
    """

    task: str
    title: str
    unit: str
    clean_targets = False
    min_strength = 0.0
    max_strength: float
    eval_strength: float

    @abstractmethod
    def apply(self, images: Tensor, strengths: Tensor, generator: torch.Generator) -> Tensor:
        """Corrupt each image with its own strength.

        Args:
            images: `(N, 3, H, W)` in [0, 1].
            strengths: `(N,)`, in `unit`.
            generator: source of randomness.

        Returns:
            `(N, 3, H, W)`; values may lie outside [0, 1].
        """

    def training(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Corrupt `(N, 3, H, W)` for training: each image with a random strength, quantized to 256 levels."""
        return quantize(self.apply(images, self._strengths(len(images), generator), generator))

    def pair(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """Return the network's input, what it would be without the corruption, and a function that draws targets.

        Each call of the function returns another corrupted copy, the target of Noise2Noise.

        Args:
            clean: `(N, 3, H, W)` in [0, 1].
            generator: source of randomness of the input and of the targets.
        """
        return self.training(clean, generator), clean, lambda: self.training(clean, generator)

    def evaluation(self, image: Tensor, index: int) -> Tensor:
        """Corrupt one image `(3, H, W)` with `eval_strength`; the result depends only on the image and `index`."""
        generator = make_generator(index, f"corruption {self.task}")
        return quantize(self.apply(image[None], torch.tensor([self.eval_strength]), generator)[0])

    def _strengths(self, count: int, generator: torch.Generator) -> Tensor:
        return self.min_strength + (self.max_strength - self.min_strength) * torch.rand(count, generator=generator)
