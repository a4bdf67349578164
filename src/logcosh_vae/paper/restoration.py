"""The restoration experiments: figures 10 and 11, the other tasks that the paper mentions, and the choice of `a`.

Figures 10 and 11 remove text from photographs (App. D). The experiment `restoration` trains every corruption in
`CORRUPTIONS`; `restoration-a` compares values of `a`, and `restoration-steps` trains longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..data import TEXT_REMOVAL
from ..reporting.narrative import Narrative
from ..reporting.restoration_narrative import NARRATIVE, a_choice_findings, steps_findings
from ..restoration.config import RestorationConfig
from ..restoration.corruptions import CORRUPTIONS
from ..restoration.experiment import RestorationExperiment
from .figures import SILENT, Draw
from .profiles import PROFILES
from .restoration_figures import choice_figure, examples_figure, scatter_figure, steps_figure, tasks_figure
from .tables import LOSSES

STEPS_A_VALUES = (10.0, 50.0, 200.0)
"""Values of `a` that the experiment `restoration-steps` compares."""

A_VALUES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Values of `a` that the experiment `restoration-a` compares."""

Rows = tuple[RestorationConfig, ...]


def _rows(*tasks: str) -> Rows:
    return tuple(RestorationConfig(TEXT_REMOVAL, task, loss) for task in tasks for loss in LOSSES)


def _half_epochs(rows: Rows) -> Rows:
    """Halve the epochs, for experiments with many rows; the ranking of the losses is settled by then."""
    return tuple(replace(row, epochs=row.epochs // 2) for row in rows)


def _a_sweep() -> Rows:
    """Text removal with squared L2, log-cosh at each of `A_VALUES`, and L1."""
    default = RestorationConfig(TEXT_REMOVAL)
    values = tuple(replace(default, a=a) for a in A_VALUES)
    return (replace(default, loss="l2"), *values, replace(default, loss="l1"))


def _longer() -> Rows:
    """Text removal with four times the steps: every loss, log-cosh at `STEPS_A_VALUES` and learned."""
    default = RestorationConfig(TEXT_REMOVAL)
    default = replace(default, epochs=4 * default.epochs)
    fixed = tuple(replace(default, a=a) for a in STEPS_A_VALUES)
    learned = tuple(replace(default, likelihood=likelihood) for likelihood in ("scale", "scale+shape"))
    return (replace(default, loss="l2"), replace(default, loss="l1"), *fixed, *learned)


@dataclass(frozen=True)
class RestorationEntry:
    """A restoration experiment. `registry.ExperimentEntry` describes the other fields.

    Attributes:
        title: title in reports.
        rows: configs to train, before the change that the profile makes.
    """

    title: str
    rows: Rows
    draw: Draw
    table: bool
    narrative: Narrative = NARRATIVE
    in_paper: bool = True


EXPERIMENTS: dict[str, RestorationEntry] = {
    "figure10": RestorationEntry(
        "Figure 10: SSIM of restored pictures, text removal", _rows("text"), scatter_figure, True
    ),
    "figure11": RestorationEntry(
        "Figure 11: restored pictures, text removal",
        _rows("text"),
        examples_figure,
        False,
        replace(NARRATIVE, findings=SILENT.findings),
    ),
    "restoration": RestorationEntry(
        "Restoration: the further tasks that the paper names",
        _half_epochs(_rows(*CORRUPTIONS)),
        tasks_figure,
        True,
        in_paper=False,
    ),
    "restoration-a": RestorationEntry(
        "Restoration: the choice of a",
        _half_epochs(_a_sweep()),
        choice_figure,
        True,
        replace(NARRATIVE, findings=a_choice_findings),
        in_paper=False,
    ),
    "restoration-steps": RestorationEntry(
        "Restoration: four times the steps",
        _longer(),
        steps_figure,
        True,
        replace(NARRATIVE, findings=steps_findings),
        in_paper=False,
    ),
}


def experiment(name: str, profile: str) -> RestorationExperiment:
    """Return an experiment of `EXPERIMENTS` at a profile (`paper`, `laptop` or `smoke`)."""
    scale = PROFILES[profile]
    entry = EXPERIMENTS[name]
    rows = tuple(scale.restoration(row) for row in entry.rows)
    return RestorationExperiment(name, entry.title, profile, rows, "Figure 10", scale.center_crop)
