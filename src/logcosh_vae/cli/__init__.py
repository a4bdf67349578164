"""The command line: one module for each verb or group of verbs, which parses options, calls the library and prints.

`main.py` is the entry point, `options.py` holds the application and the options that verbs share, `experiments.py`
and `report.py` run experiments and write their reports, `pictures.py` writes image grids, `terminal.py` shows
progress and `tables.py` prints results. Functions import torch only when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import sys

from ..base.errors import MissingPackageError
from ..base.extras import require

try:
    require("the command logcosh-vae", "typer", "rich")
except MissingPackageError as error:
    _missing = f"error: {error}"

    def main() -> None:
        """Exit with one line that says what to install."""
        sys.exit(_missing)
else:
    from .main import main

__all__ = ["main"]
