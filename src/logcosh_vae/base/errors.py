"""Errors whose messages are written for the user.

The command line prints the message as one line and exits with `exit_code`. A message says what is wrong, where, and
what to do about it. A message that names an option of the command can name the argument of the function after it; the
command line leaves that out (`for_shell`).
"""

from __future__ import annotations

from typing import ClassVar

OVERWRITE_IN_PYTHON = " (in Python overwrite=True)"
"""Follows `--overwrite` in messages of functions that can also be called from Python."""


class UserError(Exception):
    """Base class of all errors that a user sees as one line."""

    exit_code: ClassVar[int] = 1


class UsageError(UserError):
    """The command line has missing, unknown or contradictory arguments."""

    exit_code = 2


class ConfigError(UserError, ValueError):
    """A configuration is invalid; the message names the key and the accepted values."""

    exit_code = 2


class RegionError(UserError, ValueError):
    """The box or mask of a picture to restore is invalid."""

    exit_code = 2


class DataError(UserError):
    """Images cannot be loaded; the message names the file or data set."""


class DamagedJsonError(UserError, ValueError):
    """A file that should hold JSON holds something else; the message names it."""


class RecordError(UserError, ValueError):
    """A results file does not hold what it should; the message names the file and the key."""


class RunError(UserError):
    """A run folder, its weights or its features cannot be used; the message names the path."""


class ImageValuesError(RunError):
    """A network computes images that are not finite or not in [0, 1]; the message names its weights where known."""


class MissingFeaturesError(RunError):
    """No feature network has been trained for an image set; the message says how to train one."""


class TrainingError(UserError, RuntimeError):
    """Training cannot continue; the message says where it stopped and what to change."""


class MissingPackageError(UserError, ImportError):
    """An optional dependency is not installed; the message names it and the extra that brings it."""


class PeerError(UserError, RuntimeError):
    """Another project's program, which a benchmark compares with this one, failed."""


class RenamedWarning(FutureWarning):
    """A former name was used; it still works, and the message gives the current name."""


def for_shell(error: UserError) -> str:
    """Return the message of an error without what only helps a caller in Python."""
    return str(error).replace(OVERWRITE_IN_PYTHON, "")
