"""What the `config.json` of a pretrained model has beyond that of a run folder: a record, and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.errors import RecordError, RunError
from ..base.records import free, from_json, optional
from .weights_file import stated_digest

FORMAT = 2
"""Version of the files in a folder of a pretrained model; raised when older programs cannot read them."""

FORMATS = {"float32": 1, "float16": 1, "int8": 2}
"""The version that reads each precision; a folder says the one that it needs."""

KEY = "pretrained"
"""Key of the record in `config.json`. The other keys are those of a run folder."""

FORMER = "former"
"""Key of the content that `config.json` had before a save that has not finished; None if there was no such file."""


@dataclass(frozen=True)
class FeatureSource:
    """The features of an FID: name of the network, and a digest of its weights."""

    name: str
    fingerprint: str
    more: Mapping[str, Any] = free()


@dataclass(frozen=True)
class Measured:
    """What `evaluate` measured of a model.

    Attributes:
        metrics: by name, see `metrics.names`.
        generated: number of generated images for the FID.
        test: number of test images.
        features: the features of the FID; None without an FID.
        weights: digest of the weights that were measured, in single precision; empty if it is not known, and None in
            files of earlier versions.
    """

    metrics: Mapping[str, float]
    generated: int
    test: int
    features: FeatureSource | None = None
    weights: str | None = optional()


STATE = "state"
"""Key of a loaded model's `origin`: digest of its weights, which shows whether they are changed afterwards."""


@dataclass(frozen=True)
class PretrainedInfo:
    """What is known of a pretrained model besides the config of its training.

    Attributes:
        name: name of the model.
        weights: digest of the tensors in `model.safetensors`.
        format: version of the files, see `FORMATS`.
        precision: see `precision.PRECISIONS`.
        epochs: number of epochs that the weights were trained for, None if it is not known.
        license: licence of the weights, as the Hub abbreviates it.
        description: a paragraph for the card.
        measured: measurements of these weights, or of those before they were rounded.
        changed: true if the weights were changed after the training.
        more: keys of later versions.
    """

    name: str
    weights: str
    format: int = 1
    precision: str = "float32"
    epochs: int | None = None
    license: str | None = None
    description: str | None = None
    measured: Measured | None = None
    changed: bool | None = optional()
    more: Mapping[str, Any] = free()


def pretrained_info(folder: Path, config: Mapping[str, Any]) -> PretrainedInfo:
    """Return the record in the `config.json` of a folder.

    Raises:
        RunError: it is missing or damaged, or a later version has written it.
    """
    path, values = folder / "config.json", config.get(KEY)
    version = values.get("format") if isinstance(values, Mapping) else None
    if isinstance(version, int) and version > FORMAT:
        raise RunError(f"{path} has format {version}, which this version of logcosh-vae cannot read; update it")
    try:
        info = from_json(PretrainedInfo, values, KEY)
    except RecordError as error:
        raise RunError(f"{path} is damaged: {error}") from None
    if info.epochs is not None and info.epochs < 0:
        raise RunError(f"{path} is damaged: {KEY}.epochs must not be negative; got {info.epochs}")
    if info.measured is not None and info.measured.weights is None:  # of an earlier version, measured before rounding
        measured = replace(info.measured, weights=info.weights if info.precision == "float32" else "")
        info = replace(info, measured=measured)
    return info


def check_pretrained(folder: Path, config: Mapping[str, Any], digest: str) -> None:
    """Check that the weights in a folder are those that its `config.json` describes.

    Args:
        folder: the folder.
        config: content of its `config.json`.
        digest: of the weights that were read from it.

    Raises:
        RunError: the record is missing or damaged, or the weights are others.
    """
    if pretrained_info(folder, config).weights != digest:
        raise RunError(
            f"{folder / 'config.json'} describes other weights than those in the folder; save the model, or download "
            "it, again"
        )


def is_unfinished(config: Any) -> bool:
    """Whether the content of a `config.json` was written by a save that has not finished."""
    return isinstance(config, Mapping) and FORMER in config and KEY in config


def config_of_weights(path: Path, config: dict[str, Any], weights: Path) -> dict[str, Any]:
    """Return the content of `config.json` that belongs to the weights beside it.

    A save that replaces a model announces the new config before it replaces the weights, and keeps the former one. If
    it is killed, the digest of the weights tells which of the two is valid.

    Args:
        path: of `config.json`.
        config: its content.
        weights: file of the weights.

    Raises:
        RunError: a save was interrupted before it had written any weights.
    """
    if not is_unfinished(config):
        return config
    former, digest = config[FORMER], stated_digest(weights)
    record = config[KEY]
    if digest is not None and isinstance(record, Mapping) and record.get("weights") == digest:
        return {key: value for key, value in config.items() if key != FORMER}
    if isinstance(former, dict):
        return former
    raise RunError(f"{path.parent} holds a model that was not saved to the end; save it again")
