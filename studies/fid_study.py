"""What causes the FID differences of table 1? Separates features, reconstruction and prior.

    python studies/fid_study.py [--runs runs] [--data-root FOLDER]

Takes about half an hour on one core. Reads `results/table1-paper.json` and the runs that it names. Writes
`results/fid-study-paper.json`, which docs/results.md shows. Trained classifiers are kept under `RUNS/fid-study`.

For each model and loss (first seed) it measures the FID of

- samples: codes from the prior, as in the table;
- reconstructions of the test images, which do not involve the prior;
- samples from the codes of training images (with the posterior's noise): the decoder without the mismatch between prior
  and codes.

Each is measured in the features of the shipped classifier (its coding layer, the same before its rectifier, its logits)
and in the coding layer of other classifiers: trained for two epochs only; on images resampled by small rotations, which
blurs them; with batch normalisation; and with six convolutions and batch normalisation, on shifted and on resampled
images.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from logcosh_vae import VAE, WAE, load
from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import atomic_write
from logcosh_vae.data import ImageSet, load_images
from logcosh_vae.data.batches import Batch, to_unit, training_batches
from logcosh_vae.evaluation.evaluate import generate, reconstruct
from logcosh_vae.evaluation.feature_training import accuracy, one_cycle, random_shift
from logcosh_vae.evaluation.features import fingerprint, load_classifier
from logcosh_vae.experiments.results import StudyResults, read_results, write_results
from logcosh_vae.metrics.classifier import FeatureClassifier
from logcosh_vae.metrics.frechet import FeatureStatistics, frechet_distance
from logcosh_vae.reporting.markdown import fid_change
from logcosh_vae.reporting.tables import model_text
from logcosh_vae.training.loop import Schedule, fit, make_generator, use_threads

ROOT = Path(__file__).resolve().parents[1]
Features = Callable[[Tensor], Tensor]
"""Maps images in [0, 1], `(N, C, H, W)`, to features, `(N, F)`."""

DEEP = (32, 32, 64, 64, 64, 64)
"""Channels of the classifier with six convolutions."""


def rotated(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate each image by up to 10 degrees with bilinear interpolation, which blurs a little."""
    angle = (2.0 * torch.rand(len(images), generator=generator) - 1.0) * math.radians(10.0)
    zero = torch.zeros_like(angle)
    rows = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift images at random, as in the training of the shipped classifier."""
    return random_shift(images, 2, generator)


def unchanged(images: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - same interface as the others
    """Return the images unchanged."""
    return images


def classifier_with(widths: tuple[int, ...], normalised: bool) -> FeatureClassifier:
    """Return the network of the shipped classifier with other convolutions.

    Args:
        widths: channels of the convolutions; two or six, the last with 64. There are two pooling layers in any case.
        normalised: whether batch normalisation follows each convolution.
    """
    classifier = FeatureClassifier()
    layers: list[torch.nn.Module] = []
    pooled = (1, 2) if len(widths) == 2 else (2, 4)
    for index, (inputs, width) in enumerate(pairwise((1, *widths)), start=1):
        layers.append(torch.nn.Conv2d(inputs, width, 3, padding=1, bias=not normalised))
        layers += [torch.nn.BatchNorm2d(width)] if normalised else []
        layers.append(torch.nn.ReLU(inplace=True))
        layers += [torch.nn.MaxPool2d(2)] if index in pooled else []
    classifier.convolutions = torch.nn.Sequential(*layers, torch.nn.Flatten())
    return classifier


def trained(
    train: ImageSet,
    epochs: int,
    change: Callable[[Tensor, torch.Generator], Tensor],
    widths: tuple[int, ...] = (32, 64),
    *,
    normalised: bool = False,
    kept: Path,
) -> FeatureClassifier:
    """Train a classifier, or read it from `kept` if an earlier call has stored it there.

    Args:
        train: training images with labels.
        epochs: number of epochs.
        change: augmentation, called with a batch and a generator.
        widths: channels of the convolutions.
        normalised: whether to use batch normalisation.
        kept: file of the weights.
    """
    torch.manual_seed(0)
    classifier = classifier_with(widths, normalised)
    if kept.is_file():
        classifier.load_state_dict(safetensors.torch.load_file(kept))
        return classifier.eval()

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> dict[str, Tensor]:
        features = classifier.features(change(batch.images, generator))
        keep = torch.rand(features.shape, generator=generator) >= 0.5  # dropout
        assert batch.labels is not None
        loss = F.cross_entropy(classifier.output(features * keep * 2.0), batch.labels)
        loss.backward()
        return {"loss": loss.detach()} if compute_loss else {}

    optimizer = torch.optim.Adam(classifier.parameters(), lr=2e-3, fused=True)
    fit(
        classifier,
        step,
        lambda generator: training_batches(train.images, 100, generator, train.labels),
        optimizer,
        Schedule(epochs, len(train.images) // 100, 0, learning_rate=one_cycle),
    )
    with atomic_write(kept) as aside:
        safetensors.torch.save_file(classifier.state_dict(), aside)
    return classifier.eval()


@torch.inference_mode()
def statistics(features: Features, images: Tensor) -> FeatureStatistics:
    """Return mean and covariance of the features of images, computed in batches."""
    parts = [FeatureStatistics.of(features(batch)) for batch in images.split(500)]
    return sum(parts[1:], start=parts[0])


@torch.inference_mode()
def from_posterior(model: VAE | WAE, train: ImageSet, count: int) -> Tensor:
    """Decode the codes of `count` random training images, with the posterior's noise for a VAE."""
    chosen = torch.randperm(len(train.images), generator=make_generator(0, "posterior"))[:count]
    noise = make_generator(0, "posterior noise")
    return torch.cat([model(to_unit(part), noise).x_hat for part in train.images[chosen].split(1_000)])


@torch.inference_mode()
def code_moments(model: VAE | WAE, test: ImageSet) -> dict[str, float]:
    """Return how far the codes of test images are from the prior: the Frechet distance, and their extreme variances."""
    noise = make_generator(0, "codes")
    codes = torch.cat([model(to_unit(part), noise).z for part in test.images.split(1_000)])
    own = FeatureStatistics.of(codes)
    prior = FeatureStatistics.of(torch.randn(codes.shape, generator=make_generator(0, "prior")))
    variances = own.covariance.diagonal()
    return {
        "frechet_to_prior": frechet_distance(own, prior),
        "smallest_variance": float(variances.min()),
        "largest_variance": float(variances.max()),
    }


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown: the change in FID from squared L2 to log-cosh, by features and kind of image."""
    kinds = ["samples", "samples from codes of images", "reconstructions"]
    measured = {(row["features"], row["model"], row["loss"]): row["fid"] for row in results.rows if "fid" in row}
    lines = ["| features | test accuracy | model | " + " | ".join(kinds) + " |", "|" + "---|" * (3 + len(kinds))]
    for row in (row for row in results.rows if "fingerprint" in row):
        for model in dict.fromkeys(key[1] for key in measured):
            l2, log_cosh = (measured[row["features"], model, loss] for loss in ("l2", "log-cosh"))
            cells = [fid_change(l2[kind], log_cosh[kind]) for kind in kinds]
            accuracy = f"{100 * row['test_accuracy']:.2f}%"
            lines.append(f"| {row['features']} | {accuracy} | {model_text(model)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


MAKINGS: dict[str, dict[str, Any]] = {
    "two epochs": {"epochs": 2, "change": unchanged},
    "resampled images": {"epochs": 4, "change": rotated},
    "batch normalisation": {"epochs": 2, "change": shifted, "normalised": True},
    "six convolutions, batch normalisation": {"epochs": 2, "change": shifted, "widths": DEEP, "normalised": True},
    "six convolutions, batch normalisation, resampled images": {
        "epochs": 2,
        "change": rotated,
        "widths": DEEP,
        "normalised": True,
    },
}
"""Arguments of `trained` for the other classifiers, by name."""


def all_features(
    train: ImageSet, test: ImageSet, arguments: argparse.Namespace
) -> dict[str, tuple[str, float, Features]]:
    """Return fingerprint, test accuracy and feature function of every classifier and layer, by name."""
    shipped, card = load_classifier("mnist", (1, 28, 28), arguments.data_root)
    known = card["fingerprint"], card["test_accuracy"]
    extractors: dict[str, tuple[str, float, Features]] = {
        "coding": (*known, shipped.features),
        "coding before its rectifier": (*known, shipped.preactivations),
        "logits": (*known, shipped),
    }
    for name, making in MAKINGS.items():
        kept = arguments.runs / "fid-study" / f"{name.replace(', ', '_').replace(' ', '-')}.safetensors"
        classifier = trained(train, **making, kept=kept)
        test_accuracy = accuracy(classifier, test)
        print(f"{name}: test accuracy {test_accuracy:.4f}", flush=True)
        extractors[f"coding; {name}"] = (fingerprint(classifier), test_accuracy, classifier.features)
    return extractors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    use_threads(1)
    train, test = (load_images("mnist", split, root=arguments.data_root) for split in ("train", "test"))
    extractors = all_features(train, test, arguments)
    table1 = read_results(ROOT / "results" / "table1-paper.json")
    real, others = to_unit(test.images), to_unit(train.images[:10_000])
    images = {}
    for row in (row for row in table1.rows if row.loss in ("l2", "log-cosh")):
        model = load(arguments.runs / row.runs[0])
        images[row.model, row.loss] = (
            {
                "samples": generate(model, 10_000, 0),
                "reconstructions": reconstruct(model, real),
                "samples from codes of images": from_posterior(model, train, 10_000),
            },
            code_moments(model, test),
        )
    rows: list[dict[str, Any]] = []
    for name, (digest, test_accuracy, features) in extractors.items():
        real_statistics = statistics(features, real)
        for (model_name, loss), (sets, codes) in images.items():
            fid = {kind: frechet_distance(statistics(features, x), real_statistics) for kind, x in sets.items()}
            rows.append({"features": name, "model": model_name, "loss": loss, "fid": fid, "codes": codes})
        fid_floor = frechet_distance(statistics(features, others), real_statistics)
        rows.append({"features": name, "fingerprint": digest, "test_accuracy": test_accuracy, "floor": fid_floor})
    result = StudyResults(
        experiment="fid-study",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        profile="paper",
    )
    write_results(result, ROOT / "results" / "fid-study-paper.json")


if __name__ == "__main__":
    main()
