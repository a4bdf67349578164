"""The study of learned likelihoods: is the gain of log-cosh its shape or its weight, and can both be learned?

It goes beyond the paper, which sets `a` by hand and leaves the weight of the reconstruction loss at 1. Each loss is
trained at several weights, with a learned scale and, for log-cosh, with a learned shape as well. The best setting of a
grid is chosen on validation images, which are training images that all runs leave out; test images only report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..evaluation.evaluate import evaluation_for
from ..experiments.autoencoders import AutoencoderExperiment, Row
from ..training.config import DataConfig, ObjectiveConfig, TrainConfig
from .profiles import PROFILES
from .tables import configuration

PRIORS = ("gaussian", "mixture")


@dataclass(frozen=True)
class Study:
    """One image set and model of the study.

    Attributes:
        title: title in reports.
        data: the image set.
        model: family and network.
        train_images: number of training images; the following ones are for validation.
        validation_images: number of validation images.
        weights: weights of the reconstruction loss in the grid, `lambda` of Eq. 8; the paper's first.
        a_values: values of `a` in the grid of log-cosh; the paper's first.
        options: whether options of the KL divergence are compared as well.
        batch_size: number of images in a batch; None for the profile's.
    """

    title: str
    data: DataConfig
    model: str
    train_images: int
    validation_images: int
    weights: tuple[float, ...] = (1.0, 5.0, 15.0, 40.0)
    a_values: tuple[float, ...] = (100.0, 20.0)
    options: bool = False
    batch_size: int | None = None


STUDIES = {
    "likelihood": Study("Learned likelihoods on MNIST", DataConfig("mnist"), "vae-mlp", 50_000, 10_000, options=True),
    "likelihood-conv": Study(
        "Learned likelihoods on MNIST, convolutional network",
        DataConfig("mnist"),
        "vae-conv",
        50_000,
        10_000,
        (1.0, 15.0),
        (100.0,),
    ),
    "likelihood-faces": Study(
        "Learned likelihoods on CelebA", DataConfig("celeba"), "vae-conv", 5_600, 800, (1.0, 5.0, 20.0)
    ),
    "likelihood-patches": Study(
        "Learned likelihoods on patches of photographs",
        DataConfig("text-removal", size=(32, 32), tiles=True),
        "vae-conv",
        33_000,
        4_000,
        (1.0, 5.0, 20.0),
        batch_size=50,
    ),
}


def objectives(study: Study) -> list[ObjectiveConfig]:
    """Return the objectives of the study: the grid of each loss, the learned likelihoods, and options of the KL."""
    fixed = [ObjectiveConfig(loss, reconstruction_weight=weight) for loss in ("l2", "l1") for weight in study.weights]
    fixed += [ObjectiveConfig("log-cosh", a, weight) for a in study.a_values for weight in study.weights]
    learned = [ObjectiveConfig(loss, likelihood="scale") for loss in ("l2", "l1", "log-cosh")]
    best = ObjectiveConfig("log-cosh", likelihood="scale+shape")
    options = [replace(best, warmup=10.0), replace(best, free_bits=0.5)] if study.options else []
    return [*fixed, *learned, best, *options]


def experiment(name: str, profile: str) -> AutoencoderExperiment:
    """Return a study as an experiment at a profile."""
    study, scale = STUDIES[name], PROFILES[profile]
    base = configuration(study.data.name, study.model, "l2")
    if study.batch_size is not None:
        base = replace(base, batch_size=study.batch_size)

    def row(objective: ObjectiveConfig) -> Row:
        config: TrainConfig = replace(base, objective=objective, data=replace(study.data, limit=study.train_images))
        return Row(scale.autoencoder(config))

    count = min(scale.evaluation.fid_images, evaluation_for(study.data.name).fid_images)
    validation = None if profile == "smoke" else study.validation_images
    evaluation = replace(scale.evaluation, fid_images=count, priors=PRIORS, validation=validation)
    rows = tuple(map(row, objectives(study)))
    return AutoencoderExperiment(name, study.title, profile, rows, evaluation, features=scale.features)
