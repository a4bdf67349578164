"""Training of the feature classifiers for the FID: of the classes of digits, or of the attributes of faces.

`train_features` trains a classifier in a run folder; `feature_installation` makes it available to evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base.errors import ConfigError, RunError
from ..base.memory import check_memory
from ..base.settings import to_dict
from ..base.text import counted
from ..base.versions import DATA, TRAINING
from ..data import ImageSet, load_images
from ..data.batches import Batch, evaluation_batches, training_batches
from ..data.sizes import FIXED_SIZE, PICTURE_SIZE
from ..data.sources import Progress
from ..metrics.classifier import FeatureClassifier
from ..models.footprint import activation_bytes, state_bytes, training_bytes, without_data
from ..training.limits import FIXED_SHAPE
from ..training.loop import Schedule, Step, make_generator
from ..training.objective import Losses
from ..training.run_folder import RunFolder
from ..training.run_identity import RunIdentity
from ..training.session import Callbacks, RunPlan, TrainingSetup, run_training


@dataclass(frozen=True)
class FeatureConfig:
    """Configuration of the training of a feature classifier.

    Attributes:
        data: name of the data set.
        size: height and width that images are resized to; None for data sets of fixed size.
        limit: train on the first `limit` images only, for quick checks.
        widths: channels of the convolutions.
        flip: mirror training images left to right at random.
        epochs: number of epochs.
        batch_size: images per step.
        learning_rate: peak of the one-cycle schedule, for Adam.
        shift: largest random translation in each direction, in pixels.
        dropout: fraction of the coding layer that is dropped in each step.
        seed: seed of the initial weights, the order of images, augmentation and dropout.
        threads: CPU threads.
        log_every: steps between records of the training loss.
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
    """Return the configuration for a data set. Images larger than digits get two more convolutions and are mirrored.

    Args:
        data: name of the data set.
        changes: fields of `FeatureConfig` to set.
    """
    config = FeatureConfig(data)
    if data not in FIXED_SIZE:
        config = replace(config, widths=(32, 64, 128, 128), flip=True)
    return replace(config, **changes)


def one_cycle(fraction: float, warm_up: float = 0.2) -> float:
    """Return the factor of the learning rate after a fraction of the training (Smith and Topin 2017).

    It rises linearly from 0.05 to 1 during the fraction `warm_up`, then falls to 0 along a cosine.
    """
    if fraction < warm_up:
        return 0.05 + 0.95 * fraction / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (fraction - warm_up) / (1.0 - warm_up)))


def random_shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Translate each image of `(N, C, H, W)` by a random whole number of pixels, padding with 0.

    The offsets are at most `pixels` in each direction. Whole pixels need no interpolation, which would blur the images;
    a classifier trained on blurred images is insensitive to blur.
    """
    if pixels == 0:
        return images
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * pixels + 1, (2, count, 1, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device).view(1, -1, 1) + offsets[0]
    columns = torch.arange(width, device=images.device).view(1, 1, -1) + offsets[1]
    padded = F.pad(images, (pixels,) * 4)
    index = torch.arange(count, device=images.device).view(-1, 1, 1)
    return padded[index, :, rows, columns].movedim(-1, 1)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image of `(N, C, H, W)` left to right with probability 1/2."""
    mirrored = torch.rand((len(images), 1, 1, 1), generator=generator).to(images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def _correct_fraction(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of correct predictions per image, `(N,)`: 0 or 1 for a class, the mean over attributes.

    Args:
        logits: `(N, outputs)`.
        labels: classes `(N,)`, or attributes `(N, outputs)` that are present if positive.
    """
    if labels.ndim == 1:
        return (logits.argmax(dim=1) == labels).float()
    return ((logits > 0.0) == (labels > 0)).float().mean(dim=1)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of classes, or the mean binary cross entropy of attributes."""
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits))


@torch.inference_mode()
def accuracy(classifier: FeatureClassifier, images: ImageSet, batch_size: int = 500) -> float:
    """Return the fraction of classes, or of attributes, that a classifier predicts correctly, in [0, 1].

    The classifier is put into evaluation mode.

    Raises:
        ValueError: the images have no labels.
    """
    classifier.eval()
    correct = 0.0
    for batch in evaluation_batches(images.images, batch_size, images.labels):
        if batch.labels is None:
            raise ValueError("images must have labels to compute an accuracy")
        correct += float(_correct_fraction(classifier(batch.images), batch.labels).double().sum())
    return correct / len(images.images)


def classifier_step(classifier: FeatureClassifier, config: FeatureConfig) -> Step[Batch]:
    """Return the training step: cross entropy on augmented images, with dropout on the coding layer.

    All randomness comes from the generator that the step is called with.
    """

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> Losses:
        if batch.labels is None:
            raise ValueError("images must have labels to train a classifier")
        images = random_flip(batch.images, generator) if config.flip else batch.images
        features = classifier.features(random_shift(images, config.shift, generator))
        kept = torch.rand(features.shape, generator=generator).to(features) >= config.dropout
        logits = classifier.output(features * kept / (1.0 - config.dropout))
        loss = _cross_entropy(logits, batch.labels)
        loss.backward()
        return (
            {"loss": loss.detach(), "accuracy": _correct_fraction(logits, batch.labels).mean()} if compute_loss else {}
        )

    return step


def network_settings(config: FeatureConfig, images: ImageSet) -> dict[str, Any]:
    """Return the arguments of `FeatureClassifier` for a data set.

    Raises:
        RunError: the images have no labels, or there are fewer of them than a batch needs.
    """
    labels = images.labels
    if labels is None:
        raise RunError(f"{config.data} has no labels, which are needed to train a feature classifier")
    if len(images.images) < config.batch_size:
        raise RunError(
            f"{config.data} has {counted(len(images.images), 'training image')}, fewer than one batch of "
            f"{config.batch_size}; add images"
        )
    outputs = int(labels.max()) + 1 if labels.ndim == 1 else labels.shape[1]
    return {"outputs": outputs, "widths": list(config.widths), "image_shape": list(images.images.shape[1:])}


def check_feature_memory(config: FeatureConfig) -> None:
    """Check that the classifier can process images of the configured size, and that the memory suffices to train it.

    Raises:
        ConfigError: it cannot, or it does not.
    """
    size = config.size or PICTURE_SIZE
    shape = FIXED_SHAPE if config.data in FIXED_SIZE else (3, size[0], size[-1])
    try:
        network = without_data(lambda: FeatureClassifier(widths=config.widths, image_shape=shape))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    check_memory(
        training_bytes(state_bytes(network), config.batch_size * activation_bytes(network.convolutions, shape)),
        f"training the feature network on images of {shape[1]}x{shape[2]}x{shape[0]}",
        "choose a smaller --size",
    )


def train_features(
    config: FeatureConfig,
    path: Path,
    *,
    resume: bool = False,
    root: Path | None = None,
    callbacks: Callbacks | None = None,
    fetch_progress: Progress | None = None,
) -> RunFolder:
    """Train a feature classifier in a run folder; the weights of the last epoch are kept.

    Args:
        config: see `feature_config`.
        path: the run folder.
        resume: continue a run of the same config that is already there.
        root: data root.
        callbacks: called with the progress of the training.
        fetch_progress: called while images are downloaded and prepared.

    Returns:
        The run folder; its metrics have the test accuracy after each epoch.

    Raises:
        ConfigError: the images are too small for the network, or the memory does not suffice.
        RunError: the folder cannot be used, or the data set has no labels or too few images.
        DataError: the images cannot be loaded.
        TrainingError: the training diverged.
    """
    check_feature_memory(config)
    train, test = (
        load_images(config.data, name, size=config.size, root=root, progress=fetch_progress)
        for name in ("train", "test")
    )
    if config.limit is not None:
        train = train.first(config.limit)
    network = network_settings(config, train)
    values = {
        "kind": "features",
        "train": to_dict(config),
        "network": network,
        "images": {"train": train.fingerprint, "test": test.fingerprint},
        "numerics": {"training": TRAINING, "data": DATA},
        "torch": torch.__version__,
    }
    plan = RunPlan(path, RunIdentity(values), config.epochs, config.threads)
    return run_training(plan, lambda: _setup(config, network, train, test), resume=resume, callbacks=callbacks)


def _setup(config: FeatureConfig, network: Mapping[str, Any], train: ImageSet, test: ImageSet) -> TrainingSetup[Batch]:
    """Build the classifier with its initial weights, the optimiser, the batches and the validation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(make_generator(config.seed, "weights").initial_seed())
        classifier = FeatureClassifier(**network)
    steps = max(1, len(train.images) // config.batch_size)  # a smaller set is one batch
    return TrainingSetup(
        classifier,
        torch.optim.Adam(classifier.parameters(), lr=config.learning_rate, fused=True),
        classifier_step(classifier, config),
        lambda generator: training_batches(train.images, config.batch_size, generator, train.labels),
        Schedule(config.epochs, steps, config.seed, config.log_every, learning_rate=one_cycle),
        validate=lambda: {"accuracy": accuracy(classifier, test)},
    )
