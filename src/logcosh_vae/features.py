"""Training, shipping and finding the feature classifiers whose coding layer the FID is measured in."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from .data import ImageSet, data_root, load_images
from .data.batches import Batch, evaluation_batches, training_batches
from .data.sources import Progress
from .environment import code_fingerprint
from .files import brief, read_json, write_json, written_aside
from .metrics.classifier import FeatureClassifier
from .objectives import Terms
from .running import Training, Watch, carry_out, on_threads
from .runs import RunError, RunFolder
from .training import Schedule, Step, stream

SHIPPED = Path(__file__).parent / "metrics" / "weights"


@dataclass(frozen=True)
class FeatureConfig:
    """Training of a feature classifier: Adam, one-cycle rate, training images shifted by whole pixels.

    Attributes:
        limit: train on the first images only (quick checks).
        shift: largest translation each way, in pixels.
        dropout: share of the coding layer hidden in each step.
    """

    data: str = "mnist"
    limit: int | None = None
    epochs: int = 16
    batch_size: int = 100
    learning_rate: float = 2e-3
    shift: int = 2
    dropout: float = 0.5
    seed: int = 0
    threads: int = 1
    log_every: int = 50


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


@torch.inference_mode()
def accuracy(classifier: FeatureClassifier, images: ImageSet, batch_size: int = 500) -> float:
    """Share of the images whose label the classifier finds."""
    classifier.eval()
    right = 0
    for batch in evaluation_batches(images.images, batch_size, images.labels):
        right += int((classifier(batch.images).argmax(dim=1) == batch.labels).sum())
    return right / len(images.images)


def fingerprint(classifier: FeatureClassifier) -> str:
    """Digest of the weights: an FID is comparable with another only where this is the same."""
    content = hashlib.sha256()
    for name, tensor in sorted(classifier.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()[:12]


@dataclass(frozen=True)
class Extractor:
    """A trained feature classifier with what every FID says of it."""

    name: str
    classifier: FeatureClassifier
    fingerprint: str
    accuracy: float

    def describe(self) -> dict[str, Any]:
        """For results: name, fingerprint and test accuracy."""
        return {"name": self.name, "fingerprint": self.fingerprint, "test_accuracy": self.accuracy}


def classifying_step(classifier: FeatureClassifier, config: FeatureConfig) -> Step:
    """Cross entropy on shifted images, with part of the coding layer hidden; all noise from the generator."""

    def step(batch: Batch, generator: torch.Generator, exact: bool) -> Terms:
        if batch.labels is None:
            raise ValueError("a classifier needs labels")
        features = classifier.features(random_shift(batch.images, config.shift, generator))
        kept = torch.rand(features.shape, generator=generator).to(features) >= config.dropout
        logits = classifier.output(features * kept / (1.0 - config.dropout))
        terms = {"objective": F.cross_entropy(logits, batch.labels)}
        if exact:
            terms["accuracy"] = (logits.argmax(dim=1) == batch.labels).float().mean()
        return terms

    return step


def train_features(
    config: FeatureConfig,
    path: Path,
    *,
    resume: bool = False,
    root: Path | None = None,
    watch: Watch | None = None,
    fetch_progress: Progress | None = None,
) -> RunFolder:
    """Train a feature classifier into the run folder `path`; the last epoch's weights are kept, not the best's.

    Raises:
        RunError, DataError, TrainingError: with one line for the user.
    """
    train, test = (load_images(config.data, name, root=root, progress=fetch_progress) for name in ("train", "test"))
    if config.limit is not None:
        train = train.first(config.limit)
    images, labels = train.images, train.labels
    if labels is None or images.shape[1:] != (1, 28, 28):
        raise RunError(f"{config.data}: the feature classifier needs labelled grey images of 28 by 28")
    values = {
        "kind": "features",
        "train": asdict(config),
        "images": {"train": train.fingerprint, "test": test.fingerprint},
        "code": code_fingerprint(),
        "torch": torch.__version__,
    }
    folder = RunFolder.create(path, values, resume=resume)

    def prepare() -> Training:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(config.seed, "weights").initial_seed())
            classifier = FeatureClassifier(int(labels.max()) + 1)
        steps = len(images) // config.batch_size
        return Training(
            classifier,
            torch.optim.Adam(classifier.parameters(), lr=config.learning_rate, fused=True),
            classifying_step(classifier, config),
            lambda generator: training_batches(images, config.batch_size, generator, labels),
            Schedule(config.epochs, steps, config.seed, config.log_every, learning_rate=one_cycle),
            validate=lambda: {"accuracy": accuracy(classifier, test)},
        )

    with on_threads(config.threads):
        carry_out(folder, config.epochs, prepare, watch or Watch())
    return folder


def install(folder: RunFolder, target: Path) -> Path:
    """Copy a finished classifier to `target/NAME.safetensors`, with a card that says what it is."""
    records = folder.metrics()
    classifier = FeatureClassifier()
    folder.load_weights(classifier)
    name = folder.config()["train"]["data"]
    weights = target / f"{name}.safetensors"
    card = {
        "name": f"{name}-classifier",
        "fingerprint": fingerprint(classifier),
        "test_accuracy": records[-1]["validation"]["accuracy"],
        "parameters": sum(p.numel() for p in classifier.parameters()),
        "command": f"logcosh-vae train-features {name}",
        "config": folder.config(),
        "environment": read_json(folder.path / "environment.json"),
        "seconds": round(sum(record["seconds"] for record in records), 1),
    }
    with written_aside(weights) as aside:
        safetensors.torch.save_file(classifier.state_dict(), aside)
    write_json(weights.with_suffix(".json"), card)
    return weights


def feature_folder(root: Path | None = None) -> Path:
    """Where `train-features` puts classifiers that are not shipped."""
    return data_root(root) / "features"


def load_extractor(data: str, root: Path | None = None) -> Extractor:
    """The classifier for a data set: the user's own from the data root if there is one, else the shipped one.

    Raises:
        RunError: there is none, or its weights are not those its card names.
    """
    for folder in (feature_folder(root), SHIPPED):
        weights = folder / f"{data}.safetensors"
        if not weights.is_file():
            continue
        try:
            card = read_json(weights.with_suffix(".json"))
            tensors = safetensors.torch.load_file(weights)
            classifier = FeatureClassifier(len(tensors["output.bias"]))
            classifier.load_state_dict(tensors)
            found = fingerprint(classifier)
            if found != card["fingerprint"]:
                raise ValueError(f"fingerprint is {found}, its card says {card['fingerprint']}")
            return Extractor(card["name"], classifier.eval(), found, card["test_accuracy"])
        except Exception as error:
            raise RunError(f"{weights} cannot be used: {brief(error)}") from error
    raise RunError(f"no feature classifier for {data}: train one with 'logcosh-vae train-features {data}' (minutes)")
