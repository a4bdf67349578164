"""Figures 10 and 11, the further tasks that the paper names, and the choice of `a`, as experiments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..data import TEXT_REMOVAL
from ..reporting.narrative import Narrative
from ..reporting.restoration_narrative import NARRATIVE, a_choice_findings
from ..restoration.config import RestorationConfig
from ..restoration.corruptions import CORRUPTIONS
from ..restoration.experiment import RestorationExperiment
from .figures import SILENT, Draw
from .restoration_drawing import choice_figure, examples_figure, scatter_figure, tasks_figure
from .tables import LOSSES

A_VALUES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Values of `a` to choose from."""

Rows = tuple[RestorationConfig, ...]
Change = Callable[[RestorationConfig], RestorationConfig]


def _paper(config: RestorationConfig) -> RestorationConfig:
    """About the parameters of RED30 (4.1 million)."""
    widths = (64, 96, 128, 192)
    return replace(config, widths=widths, blocks=2, batch_size=32, epochs=100, steps=1000)


def _laptop(config: RestorationConfig) -> RestorationConfig:
    """Three tenths of the steps: an hour and a half on two cores for figure 10 with three seeds, or for the tasks."""
    return replace(config, epochs=max(1, round(0.3 * config.epochs)))


def _smoke(config: RestorationConfig) -> RestorationConfig:
    small = replace(config, widths=(8, 8), tile_size=64, crop_size=32, batch_size=2, targets=2, val_images=2)
    return replace(small, epochs=1, steps=4)


PROFILES: dict[str, tuple[Change, int | None]] = {
    "paper": (_paper, None),
    "laptop": (_laptop, None),
    "smoke": (_smoke, 96),
}
"""Change of every config, and the side of the part of each picture that is measured on."""


def _rows(*tasks: str) -> Rows:
    return tuple(RestorationConfig(TEXT_REMOVAL, task, loss) for task in tasks for loss in LOSSES)


def _short(rows: Rows) -> Rows:
    """Half of the steps, where there are many rows: their order does not wait for the last of them."""
    return tuple(replace(row, epochs=row.epochs // 2) for row in rows)


def _choice() -> Rows:
    default = RestorationConfig(TEXT_REMOVAL)
    values = tuple(replace(default, a=a) for a in A_VALUES)
    return (replace(default, loss="l2"), *values, replace(default, loss="l1"))


@dataclass(frozen=True)
class Declared:
    """An experiment of restoration; see `registry.Declared`."""

    title: str
    rows: Rows
    draw: Draw
    table: bool
    narrative: Narrative = NARRATIVE
    in_paper: bool = True


EXPERIMENTS: dict[str, Declared] = {
    "figure10": Declared("Figure 10: SSIM of restored pictures, text removal", _rows("text"), scatter_figure, True),
    "figure11": Declared(
        "Figure 11: restored pictures, text removal",
        _rows("text"),
        examples_figure,
        False,
        replace(NARRATIVE, findings=SILENT.findings),
    ),
    "restoration": Declared(
        "Restoration: the further tasks that the paper names",
        _short(_rows(*CORRUPTIONS)),
        tasks_figure,
        True,
        in_paper=False,
    ),
    "restoration-a": Declared(
        "Restoration: the choice of a",
        _short(_choice()),
        choice_figure,
        True,
        replace(NARRATIVE, findings=a_choice_findings),
        in_paper=False,
    ),
}


def experiment(name: str, profile: str) -> RestorationExperiment:
    """One of them at a profile."""
    change, side = PROFILES[profile]
    declared: Any = EXPERIMENTS[name]
    rows = tuple(change(row) for row in declared.rows)
    return RestorationExperiment(name, declared.title, profile, rows, "Figure 10", side)
