"""What the page holds about a run: its networks, a density of its codes, and names for a reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..base.errors import DataError
from ..base.text import counted, shorten, visible
from ..data import ImageSet
from ..data.batches import to_unit
from ..evaluation.images import BATCH_SIZE, choose_rows
from ..evaluation.priors import density_of_run
from ..models.autoencoder import VAE, WAE
from ..models.density import PRIORS, CodeDensity
from ..models.networks import ImageShape
from ..reporting.labels import loss_text, model_text
from ..training.autoencoder import config_of, load_with_weights, split
from ..training.density_file import stored_densities
from ..training.run_folder import RunFolder
from .layers import ExportError, apply, first_outputs, layers_of
from .precision import Networks

MEASURED_IMAGES = 1_000
"""Number of test images whose codes tell how far each latent variable varies."""

LONGEST_FOLDER = 24
"""Longest name of a folder in a label, in characters."""

PIXEL_VALUES = 1 << 25
"""Number of pixel values that are measured or compared, 128 MiB as float32."""

SMALLEST_RADIUS, LARGEST_RADIUS = 3.0, 8.0
"""Limits of the range of the sliders; a standard normal variable is within the first with probability 99.7%."""


NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "celeba": "CelebA"}
"""Names of the known data sets."""


@dataclass(frozen=True)
class ExplorerRun:
    """A trained model on the page.

    Attributes:
        label: short name, such as `log-cosh, a = 100`.
        detail: model, data set and epochs, for a reader.
        data: name of the data set, or its path.
        image_shape: channels, height and width.
        networks: encoder, to latent codes, and decoder.
        prior: name of the density, one of `PRIORS`.
        density: of the codes, to sample from besides the prior `N(0, I)`; None for the prior alone.
        deviations: standard deviation of each latent variable over test images; ones if they are unknown.
        radius: range of the sliders, so that they reach the codes of nearly all test images.
    """

    label: str
    detail: str
    data: str
    image_shape: ImageShape
    networks: Networks
    prior: str = PRIORS[0]
    density: CodeDensity | None = None
    deviations: tuple[float, ...] = ()
    radius: float = SMALLEST_RADIUS

    @property
    def latent_size(self) -> int:
        """Number of latent variables."""
        return self.networks.decoder[0].inputs[0]


@dataclass(frozen=True)
class ShownImages:
    """Test images on the page.

    Attributes:
        images: `(N, C, H, W)`, uint8.
        labels: class of each; None if the set has none.
        data: name of the data set.
    """

    images: Tensor
    labels: tuple[int, ...] | None
    data: str


def networks_of(model: VAE | WAE, image_shape: ImageShape) -> Networks:
    """Return the encoder, without the log-variances of a VAE, and the decoder of a model.

    Args:
        model: in evaluation mode, on the CPU.
        image_shape: channels, height and width.

    Raises:
        ExportError: a network has layers that the page does not know.
    """
    encoder = layers_of(model.encoder, image_shape)
    decoder = layers_of(model.decoder, (model.latent_size, 1, 1))
    if not encoder or not decoder or encoder[-1].kind != "linear":
        raise ExportError("the model cannot be explored: its encoder must end in a linear layer")
    return Networks(tuple(first_outputs(encoder, model.latent_size)), tuple(decoder))


def data_name(data: str) -> str:
    """Return the name of a data set, or of the folder or file at a path, for a reader."""
    return NAMES.get(data) or visible(Path(data).name)


def read_run(path: Path, prior: str | None = None, root: Path | None = None) -> ExplorerRun:
    """Read a run folder.

    Args:
        path: folder of a finished run.
        prior: density to fit to the codes of training images, one of `PRIORS`; by default the one with which the
            model's samples are best of those that are stored with it.
        root: data root.

    Raises:
        RunError: the folder does not hold a finished run of an autoencoder, or its model cannot be put on a page.
        DataError: the training images, which `prior` needs, cannot be loaded.
    """
    folder = RunFolder(path)
    config, image_shape = config_of(folder)
    if image_shape[0] not in (1, 3):
        raise ExportError(f"{path}: images with {image_shape[0]} channels cannot be shown; they need 1 or 3")
    model, weights = load_with_weights(folder)
    try:
        networks = networks_of(model, image_shape)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from None
    if prior is None:
        stored = stored_densities(folder, model, model.latent_size)
        prior = max(stored, key=PRIORS.index, default=PRIORS[0])
    data, objective = config.data.name, config.objective
    epochs = counted(weights.epochs, "epoch") if weights.epochs else "changed after training"
    training = f"{epochs}, seed {config.seed}"
    return ExplorerRun(
        label=loss_text(objective.loss, objective.a, objective.likelihood),
        detail=f"{model_text(config.model_name)}, {data_name(data)}, {training}",
        data=data,
        image_shape=image_shape,
        networks=networks,
        prior=prior,
        density=density_of_run(path, model, prior, root),
        deviations=(1.0,) * model.latent_size,
    )


def distinct(runs: Sequence[ExplorerRun], paths: Sequence[Path]) -> list[ExplorerRun]:
    """Return the runs with different labels: equal ones get what differs of their details, or their folders' names.

    Example: `squared L2, 3 epochs` and `squared L2, 12 epochs`.
    """
    named = list(runs)
    for label in {run.label for run in runs}:
        group = [index for index, run in enumerate(runs) if run.label == label]
        if len(group) > 1:
            details = [runs[index].detail.split(", ") for index in group]
            names = [", ".join(name) for name in zip(*filter(_differ, zip(*details, strict=True)), strict=True)]
            if len(set(names)) < len(group):
                names = [shorten(paths[index].resolve().name, LONGEST_FOLDER) for index in group]
            for index, name in zip(group, names, strict=True):
                named[index] = replace(runs[index], label=f"{label}, {name}")
    return named


def _differ(parts: Sequence[str]) -> bool:
    return len(set(parts)) > 1


def load_test_images(path: Path, root: Path | None = None) -> ImageSet:
    """Load the test images of a run.

    Raises:
        DataError: they cannot be loaded, or have another shape than those that the run was trained on.
    """
    config, image_shape = config_of(RunFolder(path))
    images = split(config, "test", root)
    if tuple(images.images.shape[1:]) != image_shape:
        raise DataError(f"{path} was trained on images of shape {image_shape}, those of {config.data.name} now differ")
    return images


def affordable_count(shape: ImageShape, count: int) -> int:
    """Return `count`, or fewer where images are large: at most `PIXEL_VALUES` pixel values, and at least 32 images."""
    return min(count, max(32, PIXEL_VALUES // math.prod(shape)))


def choose_shown(images: ImageSet, count: int, seed: int) -> ShownImages:
    """Choose test images at random, in the order of their labels."""
    rows = choose_rows(images.images, count, seed, "pictures")
    labels = None
    if images.labels is not None and images.labels.ndim == 1:
        rows = rows[images.labels[rows].argsort(stable=True)]
        labels = tuple(int(label) for label in images.labels[rows])
    return ShownImages(images.images[rows], labels, images.name)


def no_images(run: ExplorerRun) -> ShownImages:
    """Return an empty choice of test images."""
    return ShownImages(torch.empty(0, *run.image_shape, dtype=torch.uint8), None, run.data)


@torch.inference_mode()
def with_spread(run: ExplorerRun, images: Tensor) -> ExplorerRun:
    """Return the run with the spread of its codes over test images.

    Args:
        run: the run.
        images: `(N, C, H, W)`, uint8; the first `MEASURED_IMAGES` are encoded.
    """
    batches = images[: affordable_count(run.image_shape, MEASURED_IMAGES)].split(BATCH_SIZE)
    codes = torch.cat([apply(run.networks.encoder, to_unit(batch)) for batch in batches])
    furthest = float(torch.quantile(codes.abs().flatten()[: 1 << 24], 0.999))
    radius = min(LARGEST_RADIUS, max(SMALLEST_RADIUS, -(-furthest // 0.5) * 0.5))
    return replace(run, deviations=tuple(codes.std(0, correction=0).tolist()), radius=radius)
