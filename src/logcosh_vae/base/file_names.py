"""Names of files that are derived from a user's names: short enough for the file system, and all different."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

MAX_NAME_BYTES = 255
"""Largest length of a file's name on common file systems."""

_DIGEST_DIGITS = 8
_SHORTEST_LIMIT = 64


def fitting_name(stem: str, ending: str, limit: int = MAX_NAME_BYTES) -> str:
    """Return `stem + ending`, with a shorter stem if the name would have more than `limit` bytes.

    A shortened stem ends in `~` and a digest of the whole one, so that names with a long common beginning stay
    different. Characters are never cut.

    Args:
        stem: from the user's name.
        ending: kept as it is; much shorter than `limit`.
        limit: see `longest_name`.

    Example:
        >>> fitting_name("photo", "-restored.jpg")
        'photo-restored.jpg'
        >>> fitting_name("x" * 300, ".png", limit=20)
        'xxxxxxx~0d4e2ca9.png'
    """
    if len(os.fsencode(stem + ending)) <= limit:
        return stem + ending
    digest = hashlib.sha256(os.fsencode(stem)).hexdigest()[:_DIGEST_DIGITS]
    while stem and len(os.fsencode(f"{stem}~{digest}{ending}")) > limit:
        stem = stem[:-1]
    return f"{stem}~{digest}{ending}"


def longest_name(folder: Path) -> int:
    """Return how many bytes the name of a file in `folder` may have; the folder may be missing yet."""
    for existing in (folder, *folder.parents):
        try:
            return max(_SHORTEST_LIMIT, min(MAX_NAME_BYTES, os.pathconf(existing, "PC_NAME_MAX")))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError):  # AttributeError on Windows
            break
    return MAX_NAME_BYTES
