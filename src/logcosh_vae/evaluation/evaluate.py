"""From a finished run to its measures and pictures.

All runs are measured alike: the same real images, the same codes `z`, the same seed, so that rows of a table differ
by the model alone.
"""

from __future__ import annotations

import time
from functools import cache, reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base import image_grid as pictures
from ..base.devices import available_device, exact_float32, find_device, float64_device
from ..base.environment import describe
from ..base.records import write_record
from ..base.versions import EVALUATION
from ..data import DATASETS, ImageSet
from ..data.batches import check_unit_range, evaluation_batches, to_unit
from ..metrics.classifier import feature_statistics
from ..metrics.frechet import FeatureStatistics, frechet_distance
from ..metrics.sharpness import sharpness
from ..models.autoencoder import VAE, WAE
from ..models.distributions import standard_normal
from ..training.autoencoder import config_of, load, split, validate
from ..training.builders import build_objective
from ..training.config import TrainConfig
from ..training.loop import make_generator
from ..training.run_folder import RunFolder
from ..training.session import on_threads
from .features import Extractor, load_extractor
from .records import EvaluationConfig, FidFloor, RealImages, RunEvaluation

BATCH = 100
"""Images that go through a network at once: of more, the layers would not stay in a processor's cache."""

OWN_IMAGES = 2_000
"""Images generated for the FID of a set of the user's, whose features take longer."""


def evaluation_for(data: str, **values: Any) -> EvaluationConfig:
    """How the runs of a data set are measured: as the paper does, with fewer images for sets it does not have."""
    count = {} if data in DATASETS else {"fid_images": OWN_IMAGES}
    return EvaluationConfig(**{**count, **values})


def extractor_for(data: str, shape: torch.Size, config: EvaluationConfig, root: Path | None) -> Extractor | None:
    """The features that images `(C, H, W)` of a data set are measured in; None where there is no FID."""
    channels, height, width = shape
    return load_extractor(data, (channels, height, width), root, config.features)


def choose_images(images: Tensor, count: int, seed: int, name: str) -> Tensor:
    """`count` images drawn without replacement (all when there are fewer), in [0, 1]."""
    order = torch.randperm(len(images), generator=make_generator(seed, name))[:count]
    return to_unit(images[order])


@torch.inference_mode()
def generate(model: VAE | WAE, count: int, seed: int) -> Tensor:
    """`count` images from the prior, on the CPU; the codes depend on the seed and the latent size alone."""
    like = next(model.parameters())
    codes = standard_normal((count, model.latent_size), like=like, generator=make_generator(seed, "generate"))
    return torch.cat([model.decode(part).cpu() for part in codes.split(BATCH)])


@torch.inference_mode()
def reconstruct(model: VAE | WAE, images: Tensor) -> Tensor:
    """Reconstructions of `(N, C, H, W)` images in [0, 1], both on the CPU."""
    device = next(model.parameters()).device
    return torch.cat([model.reconstruct(batch.to(device)).cpu() for batch in images.split(BATCH)])


_REAL: dict[tuple[str, str], FeatureStatistics] = {}
"""By features and images: a process that measures many runs looks at the real images once."""


def real_statistics(images: ImageSet, extractor: Extractor) -> FeatureStatistics:
    """Feature statistics of a whole split."""
    known = _REAL.get((extractor.fingerprint, images.fingerprint))
    if known is None:
        batches = evaluation_batches(images.images, BATCH)
        known = reduce(add, (feature_statistics(extractor.features, batch.images) for batch in batches))
        _REAL[extractor.fingerprint, images.fingerprint] = known
    return known


def measure(
    model: VAE | WAE, test: ImageSet, extractor: Extractor | None, config: EvaluationConfig
) -> dict[str, float]:
    """Sharpness of reconstructions and samples, and FID where there are features, of a trained model."""
    real = choose_images(test.images, config.sharpness_images, config.seed, "sharpness")
    reconstructed = reconstruct(model, real)
    generated = generate(model, config.fid_images, config.seed)
    for name, values in (("reconstructions", reconstructed), ("samples", generated)):
        check_unit_range(values, name)
    metrics = {
        "sharpness_reconstructed": float(sharpness(reconstructed).mean()),
        "sharpness_generated": float(sharpness(generated[: config.sharpness_images]).mean()),
    }
    if extractor is not None and len(test.images) > 1:
        statistics = feature_statistics(extractor.features, generated)
        metrics["fid"] = frechet_distance(statistics, real_statistics(test, extractor))
    return metrics


def random_test_images(path: Path, count: int, seed: int, root: Path | None = None) -> Tensor:
    """`count` random test images of the data set a run was trained on, `(count, C, H, W)` in [0, 1]."""
    config, _ = config_of(RunFolder(path))
    return choose_images(split(config, "test", root).images, count, seed, "pictures")


def paired_reconstructions(model: VAE | WAE, real: Tensor, columns: int) -> Tensor:
    """Images for a grid of `columns`: a row of real ones, then a row of their reconstructions, and so on."""
    rebuilt = reconstruct(model, real)
    blank = torch.full((-len(real) % columns, *real.shape[1:]), 0.5)
    rows = [torch.cat([images, blank]).unflatten(0, (-1, columns)) for images in (real, rebuilt)]
    return torch.stack(rows, dim=1).flatten(0, 2)


@torch.inference_mode()
def interpolations(model: VAE | WAE, real: Tensor, steps: int) -> Tensor:
    """From image `i` to image `i + n` of `2 n` images, `steps` a row: `(n * steps, C, H, W)`."""
    half = len(real) // 2
    real = real.to(next(model.parameters()).device)
    return model.interpolate(real[:half], real[half : 2 * half], steps).flatten(0, 1).cpu()


@torch.inference_mode()
def draw(model: VAE | WAE, test: ImageSet, folder: Path, seed: int) -> None:
    """Write samples, reconstructions (each under its real image) and interpolations as PNG."""
    real = choose_images(test.images, 40, seed, "pictures")
    grids = {
        "samples": pictures.grid(generate(model, 100, seed), columns=10),
        "reconstructions": pictures.grid(paired_reconstructions(model, real, 10), columns=10),
        "interpolation": pictures.grid(interpolations(model, real[:16], 12), columns=12),
    }
    for name, grid in grids.items():
        pictures.save(grid, folder / f"{name}.png")


def evaluate(
    path: Path, config: EvaluationConfig | None = None, *, root: Path | None = None, device: str | None = None
) -> RunEvaluation:
    """Measure a finished run; writes `evaluation.json` and the pictures into it.

    Args:
        path: run folder.
        config: how to measure; `evaluation_for` the data set by default.
        root: data root.
        device: to compute on, in float32; by default the one the run was trained on, if this machine has it.

    Returns:
        What was written.
    """
    folder = RunFolder(path)
    train_config, _ = config_of(folder)
    config = config or evaluation_for(train_config.data.name)
    started = time.perf_counter()
    used = float64_device(find_device(device)) if device is not None else available_device(train_config.device)
    model = load(path).to(used)
    test = split(train_config, "test", root)
    extractor = extractor_for(train_config.data.name, test.images.shape[1:], config, root)
    if extractor is not None:
        extractor = extractor.on(used)
    with on_threads(train_config.threads), exact_float32():
        metrics = measure(model, test, extractor, config)
        losses = validate(model, build_objective(train_config), test.images.to(used), train_config)
        draw(model, test, path, config.seed)
    result = RunEvaluation(
        metrics=metrics,
        test=losses,
        training_seconds=round(sum(record["seconds"] for record in folder.metrics()), 1),
        evaluation=config,
        real=RealImages("test", len(test.images), test.fingerprint),
        version=EVALUATION,
        environment=describe(),
        seconds=round(time.perf_counter() - started, 2),
        features=extractor.describe() if extractor is not None else None,
        device=used.type,
    )
    write_record(result, path / "evaluation.json")
    return result


@cache
def fid_floor(train_config: TrainConfig, config: EvaluationConfig, *, root: Path | None = None) -> FidFloor:
    """FID of training images against the test split, as many as are generated: what a perfect generator would get.

    The sharpness of real test images stands beside it.
    """
    test, train = split(train_config, "test", root), split(train_config, "train", root)
    extractor = extractor_for(train_config.data.name, test.images.shape[1:], config, root)
    if extractor is not None:
        extractor = extractor.on(available_device(train_config.device))
    real = choose_images(test.images, config.sharpness_images, config.seed, "sharpness")
    chosen = choose_images(train.images, config.fid_images, config.seed, "floor")
    fid = None
    if extractor is not None and len(test.images) > 1:
        statistics = feature_statistics(extractor.features, chosen)
        fid = frechet_distance(statistics, real_statistics(test, extractor))
    return FidFloor(float(sharpness(real).mean()), len(chosen), fid)
