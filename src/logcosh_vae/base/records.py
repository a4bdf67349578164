"""Records: typed, frozen, versioned JSON files, read and written by one pair of functions.

A record is a frozen dataclass whose fields are numbers, strings, booleans, None, tuples, mappings and other records.
`schema_version` says how a file is laid out. A class whose files have changed defines `upgraded(values)`, which brings
the JSON of an older version to the present layout, so that every file ever written can be read.

Fields may carry metadata:

- `optional()`: None by default, and left out of the file then;
- `renamed("former")`: the key had another name in older files;
- `free()`: a mapping that takes every key the class does not name, and stands flat in the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from .errors import RecordError
from .files import JSON_BYTES, read_json, write_json

SCHEMA_VERSION = 2
"""1: plain dictionaries, without a version in the file; 2: records."""

R = TypeVar("R")


def optional(*, compare: bool = True) -> Any:
    """A field that is None by default and left out of the file then; `compare` as in `dataclasses.field`."""
    return dataclasses.field(default=None, compare=compare, metadata={"optional": True})


def renamed(former: str, *, is_optional: bool = False, **options: Any) -> Any:
    """A field that older files call `former`."""
    if is_optional:
        options["default"] = None
    return dataclasses.field(metadata={"formerly": former, "optional": is_optional}, **options)


def free() -> Any:
    """A mapping of all keys that the class does not name."""
    return dataclasses.field(default_factory=dict, metadata={"free": True})


def to_json(value: Any) -> Any:
    """A record, or anything made of records, as plain JSON values.

    Raises:
        RecordError: a number is not finite.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Point:
        ...     x: float
        ...     label: str | None = optional()
        >>> to_json([Point(1.5)])
        [{'x': 1.5}]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if field.metadata.get("free"):
                values |= {key: to_json(extra) for key, extra in item.items()}
            elif item is not None or not field.metadata.get("optional"):
                values[field.name] = to_json(item)
        return values
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"a result is {value}; results must be finite")
    return value


def from_json(cls: type[R], values: Any, path: str = "") -> R:
    """Build a record from JSON values of this or an older layout.

    Args:
        cls: the record's class.
        values: the JSON object.
        path: where it stands, for messages.

    Raises:
        RecordError: a key is missing, unknown, or holds something else than it should; the message names it.
    """
    if not isinstance(values, Mapping):
        raise RecordError(f"{path or 'the record'} must be an object; got {_shown(values)}")
    upgrade = getattr(cls, "upgraded", None)
    if upgrade is not None:
        try:
            values = upgrade(dict(values))
        except (TypeError, AttributeError, KeyError) as error:
            raise RecordError(f"{path or 'the record'} is not laid out as it should be ({error})") from None
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    former = {field.metadata["formerly"]: name for name, field in fields.items() if "formerly" in field.metadata}
    free_field = next((name for name, field in fields.items() if field.metadata.get("free")), None)
    arguments: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for given, value in values.items():
        name = former.get(given, given)
        if name in fields and name != free_field:
            arguments[name] = _convert(hints[name], value, f"{path}.{name}".lstrip("."))
        elif free_field is not None:
            extra[given] = value
        else:
            raise RecordError(f"unknown key {given!r} in {path or cls.__name__}")
    if free_field is not None:
        arguments[free_field] = extra
    missing = [name for name, field in fields.items() if name not in arguments and not _has_default(field)]
    if missing:
        raise RecordError(f"{path or cls.__name__} lacks {', '.join(missing)}")
    return cls(**arguments)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _convert(kind: Any, value: Any, path: str) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parts:
            return None
        return _convert(next(part for part in parts if part is not type(None)), value, path)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_json(kind, value, path)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(parts[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {key: _convert(parts[1], item, f"{path}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # also for NaN, and for integers that no float holds
            raise RecordError(f"{path} must be finite; got {_shown(value)}")
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise RecordError(f"{path} must be {getattr(kind, '__name__', kind)}; got {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_record(cls: type[R], path: Path, *, sealed: bool = False) -> R:
    """Read a record from a JSON file of any layout.

    Args:
        cls: the record's class.
        path: the file.
        sealed: accept only an unchanged file that `write_record` sealed, and no link to one.

    Raises:
        RecordError, DamagedJsonError: the file is not such a record; the message names the file and the key.
        OSError: it cannot be read.
    """
    values = read_json(path, JSON_BYTES, follow=not sealed)
    if sealed and (not isinstance(values, dict) or values.pop(SEAL, None) != seal(values)):
        raise RecordError(f"{path} is damaged: it does not match its digest")
    try:
        return from_json(cls, values)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None


def write_record(record: Any, path: Path, *, sealed: bool = False) -> None:
    """Write a record as readable JSON in one step; nothing is written where a number is not finite.

    Args:
        record: the record.
        path: the file.
        sealed: add a digest of all values, so that a later change of the file is noticed.
    """
    values = to_json(record)
    write_json(path, {**values, SEAL: seal(values)} if sealed else values)


SEAL = "digest"
"""Key of the digest in sealed JSON objects."""


def seal(values: Mapping[str, Any]) -> str:
    """Return a digest of JSON values, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
