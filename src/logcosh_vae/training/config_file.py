"""Training configurations in files: the `config.json` of a run, or JSON or TOML with the same keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError
from ..base.files import CONFIG_BYTES, one_line, parse_json, read_regular
from ..base.settings import from_dict, to_dict
from .config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, as_trained, resolve

TOML_BYTES = 1 << 14
"""Largest TOML file that is read, in bytes. Python's parser takes time and memory in the square of a key's parts."""


def read_config(path: Path) -> TrainConfig:
    """Read the configuration of an autoencoder's training.

    Args:
        path: `config.json` of a run or of a pretrained model, or a file with the fields of `TrainConfig`: TOML if its
            name ends in `.toml`, else JSON. Fields that are left out keep their defaults.

    Returns:
        The configuration, not resolved.

    Raises:
        ConfigError: the file cannot be read, or a value is invalid; the message names the file and the key.
    """
    is_toml = path.suffix.lower() == ".toml"
    try:
        text = read_regular(path, TOML_BYTES if is_toml else CONFIG_BYTES, follow=True).decode("utf-8")
        values = tomllib.loads(text) if is_toml else parse_json(text, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or one_line(error)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML ({one_line(error)})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must contain settings by name, as the config.json of a run does")
    if values.get("kind", "auto-encoder") != "auto-encoder":
        raise ConfigError(f"{path} is not the config of an autoencoder; its kind is {str(values['kind'])!r:.60}")
    try:
        if "train" in values:
            return as_trained(from_dict(TrainConfig, values["train"]))
        return from_dict(TrainConfig, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def without_defaults(config: TrainConfig) -> TrainConfig:
    """Return a configuration in which values that `resolve` would fill in are not set.

    After the image set, the model or the loss is changed, `resolve` fills in those that belong to the new one.

    Example:
        >>> without_defaults(resolve(TrainConfig(epochs=7))).objective.a is None
        True
    """
    names = TrainConfig(
        DataConfig(config.data.name),
        ModelConfig(config.model.family, config.model.network),
        ObjectiveConfig(config.objective.loss, likelihood=config.objective.likelihood),
        device=config.device,
        compiled=config.compiled,
    )
    return from_dict(TrainConfig, _unset(to_dict(config), to_dict(resolve(names)), to_dict(TrainConfig())))


def _unset(values: Any, filled: Any, empty: Any) -> Any:
    """Replace leaves that are None in `empty`, and in `values` as in `filled`, by None."""
    if isinstance(values, dict) and isinstance(filled, dict):
        return {key: _unset(value, filled[key], empty[key]) for key, value in values.items()}
    return None if empty is None and values == filled else values
