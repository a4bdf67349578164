"""Configuration dataclasses: strict loading, dotted overrides such as `data.size=[64,64]`, renamed fields, digests."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import reprlib
import sys
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from .errors import ConfigError, RenamedWarning

# Why not pydantic: `logcosh_vae.load` reads a config in an installation of four packages, and pydantic 2.14 would add
# five (11 MB) and 0.5 s to an import that takes 0.15 s. Nearest-name hints, renamed keys and digests would remain ours.

T = TypeVar("T")


def validate_choice(key: str, value: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Return `value` if it is in `known`.

    Raises:
        ConfigError: it is not; the message names `key`, the nearest known name and all known names.
    """
    if value in known:
        return value
    near = difflib.get_close_matches(value, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ConfigError(f"{key}: unknown {value!r}{hint} Known: {', '.join(known)}")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values, nested dataclasses as dictionaries and tuples as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def renamed(former: str, **options: Any) -> Any:
    """Declare a dataclass field whose former name is still accepted as a key.

    `digest` uses the former name, so the digests of older runs stay valid.

    Args:
        former: the field's former name.
        **options: passed to `dataclasses.field`.
    """
    return dataclasses.field(metadata={"formerly": former}, **options)


def renamed_keys(cls: type[Any]) -> dict[str, str]:
    """Return the former dotted keys of a (nested) dataclass, each mapped to its current dotted key."""
    keys = {}
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if "formerly" in field.metadata:
            keys[field.metadata["formerly"]] = field.name
        if dataclasses.is_dataclass(hints[field.name]):
            inner = renamed_keys(hints[field.name])
            keys |= {f"{field.name}.{former}": f"{field.name}.{name}" for former, name in inner.items()}
    return keys


def digest(config: Any, *extra: str) -> str:
    """Return 12 hexadecimal digits that identify the content of a config.

    Fields that are None are skipped and renamed fields are listed under their former name, so adding or renaming an
    option does not change the digests of older runs.

    Args:
        config: a (nested) dataclass.
        *extra: anything else that determines the trained weights.
    """
    text = json.dumps([_digest_values(config), *extra], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _digest_values(config: Any) -> dict[str, Any]:
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values[field.metadata.get("formerly", field.name)] = _digest_values(value)
        elif value is not None:
            values[field.metadata.get("formerly", field.name)] = value
    return values


def from_dict(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Build a (nested) dataclass from plain values, as JSON holds them.

    Args:
        cls: the dataclass.
        values: its fields; fields that are absent keep their defaults.
        path: dotted prefix of the keys in error messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type; also if `values` is no mapping.

    Example:
        >>> from logcosh_vae.training.config import TrainConfig
        >>> from_dict(TrainConfig, {"epochs": 3}).epochs
        3
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path.rstrip('.') or 'the config'} must be settings by name; got {_bounded_repr(values)}")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    arguments = {}
    former = {field.metadata.get("formerly"): field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for given, value in values.items():
        key = former.get(given, given)
        validate_choice(f"config key in {path.rstrip('.') or 'the top level'}", key, names)
        arguments[key] = _convert(hints[key], value, f"{path}{key}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in arguments and not has_default:
            raise ConfigError(f"{path}{field.name} is missing")
    return cls(**arguments)


def _convert(kind: Any, value: Any, path: str) -> Any:
    """Convert `value` to the annotated type `kind`, or raise `ConfigError`.

    Supported are nested dataclasses, optional types, tuples of one type, and int, float, bool and str.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, Mapping):
            return from_dict(kind, value, f"{path}.")
    elif origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parts:
            return None
        return _convert(next(part for part in parts if part is not type(None)), value, path)
    elif origin is tuple:
        if isinstance(value, list | tuple) and (parts[-1] is Ellipsis or len(value) == len(parts)):
            return tuple(_convert(parts[0], item, path) for item in value)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            number = float(value)
            if not 0 < abs(number) < sys.float_info.min:  # smaller numbers count as 0 while training runs
                return number
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 2**63:  # nothing needs more, and it could not be converted to a float or a tensor
            raise ConfigError(f"{path} must be a number below 2^63; got {_bounded_repr(value)}")
        return value
    elif kind is str and isinstance(value, str):
        if not _can_be_name(value):
            raise ConfigError(f"{path} must be text that a file name can hold; got {_bounded_repr(value)}")
        return value
    elif isinstance(value, kind) and kind is not int:
        return value
    raise ConfigError(f"{path} must be {_type_name(kind)}; got {_bounded_repr(value)}")


def _can_be_name(text: str) -> bool:
    """Return whether the system can use a text in the name of a file, as JSON does not ensure."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def _bounded_repr(value: Any) -> str:
    """Return the text of a value for a message, cut where it is long, large or deeply nested."""
    bounded = reprlib.Repr()
    bounded.maxstring = bounded.maxother = bounded.maxlong = 100
    bounded.maxlist = bounded.maxdict = 10
    return bounded.repr(value)


def _type_name(kind: Any) -> str:
    """Return how an error message names the annotated type `kind`."""
    parts = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return "a list, e.g. [1, 2]" if parts[-1] is Ellipsis else f"a list of {len(parts)}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(kind, "a group of settings, written as key.part=value")


def _parse_value(key: str, text: str) -> Any:
    """Return the JSON value in a setting, or the text itself if it is not JSON.

    Raises:
        ConfigError: a number has thousands of digits, or lists are nested too deeply.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError):  # Python parses integers of up to 4300 digits
        raise ConfigError(f"{key} must be a value of reasonable size; got {len(text):,} characters") from None


def override(config: T, settings: Sequence[str]) -> T:
    """Return a copy of a config with `key.sub=value` settings applied.

    Args:
        config: a (nested) dataclass.
        settings: each one key and value; a value that is not JSON is taken as text.

    Raises:
        ConfigError: a setting has no `=`, its key is unknown or its value has the wrong type.

    Example:
        >>> from logcosh_vae.training.config import TrainConfig
        >>> override(TrainConfig(), ["optimizer.learning_rate=3e-4", "data.name=fashion-mnist"]).data.name
        'fashion-mnist'
    """
    values = to_dict(config)
    former = renamed_keys(type(config))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key.strip() in former:
            warnings.warn(f"{key.strip()} is now called {former[key.strip()]}", RenamedWarning, stacklevel=2)
            key = former[key.strip()]
        if not equals:
            raise ConfigError(f"setting {setting!r}: write it as key=value, e.g. optimizer.learning_rate=3e-4")
        node = values
        *parents, last = key.strip().split(".")
        for parent in parents:
            validate_choice(f"config key {key!r}", parent, node)
            if not isinstance(node[parent], dict):
                raise ConfigError(f"config key {key!r}: {parent!r} has no parts")
            node = node[parent]
        validate_choice(f"config key {key!r}", last, node)
        node[last] = _parse_value(key, text)
    return from_dict(type(config), values)
