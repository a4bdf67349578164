"""What an evaluation leaves: `evaluation.json` of a run folder, and the records that results are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.environment import Environment
from ..base.records import SCHEMA_VERSION, free, optional


@dataclass(frozen=True)
class EvaluationConfig:
    """How a run is measured (paper, Sec. 4.1).

    Attributes:
        sharpness_images: random images that the sharpness is averaged over.
        fid_images: generated images; the real ones are the whole test split.
        seed: of the codes and of the choice of real images.
        features: a file to take the features from, or a folder of classifiers to look in first (`load_extractor`).
    """

    sharpness_images: int = 1_000
    fid_images: int = 10_000
    seed: int = 0
    features: str | None = None


@dataclass(frozen=True)
class FeaturesInfo:
    """The features that an FID is measured in; two FIDs are comparable only where the fingerprints are the same.

    Attributes:
        name: of the network; fingerprint: digest of its weights.
        test_accuracy: of a classifier on its test split; None for other networks.
    """

    name: str
    fingerprint: str
    test_accuracy: float | None = None


@dataclass(frozen=True)
class RealImages:
    """The real images that generated ones are compared with: a split, its number of images, their fingerprint."""

    split: str
    count: int
    fingerprint: str


@dataclass(frozen=True)
class RunEvaluation:
    """The measures of a finished run.

    Attributes:
        metrics: sharpness and FID by name.
        test: every loss on the test split by name, see `Objective`.
        training_seconds: seconds in training steps.
        evaluation: how it was measured; real: against which images; features: in which, None without an FID.
        version: of the evaluation, see `base.versions`.
        device: type of the device it was measured on.
        seconds: of the evaluation itself.
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
    schema_version: int = SCHEMA_VERSION
    more: Mapping[str, Any] = free()

    @staticmethod
    def upgraded(values: dict[str, Any]) -> dict[str, Any]:
        """The JSON of an older evaluation in the present layout."""
        if values.get("schema_version", 1) < SCHEMA_VERSION:
            values["test"] = with_present_names(values.get("test", {}))
            values["schema_version"] = SCHEMA_VERSION
        return values


def with_present_names(losses: Mapping[str, Any]) -> dict[str, Any]:
    """Losses by name; older files call the one that is minimised `objective`."""
    return {"loss" if name == "objective" else name: value for name, value in losses.items()}


@dataclass(frozen=True)
class FidFloor:
    """What a perfect generator would get: training images in place of generated ones.

    Attributes:
        sharpness: of real test images.
        count: of the training images.
        fid: of these against the test split; None without features.
    """

    sharpness: float
    count: int
    fid: float | None = optional()
