"""Training the feature classifiers whose coding layer the FID is measured in: of digits, or of a face's attributes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from ..base.errors import MissingFeaturesError, RunError
from ..base.files import atomic_write, read_json, write_json
from ..base.settings import digest, to_dict
from ..base.versions import DATA, TRAINING
from ..data import ImageSet, load_images
from ..data.batches import Batch, evaluation_batches, training_batches
from ..data.sizes import FIXED_SIZE
from ..data.sources import Progress
from ..metrics.classifier import FeatureClassifier
from ..models.networks import ImageShape
from ..training.loop import Schedule, Step, make_generator
from ..training.objective import Losses
from ..training.run_folder import RunFolder
from ..training.session import Callbacks, RunPlan, TrainingSetup, run_training
from .features import feature_folders, fingerprint, load_classifier, weights_name


@dataclass(frozen=True)
class FeatureConfig:
    """Training of a feature classifier: Adam, one-cycle rate, training images shifted by whole pixels.

    Attributes:
        size: height and width of images that are made of pictures.
        widths: channels of the convolutions.
        flip: mirror training images at random.
        limit: train on the first images only (quick checks).
        shift: largest translation each way, in pixels.
        dropout: share of the coding layer hidden in each step.
    """

    data: str = "mnist"
    size: tuple[int, ...] | None = None
    limit: int | None = None
    widths: tuple[int, ...] = (32, 64)
    flip: bool = False
    epochs: int = 16
    batch_size: int = 100
    learning_rate: float = 2e-3
    shift: int = 2
    dropout: float = 0.5
    seed: int = 0
    threads: int = 1
    log_every: int = 50


def feature_config(data: str, **changes: Any) -> FeatureConfig:
    """The classifier of a data set: digits as they are; faces, which are larger, with two more convolutions."""
    config = FeatureConfig(data)
    if data not in FIXED_SIZE:
        config = replace(config, widths=(32, 64, 128, 128), flip=True)
    return replace(config, **changes)


def one_cycle(share: float, warm_up: float = 0.2) -> float:
    """Rise to 1 over the first part of training, then fall to 0 along a cosine (Smith and Topin 2017)."""
    if share < warm_up:
        return 0.05 + 0.95 * share / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (share - warm_up) / (1.0 - warm_up)))


def random_shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move each image of `(N, C, H, W)` by up to `pixels` whole pixels each way; what comes in from outside is 0.

    Nothing is interpolated: resampled images are a little blurred, and a classifier trained on them does not see blur.
    """
    if pixels == 0:
        return images
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * pixels + 1, (2, count, 1, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device).view(1, -1, 1) + offsets[0]
    columns = torch.arange(width, device=images.device).view(1, 1, -1) + offsets[1]
    padded = F.pad(images, (pixels,) * 4)
    which = torch.arange(count, device=images.device).view(-1, 1, 1)
    return padded[which, :, rows, columns].movedim(-1, 1)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image of `(N, C, H, W)` left to right, or leave it, with equal chance."""
    mirrored = torch.rand((len(images), 1, 1, 1), generator=generator).to(images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the classes, or of the attributes, that are found, for each image: `(N,)`."""
    if labels.ndim == 1:
        return (logits.argmax(dim=1) == labels).float()
    return ((logits > 0.0) == (labels > 0)).float().mean(dim=1)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of classes, or of attributes, averaged over images (and attributes)."""
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits))


@torch.inference_mode()
def accuracy(classifier: FeatureClassifier, images: ImageSet, batch_size: int = 500) -> float:
    """Share of the images' labels (or attributes) that the classifier finds."""
    classifier.eval()
    right = 0.0
    for batch in evaluation_batches(images.images, batch_size, images.labels):
        if batch.labels is None:
            raise ValueError("accuracy needs labels")
        right += float(_right(classifier(batch.images), batch.labels).double().sum())
    return right / len(images.images)


def classifying_step(classifier: FeatureClassifier, config: FeatureConfig) -> Step:
    """Cross entropy on changed images, with part of the coding layer hidden; all noise from the generator."""

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> Losses:
        if batch.labels is None:
            raise ValueError("a classifier needs labels")
        images = random_flip(batch.images, generator) if config.flip else batch.images
        features = classifier.features(random_shift(images, config.shift, generator))
        kept = torch.rand(features.shape, generator=generator).to(features) >= config.dropout
        logits = classifier.output(features * kept / (1.0 - config.dropout))
        loss = _cross_entropy(logits, batch.labels)
        loss.backward()
        return {"loss": loss.detach(), "accuracy": _right(logits, batch.labels).mean()} if compute_loss else {}

    return step


def network_settings(config: FeatureConfig, images: ImageSet) -> dict[str, Any]:
    """Arguments of the classifier for a labelled set."""
    labels = images.labels
    if labels is None:
        raise RunError(f"{config.data}: a feature classifier needs labels, and this set has none")
    outputs = int(labels.max()) + 1 if labels.ndim == 1 else labels.shape[1]
    return {"outputs": outputs, "widths": list(config.widths), "image_shape": list(images.images.shape[1:])}


def train_features(
    config: FeatureConfig,
    path: Path,
    *,
    resume: bool = False,
    root: Path | None = None,
    callbacks: Callbacks | None = None,
    fetch_progress: Progress | None = None,
) -> RunFolder:
    """Train a feature classifier into the run folder `path`; the last epoch's weights are kept, not the best's.

    Raises:
        RunError, DataError, TrainingError: with one line for the user.
    """
    train, test = (
        load_images(config.data, name, size=config.size, root=root, progress=fetch_progress)
        for name in ("train", "test")
    )
    if config.limit is not None:
        train = train.first(config.limit)
    images, labels = train.images, train.labels
    network = network_settings(config, train)
    values = {
        "kind": "features",
        "train": to_dict(config),
        "network": network,
        "images": {"train": train.fingerprint, "test": test.fingerprint},
        "numerics": {"training": TRAINING, "data": DATA},
        "torch": torch.__version__,
    }

    def make_setup() -> TrainingSetup:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(make_generator(config.seed, "weights").initial_seed())
            classifier = FeatureClassifier(**network)
        steps = len(images) // config.batch_size
        return TrainingSetup(
            classifier,
            torch.optim.Adam(classifier.parameters(), lr=config.learning_rate, fused=True),
            classifying_step(classifier, config),
            lambda generator: training_batches(images, config.batch_size, generator, labels),
            Schedule(config.epochs, steps, config.seed, config.log_every, learning_rate=one_cycle),
            validate=lambda: {"accuracy": accuracy(classifier, test)},
        )

    plan = RunPlan(path, values, config.epochs, config.threads)
    return run_training(plan, make_setup, resume=resume, callbacks=callbacks)


def feature_folder(root: Path | None = None) -> Path:
    """Where trained classifiers go: the data root, or the user's cache where that cannot be written."""
    own, cache, _ = feature_folders(root)
    there = next(folder for folder in (own, *own.parents) if folder.exists())
    return own if os.access(there, os.W_OK) else cache


def install(folder: RunFolder, target: Path) -> Path:
    """Copy a finished classifier to `target/NAME.safetensors`, with a card that says what it is."""
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
    with atomic_write(weights) as aside:
        safetensors.torch.save_file(classifier.state_dict(), aside)
    write_json(weights.with_suffix(".json"), card)
    return weights


def ensure_features(
    config: FeatureConfig,
    image_shape: ImageShape,
    store: Path,
    target: Path | None,
    *,
    root: Path | None = None,
    callbacks: Callable[[FeatureConfig], Callbacks] | None = None,
) -> None:
    """Train and install the classifier of a data set unless there is one.

    Args:
        config: see `feature_config`.
        image_shape: of the set's images.
        store: folder in which the training is kept, and resumed.
        target: where the weights are looked for and go; `feature_folder` by default.
        root: data root.
        callbacks: called when a training is needed; returns the callbacks to train with.
    """
    try:
        load_classifier(config.data, image_shape, root, target)
    except MissingFeaturesError:
        name = (
            f"features-{weights_name(config.data, image_shape)}-{digest(config, f'training {TRAINING}, data {DATA}')}"
        )
        told = callbacks(config) if callbacks is not None else None
        folder = train_features(config, store / name, resume=True, root=root, callbacks=told)
        install(folder, target or feature_folder(root))
