"""Which pictures have been restored before: a result carries a mark that says what it was made from, and how.

The mark holds two digests, of the picture with the method and of the result itself. A result that was changed since
then does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.own_outputs import content_digest, mark_picture, own_output_in
from ..base.versions import RESTORATION
from ..data.image_file import open_image_file
from .network import RestorationNetwork
from .region import Box

VERSION = 5
"""Raised when the same picture and method give another file."""


def method_digest(
    network: RestorationNetwork,
    *,
    task: str,
    boxes: Sequence[Box] = (),
    mask: NDArray[np.bool_] | None = None,
    scale: float = 1.0,
    careful: bool = False,
) -> str:
    """Return hexadecimal digits that identify how `restore_picture` restores with these arguments."""
    digest = hashlib.sha256(repr((VERSION, RESTORATION, task, list(boxes), scale, careful)).encode())
    for name, weights in network.state_dict().items():
        digest.update(name.encode())
        digest.update(weights.cpu().contiguous().numpy().tobytes())
    if mask is not None:
        digest.update(repr(mask.shape).encode())
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()[:16]


def result_digest(source: Path, method: str, target: Path) -> str:
    """Return hexadecimal digits that identify a result: the picture, the method and the format.

    Empty if the picture cannot be read; reading it will give the reason.
    """
    digest = hashlib.sha256(f"{method} {target.suffix.lower()} ".encode("utf-8", "surrogateescape"))
    try:
        with open_image_file(source) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()[:16]


def mark_result(path: Path, digest: str = "") -> None:
    """Mark a complete file as a result with this digest of `result_digest`."""
    mark_picture(path, "restored", f"{digest}+{content_digest(path)}" if digest else "")


def is_finished(target: Path, digest: str) -> bool:
    """Return whether a file is the unchanged result with this digest."""
    found = own_output_in(target)
    if found is None or not found.startswith(f"restored={digest}+"):
        return False
    return found == f"restored={digest}+{content_digest(target)}"
