"""What decides whether a folder holds the same run: its config, and how configs of two runs are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

RUN_KEY = "run"
"""Key of the run's identifier: in `config.json`, in the lines of `metrics.jsonl` and in the metadata of the weights."""

WITHOUT_EFFECT = (
    *("train.log_every", "train.picture_every", "train.track_images", "train.val_images"),
    *("train.data.name", "train.data.strict"),
)
"""Settings that do not change the weights. The images count by their content, and not by where they lie."""


@dataclass(frozen=True)
class RunIdentity:
    """What decides whether a folder holds the same run.

    Attributes:
        config: everything that determines the weights, as JSON values; the content of `config.json`.
        may_grow: dotted key of a number that may be larger than in an existing folder, such as the epochs.
        renamed: maps former dotted keys of the config to present ones, so that older folders can be resumed.
        absent: values that stand for keys of the config which older folders lack.
        advice: appended to the error about a folder with a different config.
    """

    config: Mapping[str, Any]
    may_grow: str | None = None
    renamed: Mapping[str, str] | None = None
    absent: Mapping[str, Any] | None = None
    advice: str = ""

    def digest(self) -> str:
        """Return a digest of the config without the number that may grow; equal for 30 and 30.0."""
        return _digest({key: _plain(value) for key, value in self._without(self.may_grow).items()})

    def state_digests(self, saved: Mapping[str, Any] | None) -> tuple[str, ...]:
        """Return the digests that a state of this run may have.

        Earlier versions stored a digest of the config as it was written. It can differ from a digest of an equal
        config, in which 30 is written as 30.0 or a key has another name.

        Args:
            saved: the content of `config.json`, which has been found to be of this run; None if there is none.
        """
        config = {key: value for key, value in (saved or {}).items() if key != RUN_KEY}
        former = [_digest(each._without(each.may_grow)) for each in (self, replace(self, config=config))]
        return self.digest(), *former

    def identifier(self) -> str:
        """Return the identifier of a new run: a digest of what determines the weights, apart from the epochs."""
        return _digest(self._without(self.may_grow, *WITHOUT_EFFECT))

    def _without(self, *keys: str | None) -> dict[str, Any]:
        return {key: value for key, value in flatten(self.config).items() if key not in keys}

    def has_grown(self, saved: Mapping[str, Any]) -> bool:
        """Whether the number that may grow is larger than in a saved config."""
        former, current = (flatten(config).get(self.may_grow or "") for config in (saved, self.config))
        return isinstance(former, int) and isinstance(current, int) and current > former

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """Describe the first difference to a saved config, such as `seed (0, now 1)`; None if it is the same run."""
        renamed = self.renamed or {}
        former = {renamed.get(key, key): value for key, value in flatten(saved).items() if key != RUN_KEY}
        former = {**(self.absent or {}), **former}
        current = flatten(self.config)
        changed = {key for key in former.keys() | current.keys() if former.get(key) != current.get(key)}
        if self.has_grown(saved):
            changed.discard(self.may_grow or "")
        if not changed:
            return None
        key = min(changed, key=lambda key: (not key.startswith("train."), key))  # a setting before what follows from it
        return f"{key} ({shown(former.get(key))}, now {shown(current.get(key))})"


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a JSON value with floats that are whole numbers as integers."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shown(value: Any) -> str:
    """Return the text of a value for a message, of at most 60 characters."""
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one dict with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
