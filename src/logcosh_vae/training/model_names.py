"""Models by name: those that come with the package, and those in a folder of the user.

A model that comes with the package is a folder in `WEIGHTS_FOLDER`, written by `export.pretrained`.
The folders in `$LOGCOSH_VAE_MODELS` can be named in the same way.
"""

from __future__ import annotations

import difflib
import os
import stat
from pathlib import Path

from ..base.errors import RunError

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

MODELS_VARIABLE = "LOGCOSH_VAE_MODELS"
"""Environment variable with a folder of further models. They take precedence over those of the package."""


def named_models() -> dict[str, Path]:
    """Return the folders of all models that have a name, in alphabetical order; also of those that cannot be read.

    Raises:
        RunError: the folder of the user exists and cannot be read.
    """
    folders = [WEIGHTS_FOLDER]
    if own := os.environ.get(MODELS_VARIABLE):
        folders.append(Path(own))
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            found |= {each.name: each for each in folder.iterdir() if _may_hold_model(each)}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise RunError(f"{folder}, the folder in ${MODELS_VARIABLE}, cannot be read: {error.strerror}") from None
    return dict(sorted(found.items()))


def _may_hold_model(folder: Path) -> bool:
    """Whether a folder holds `config.json`; true also if that is not known, so that the reason is named at its use."""
    try:
        return stat.S_ISREG((folder / "config.json").stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def find_model(source: Path | str) -> Path:
    """Return the folder of a model.

    Args:
        source: path of a folder, which is preferred, or a name in `named_models`.

    Returns:
        The folder with that name, or `source` itself, which then may not exist.
    """
    path = Path(source)
    named = named_models().get(os.fspath(source), path)
    if path.is_dir() and not _may_hold_model(path):  # a folder of another kind that happens to have the name
        return named
    return path if os.path.lexists(path) else named


def nearest_name(source: Path | str) -> str | None:
    """Return the name of a model that a mistyped name may stand for; None if there is none."""
    near = difflib.get_close_matches(os.fspath(source), list(named_models()), n=1)
    return near[0] if near else None


def comes_with_package(folder: Path) -> bool:
    """Return whether a folder is that of a model that comes with the package."""
    return folder.parent == WEIGHTS_FOLDER
