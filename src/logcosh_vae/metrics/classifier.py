"""The feature classifier: its coding layer (last hidden) gives the features of the FID (paper, Sec. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .frechet import FeatureStatistics

CODING_SIZE = 128


class FeatureClassifier(nn.Module):
    """Two 3x3 convolutions with pooling and a coding layer of 128 rectified units, for 28x28 grey images.

    Plain on purpose, as classifiers of the paper's time were: batch normalisation, or training images that were
    resampled, would teach the features not to see blur, which is what is measured (docs/results.md).

    Args:
        classes: number of labels.
        widths: channels of the two convolutions.
    """

    def __init__(self, classes: int = 10, widths: tuple[int, int] = (32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for width in widths:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            inputs = width
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.coding = nn.Linear(7 * 7 * inputs, CODING_SIZE)
        self.output = nn.Linear(CODING_SIZE, classes)

    def before_coding(self, images: Tensor) -> Tensor:
        """The coding layer before its rectifier: `(N, 1, 28, 28)` in [0, 1] to `(N, 128)`."""
        activations: Tensor = self.coding(self.convolutions(images))
        return activations

    def features(self, images: Tensor) -> Tensor:
        """The coding layer: `(N, 1, 28, 28)` in [0, 1] to `(N, 128)`, at least 0."""
        return self.before_coding(images).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, `(N, classes)`."""
        logits: Tensor = self.output(self.features(images))
        return logits


@torch.inference_mode()
def feature_statistics(classifier: FeatureClassifier, images: Tensor, batch_size: int = 500) -> FeatureStatistics:
    """Statistics of the coding layer over `(N, 1, 28, 28)` images in [0, 1]; batches bound the memory."""
    classifier.eval()
    parts = [FeatureStatistics.of(classifier.features(batch)) for batch in images.split(batch_size)]
    return sum(parts[1:], start=parts[0])
