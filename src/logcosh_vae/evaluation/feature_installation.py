"""Installation of trained feature classifiers: copies of their weights where `load_classifier` finds them.

`install_classifier` installs a finished run of `train_features`. `train_missing_features` trains and installs the
classifier of a data set that has none yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..base.errors import MissingFeaturesError
from ..base.files import read_json, write_bytes, write_json
from ..base.settings import digest
from ..base.versions import DATA, TRAINING
from ..metrics.classifier import FeatureClassifier
from ..models.networks import ImageShape
from ..training.run_folder import RunFolder
from ..training.session import Callbacks
from .feature_training import FeatureConfig, train_features
from .features import classifier_file, feature_folders, fingerprint, load_classifier, weights_name


def writable_feature_folder(root: Path | None = None) -> Path:
    """Return the folder for trained classifiers: in the data root if it can be written to, else in the user's cache."""
    in_root, in_cache, _ = feature_folders(root)
    existing = next(folder for folder in (in_root, *in_root.parents) if folder.exists())
    return in_root if os.access(existing, os.W_OK) else in_cache


def install_classifier(folder: RunFolder, target: Path) -> Path:
    """Copy the weights of a finished run, with their card, to where `load_classifier` finds them.

    Args:
        folder: run folder of `train_features`.
        target: folder to write NAME.safetensors to, and a copy of the card to NAME.json; see `weights_name`.

    Returns:
        The path of the weights.
    """
    records, config = folder.metrics(), folder.config()
    classifier = FeatureClassifier(**config["network"])
    folder.load_weights(classifier)
    data = config["train"]["data"]
    channels, height, width = config["network"]["image_shape"]
    weights = target / f"{weights_name(data, (channels, height, width))}.safetensors"
    card = {
        "name": f"{data}-classifier",
        "fingerprint": fingerprint(classifier),
        "test_accuracy": records[-1]["validation"]["accuracy"],
        "parameters": sum(p.numel() for p in classifier.parameters()),
        "command": f"logcosh-vae train-features {data}",
        "network": config["network"],
        "config": config,
        "environment": read_json(folder.path / "environment.json"),
        "seconds": round(sum(record["seconds"] for record in records), 1),
    }
    write_json(weights.with_suffix(".json"), card)  # for people, and for earlier versions
    write_bytes(weights, classifier_file(classifier, card))
    return weights


def train_missing_features(
    config: FeatureConfig,
    image_shape: ImageShape,
    runs_folder: Path,
    target: Path | None,
    *,
    root: Path | None = None,
    make_callbacks: Callable[[FeatureConfig], Callbacks] | None = None,
) -> None:
    """Train and install the classifier of a data set if it has none yet.

    Args:
        config: see `feature_config`.
        image_shape: channels, height and width of the data set's images.
        runs_folder: folder for the run of the training, which is resumed if it is already there.
        target: folder to search for the classifier and to install it in; by default `writable_feature_folder`.
        root: data root.
        make_callbacks: called before a training starts; returns the callbacks of that training.

    Raises:
        RunError, DataError, TrainingError: see `load_classifier` and `train_features`.
    """
    try:
        load_classifier(config.data, image_shape, root, target)
    except MissingFeaturesError:
        config_digest = digest(config, f"training {TRAINING}, data {DATA}")
        path = runs_folder / f"features-{weights_name(config.data, image_shape)}-{config_digest}"
        callbacks = make_callbacks(config) if make_callbacks is not None else None
        folder = train_features(config, path, resume=True, root=root, callbacks=callbacks)
        install_classifier(folder, target or writable_feature_folder(root))
