"""Version numbers of the computations whose numerical results are recorded.

A version is raised when, and only when, a change alters the numbers it stands for. Versions are part of every run's
name and record: results computed in different ways are never mixed, and moving or reformatting code invalidates no
cached result. The golden tests (`tests/golden`) pin the numbers and fail until the version is raised.
"""

from __future__ import annotations

TRAINING = 2
"""Everything that determines the weights of autoencoders and feature classifiers: losses, models, initial weights,
random streams, optimizers, schedules and the training loop.

Version 2: the convolutional networks' last layer is initialised by its fan-in, and they train with `beta1` = 0.5.
"""

EVALUATION = 1
"""Metrics, feature extraction, and the choice of the images that are generated and measured."""

RESTORATION = 2
"""Corruptions, text rendering, the restoration network, its training and its evaluation.

Version 2: every training step has a seed of its own, so that several steps can be prepared at once.
"""

DATA = 1
"""Decoding, cropping and resizing of image files, and the split into training and test images."""


OF_AUTOENCODERS = ("training", "evaluation", "data")
OF_RESTORATION = ("restoration", "data")
"""Names of the versions that decide the numbers of an autoencoder, and of a restoration network."""


def numerics() -> dict[str, int]:
    """Return all versions by name, as they are recorded with every result."""
    return {"training": TRAINING, "evaluation": EVALUATION, "restoration": RESTORATION, "data": DATA}
