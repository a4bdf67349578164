"""Remove the empty cache folder that torch's compiler leaves in the folder for temporary files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["removed_if_empty"]

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable for another folder. torch sets it too, when it creates the default one."""


@contextmanager
def removed_if_empty() -> Iterator[None]:
    """Remove torch's folder for compiled code after a `with` block, if nothing was compiled.

    Optimizers import torch's compiler, which creates `torchinductor_USER`. A folder that holds something, one that
    another process uses, and one that the user has named stay; the compiler creates a missing folder again.
    """
    named_by_user = VARIABLE in os.environ
    try:
        yield
    finally:
        if "torch" in sys.modules and not named_by_user:
            import tempfile

            with suppress(OSError):
                for folder in Path(tempfile.gettempdir()).glob("torchinductor_*"):
                    with suppress(OSError):  # it holds compiled code, or belongs to somebody else
                        folder.rmdir()
