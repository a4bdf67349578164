"""The classifier whose last hidden layer, the coding layer, gives the features of the FID (paper, Sec. 4).

`FeatureClassifier` is the network and `feature_statistics` accumulates the statistics that `frechet_distance` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from .frechet import FeatureStatistics

CODING_SIZE = 128
"""Number of features: units of the coding layer."""


class FeatureClassifier(nn.Module):
    """A convolutional classifier with a coding layer of 128 ReLU units.

    Each 3x3 convolution is followed by ReLU and 2x2 max pooling. There is no batch normalisation, as in common
    classifiers of the paper's time; docs/results.md shows how the FID depends on that.

    Args:
        outputs: number of classes, or of attributes.
        widths: channels of the convolutions, one per convolution.
        image_shape: channels, height and width of the images.

    Raises:
        ValueError: the images are too small for that many poolings.

    Example:
        >>> classifier = FeatureClassifier(outputs=10)
        >>> images = torch.rand(4, 1, 28, 28)
        >>> classifier(images).shape, classifier.features(images).shape
        (torch.Size([4, 10]), torch.Size([4, 128]))
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
            raise ValueError(
                f"images of shape {tuple(image_shape)} are too small for {len(widths)} poolings by 2: "
                f"height and width must be at least {2 ** len(widths)}"
            )
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.coding = nn.Linear(height * width * inputs, CODING_SIZE)
        self.output = nn.Linear(CODING_SIZE, outputs)

    def preactivations(self, images: Tensor) -> Tensor:
        """Return the coding layer before its ReLU, `(N, 128)`, for images `(N, C, H, W)` in [0, 1]."""
        activations: Tensor = self.coding(self.convolutions(images))
        return activations

    def features(self, images: Tensor) -> Tensor:
        """Return the coding layer, `(N, 128)` in [0, inf), for images `(N, C, H, W)` in [0, 1]."""
        return self.preactivations(images).relu()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, `(N, outputs)`, for images `(N, C, H, W)` in [0, 1]."""
        logits: Tensor = self.output(self.features(images))
        return logits


@torch.inference_mode()
def feature_statistics(
    features: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 100
) -> FeatureStatistics:
    """Compute the feature statistics of a set of images.

    Args:
        features: maps images `(n, C, H, W)` in [0, 1] to features `(n, d)`.
        images: `(N, C, H, W)` in [0, 1].
        batch_size: images per call of `features`. Small batches stay in the CPU cache.

    Returns:
        Statistics from which `frechet_distance` follows.

    Example:
        >>> feature_statistics(lambda x: x.mean(dim=(2, 3)), torch.rand(250, 3, 8, 8)).count
        250
    """
    return reduce(add, (FeatureStatistics.of(features(batch)) for batch in images.split(batch_size)))
