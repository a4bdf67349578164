"""Records of an evaluation: its settings, and the contents of `evaluation.json` in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.environment import Environment
from ..base.records import SCHEMA_VERSION, free, optional
from .latents import DensityStatistics


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation; the defaults are the paper's (Sec. 4.1).

    Attributes:
        sharpness_images: number of images that the sharpness is averaged over.
        fid_images: number of generated images for the FID. They are compared with the whole test split.
        seed: seed of the latent codes and of the choice of real images.
        features: a TorchScript file to take the features from, or a folder to search for classifiers first; see
            `load_extractor`.
        trust_features: whether to run a TorchScript file, which can read and write all files of the user.
        priors: where codes are drawn from besides the prior, `gaussian` or `mixture`; see `measure_priors`. None for
            the paper's measurements alone.
        validation: number of images to choose settings with: those that follow the first `data.limit` training images.
            None for none.
    """

    sharpness_images: int = 1_000
    fid_images: int = 10_000
    seed: int = 0
    features: str | None = None
    trust_features: bool | None = optional()
    priors: tuple[str, ...] | None = optional()
    validation: int | None = optional()


@dataclass(frozen=True)
class FeaturesInfo:
    """The features that an FID was computed with. Only FIDs with the same fingerprint can be compared.

    Attributes:
        name: name of the network.
        fingerprint: digest of its weights.
        test_accuracy: accuracy of a classifier on its test split, in [0, 1]; None for other networks.
        dimension: number of features; None in older results, which are still valid.
    """

    name: str
    fingerprint: str
    test_accuracy: float | None = None
    dimension: int | None = optional(compare=False)


@dataclass(frozen=True)
class RealImages:
    """The real images that generated images are compared with.

    Attributes:
        split: name of the split, `test`.
        count: number of its images.
        fingerprint: digest of the images.
    """

    split: str
    count: int
    fingerprint: str


@dataclass(frozen=True)
class RunEvaluation:
    """The evaluation of a finished run.

    Attributes:
        metrics: sharpness and FID by name, see `measure`.
        test: losses on the test split by name, see `Objective`.
        training_seconds: time of the training steps, in seconds.
        evaluation: the settings.
        real: the real images.
        version: version of the evaluation, see `base.versions`.
        environment: machine and software.
        seconds: time of the evaluation itself, in seconds.
        features: the features of the FID; None if there is no FID.
        device: type of the device that the evaluation ran on.
        weights: digest of the weights that were measured; older files have none.
        density: the model as a density; None in older files.
        schema_version: version of this layout.
        more: keys of the file that have no attribute.
    """

    metrics: Mapping[str, float]
    test: Mapping[str, float]
    training_seconds: float
    evaluation: EvaluationConfig
    real: RealImages
    version: int
    environment: Environment
    seconds: float
    features: FeaturesInfo | None = None
    device: str | None = optional()
    weights: str | None = optional()
    density: DensityStatistics | None = optional()
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()

    @property
    def fid_caveat(self) -> str:
        """See `fid_caveat`."""
        return fid_caveat(self.features, self.evaluation, self.real)

    @staticmethod
    def upgraded(values: dict[str, Any]) -> dict[str, Any]:
        """Convert the JSON of an older version to the current layout."""
        if values.get("schema_version", 1) < SCHEMA_VERSION:
            values["test"] = with_current_names(values.get("test", {}))
            values["schema_version"] = SCHEMA_VERSION
        return values


def fid_caveat(features: FeaturesInfo | None, evaluation: EvaluationConfig | None, real: RealImages | None) -> str:
    """Return a sentence on the bias of an FID of too few images; empty if there are enough, or the numbers are missing.

    The FID is biased upwards, by an amount that falls with the number of images and depends on the model (Chong and
    Forsyth, 2020). With fewer images than features, the covariance of the features is singular.
    """
    if features is None or evaluation is None or real is None or features.dimension is None:
        return ""
    if min(evaluation.fid_images, real.count) >= features.dimension:
        return ""
    return (
        f"The FID of {evaluation.fid_images:,} generated and {real.count:,} test images is strongly biased: there are "
        f"{features.dimension:,} features, and to judge by the FID, at least as many images of each kind are needed."
    )


def with_current_names(losses: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the minimised loss, which older files call `objective`, to `loss`."""
    return {"loss" if name == "objective" else name: value for name, value in losses.items()}


@dataclass(frozen=True)
class FidFloor:
    """Metrics of real images, to compare those of generated images with.

    Attributes:
        sharpness: mean sharpness of real test images.
        count: number of training images that took the place of generated images.
        fid: FID of these training images against the test split; None without features.
    """

    sharpness: float
    count: int
    fid: float | None = optional()
