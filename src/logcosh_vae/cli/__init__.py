"""The command line: verbs that parse, call and print. Torch is imported inside them, so that help comes at once."""

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
