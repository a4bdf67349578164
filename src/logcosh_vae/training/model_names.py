"""Models by name: those that come with the package, and those in a folder of the user.

A model that comes with the package is a folder in `WEIGHTS_FOLDER`, written by `export.pretrained`.
The folders in `$LOGCOSH_VAE_MODELS` can be named in the same way.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

MODELS_VARIABLE = "LOGCOSH_VAE_MODELS"
"""Environment variable with a folder of further models. They take precedence over those of the package."""


def named_models() -> dict[str, Path]:
    """Return the folders of all models that have a name, in alphabetical order."""
    folders = [WEIGHTS_FOLDER]
    if own := os.environ.get(MODELS_VARIABLE):
        folders.append(Path(own))
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            found |= {each.name: each for each in folder.iterdir() if (each / "config.json").is_file()}
    return dict(sorted(found.items()))


def find_model(source: Path | str) -> Path:
    """Return the folder of a model.

    Args:
        source: path of a folder, which is preferred, or a name in `named_models`.

    Returns:
        The folder with that name, or `source` itself, which then may not exist.
    """
    path = Path(source)
    if os.path.lexists(path):
        return path
    return named_models().get(os.fspath(source), path)


def nearest_name(source: Path | str) -> str | None:
    """Return the name of a model that a mistyped name may stand for; None if there is none."""
    near = difflib.get_close_matches(os.fspath(source), list(named_models()), n=1)
    return near[0] if near else None


def comes_with_package(folder: Path) -> bool:
    """Return whether a folder is that of a model that comes with the package."""
    return folder.parent == WEIGHTS_FOLDER
