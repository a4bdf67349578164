"""The corruptions that restoration networks learn to undo.

A corruption has a random strength in training and a fixed one in evaluation. Its images are in [0, 1] and quantized to
256 levels, as if they had been read from a file.

- `CORRUPTIONS`: the corruptions by task.
- `TRAINED_AS`: the corruptions that replace them in training with the setting `captions`.
- `HINTED`: those of networks that take a hint as well.
"""

from __future__ import annotations

from .base import Corruption
from .degradations import Blur, ImpulseNoise, Mosaic, Noise, Shrinking
from .overlays import AnyScript, Captions, Text

__all__ = ["CORRUPTIONS", "HINTED", "TRAINED_AS", "Corruption"]

CORRUPTIONS: dict[str, Corruption] = {
    corruption.task: corruption for corruption in (Text(), Noise(), ImpulseNoise(), Blur(), Mosaic(), Shrinking())
}
"""The corruptions by task, the name used in `--task`."""

TRAINED_AS: dict[str, Corruption] = {"text": Captions()}
"""The corruptions that replace those of `CORRUPTIONS` in training when the setting `captions` is true."""

HINTED: dict[str, Corruption] = {"text": AnyScript()}
"""The corruptions that replace those of `CORRUPTIONS` in training when the setting `hint` is true as well."""
