"""Errors whose message is written for the user: the command line prints it as one line and exits with `exit_code`.

A message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class UserError(Exception):
    """Base of all errors that a user sees as one line."""

    exit_code: ClassVar[int] = 1


class UsageError(UserError):
    """The command line was used in a way that cannot work."""

    exit_code = 2


class ConfigError(UserError, ValueError):
    """A configuration cannot be used; the message names the key and the accepted values."""

    exit_code = 2


class RegionError(UserError, ValueError):
    """The box or mask of a picture to restore cannot be used."""

    exit_code = 2


class DataError(UserError):
    """Images cannot be loaded or used; the message names the file."""


class DamagedJsonError(UserError, ValueError):
    """A file that should hold JSON does not; the message names it."""


class RunError(UserError):
    """A run folder, its weights or its features cannot be used as asked; the message names the path."""


class MissingFeaturesError(RunError):
    """There is no feature network for an image set yet; the message says how to get one."""


class TrainingError(UserError, RuntimeError):
    """Training cannot go on; the message says where it stopped and what to change."""


class MissingPackageError(UserError, ImportError):
    """An optional dependency is not installed; the message names it and the extra that brings it."""


class PeerError(UserError, RuntimeError):
    """Another program that a benchmark runs beside ours failed."""


class RenamedWarning(FutureWarning):
    """A former name was used, which still works; the message says what it is called now."""
