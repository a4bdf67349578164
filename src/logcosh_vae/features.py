"""Finding the features that an FID is measured in; their name and fingerprint are part of every result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from .data import cache_root, data_root
from .defaults import FIXED_SIZE
from .files import brief, read_json
from .metrics.classifier import FeatureClassifier
from .networks import ImageShape
from .runs import RunError

SHIPPED = Path(__file__).parent / "metrics" / "weights"


class MissingFeaturesError(RunError):
    """There is no feature classifier for a data set yet."""


@dataclass(frozen=True)
class Extractor:
    """What turns images into features.

    Attributes:
        name: of the network; fingerprint: digest of its weights.
        features: `(N, C, H, W)` in [0, 1] to `(N, d)`.
        accuracy: of the classifier on its test split, None for a network that is none.
    """

    name: str
    fingerprint: str
    features: Callable[[Tensor], Tensor]
    accuracy: float | None = None

    def describe(self) -> dict[str, Any]:
        """For results: name, fingerprint and test accuracy."""
        return {"name": self.name, "fingerprint": self.fingerprint, "test_accuracy": self.accuracy}


def fingerprint(network: nn.Module) -> str:
    """Digest of the weights: an FID is comparable with another only where this is the same."""
    content = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()[:12]


def weights_name(data: str, image_shape: ImageShape) -> str:
    """File name of a classifier's weights, without suffix; sets whose images were resized have one for each size."""
    channels, height, width = image_shape
    return data if data in FIXED_SIZE else f"{data}-{height}x{width}x{channels}"


def feature_folders(root: Path | None = None) -> list[Path]:
    """Where classifiers are looked for: the user's own in the data root or the cache, then those that are shipped."""
    return [data_root(root) / "features", cache_root() / "features", SHIPPED]


def load_classifier(
    data: str, image_shape: ImageShape, root: Path | None = None, first: Path | None = None
) -> tuple[FeatureClassifier, dict[str, Any]]:
    """The feature classifier of a data set, in evaluation mode, and its card; `first` is a folder to look in first.

    Raises:
        RunError: there is none, or its weights are not those its card names.
    """
    name = weights_name(data, image_shape)
    for folder in [*([first] if first else []), *feature_folders(root)]:
        weights = folder / f"{name}.safetensors"
        if not weights.is_file():
            continue
        try:
            card: dict[str, Any] = read_json(weights.with_suffix(".json"))
            classifier = FeatureClassifier(**card.get("network", {}))
            classifier.load_state_dict(safetensors.torch.load_file(weights))
            found = fingerprint(classifier)
            if found != card["fingerprint"]:
                raise ValueError(f"fingerprint is {found}, its card says {card['fingerprint']}")
        except Exception as error:
            raise RunError(f"{weights} cannot be used: {brief(error)}") from error
        return classifier.eval(), card
    size = "" if data in FIXED_SIZE else f" --size {image_shape[1]}x{image_shape[2]}"
    raise MissingFeaturesError(
        f"no feature classifier for {data}: train one with 'logcosh-vae train-features {data}{size}' (minutes)"
    )


def load_extractor(
    data: str, image_shape: ImageShape, root: Path | None = None, first: Path | None = None
) -> Extractor:
    """The features for a data set: those of its classifier; see `load_classifier`.

    Raises:
        RunError: there are none; the message says how to get them.
    """
    classifier, card = load_classifier(data, image_shape, root, first)
    return Extractor(card["name"], card["fingerprint"], classifier.features, card["test_accuracy"])
