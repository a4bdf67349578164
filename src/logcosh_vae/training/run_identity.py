"""What decides whether a folder holds the same run: its config, and how configs of two runs are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
        advice: appended to the error about a folder with a different config.
    """

    config: Mapping[str, Any]
    may_grow: str | None = None
    renamed: Mapping[str, str] | None = None
    advice: str = ""

    def digest(self) -> str:
        """Return a digest of the config without the number that may grow."""
        return self._digest_without(self.may_grow)

    def identifier(self) -> str:
        """Return the identifier of a new run: a digest of what determines the weights, apart from the epochs."""
        return self._digest_without(self.may_grow, *WITHOUT_EFFECT)

    def _digest_without(self, *keys: str | None) -> str:
        fixed = {key: value for key, value in flatten(self.config).items() if key not in keys}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]

    def has_grown(self, saved: Mapping[str, Any]) -> bool:
        """Whether the number that may grow is larger than in a saved config."""
        former, current = (flatten(config).get(self.may_grow or "") for config in (saved, self.config))
        return isinstance(former, int) and isinstance(current, int) and current > former

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """Describe the first difference to a saved config, such as `seed (0, now 1)`; None if it is the same run."""
        renamed = self.renamed or {}
        former = {renamed.get(key, key): value for key, value in flatten(saved).items() if key != RUN_KEY}
        current = flatten(self.config)
        changed = {key for key in former.keys() | current.keys() if former.get(key) != current.get(key)}
        if self.has_grown(saved):
            changed.discard(self.may_grow or "")
        if not changed:
            return None
        key = min(changed)
        return f"{key} ({shown(former.get(key))}, now {shown(current.get(key))})"


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
