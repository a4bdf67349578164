"""Versions of what decides a result: one is raised when a change moves the numbers it stands for, and only then.

They are part of the name and the record of every run, so results of different numbers never mix, while moving or
reformatting code invalidates nothing. The golden tests (`tests/golden`) pin the numbers and ask for the version to be
raised when they move.
"""

from __future__ import annotations

TRAINING = 2
"""Losses, models, initial weights, random streams, optimizers, schedules, the loop: the weights of auto-encoders and
feature classifiers. 2: convolutional networks start by fan-in, with `beta1` = 0.5."""

EVALUATION = 1
"""Metrics, feature extraction, what is generated and chosen to be measured."""

RESTORATION = 1
"""Corruptions, text, the restoration network, its training and its measuring."""

DATA = 1
"""Decoding, cropping and resizing of pictures; how a set is split."""


def numerics() -> dict[str, int]:
    """All of them by name, as every result carries them."""
    return {"training": TRAINING, "evaluation": EVALUATION, "restoration": RESTORATION, "data": DATA}
