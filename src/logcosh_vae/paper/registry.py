"""All tables and figures by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..experiments import Experiment
from ..presentation import findings
from .figures import FIGURES, figure
from .tables import TABLES, table

EXPERIMENTS = (*TABLES, *FIGURES)
"""What `reproduce NAME` knows."""


def experiment(name: str, profile: str) -> Experiment:
    """A table or figure of the paper at a profile."""
    return table(name, profile) if name in TABLES else figure(name, profile)


def picture(name: str, results: Mapping[str, Any], store: Path, root: Path | None = None) -> Image.Image | None:
    """The picture of a figure from its results; None for a table."""
    return FIGURES[name].draw(results, store, root) if name in FIGURES else None


def sentences(name: str, results: Mapping[str, Any]) -> list[str]:
    """What an experiment's results say."""
    return FIGURES[name].findings(results) if name in FIGURES else findings(results)
