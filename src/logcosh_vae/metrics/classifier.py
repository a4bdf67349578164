"""The feature classifier: its coding layer (last hidden) gives the features of the FID (paper, Sec. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from .frechet import FeatureStatistics

CODING_SIZE = 128


class FeatureClassifier(nn.Module):
    """3x3 convolutions, each followed by pooling, and a coding layer of 128 rectified units.

    Plain on purpose, as classifiers of the paper's time were, with no batch normalisation: docs/results.md shows how
    the FID depends on it.

    Args:
        outputs: number of classes, or of attributes.
        widths: channels of the convolutions.
        image_shape: channels, height, width.
    """

    def __init__(
        self,
        outputs: int = 10,
        widths: Sequence[int] = (32, 64),
        image_shape: tuple[int, int, int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs, height, width = image_shape
        for channels in widths:
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            inputs, height, width = channels, height // 2, width // 2
        if min(height, width) < 1:
            raise ValueError(f"images of shape {image_shape} are too small for {len(widths)} poolings")
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.coding = nn.Linear(height * width * inputs, CODING_SIZE)
        self.output = nn.Linear(CODING_SIZE, outputs)

    def before_coding(self, images: Tensor) -> Tensor:
        """The coding layer before its rectifier: `(N, C, H, W)` in [0, 1] to `(N, 128)`."""
        activations: Tensor = self.coding(self.convolutions(images))
        return activations

    def features(self, images: Tensor) -> Tensor:
        """The coding layer: `(N, C, H, W)` in [0, 1] to `(N, 128)`, at least 0."""
        return self.before_coding(images).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, `(N, outputs)`."""
        logits: Tensor = self.output(self.features(images))
        return logits


@torch.inference_mode()
def feature_statistics(
    features: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 100
) -> FeatureStatistics:
    """Statistics of the features of `(N, C, H, W)` images in [0, 1]; small batches stay in a processor's cache."""
    return reduce(add, (FeatureStatistics.of(features(batch)) for batch in images.split(batch_size)))
