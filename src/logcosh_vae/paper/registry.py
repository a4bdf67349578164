"""All tables and figures of the paper, and the further restoration experiments, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..experiments.experiment import Experiment
from ..reporting.narrative import NARRATIVE, Narrative
from . import likelihood, likelihood_figure, likelihood_report, restoration
from .figures import FIGURES, Draw, figure
from .tables import TABLES, table


@dataclass(frozen=True)
class ExperimentEntry:
    """An experiment that `logcosh-vae reproduce` can run.

    Attributes:
        experiment: maps a profile to the experiment to run.
        narrative: generates the sentences about its results.
        draw: draws its figure; None if it has no figure.
        table: whether reports show its metrics as a table.
        in_paper: whether the paper contains it; if so, `reproduce all` includes it.
    """

    experiment: Callable[[str], Experiment[Any]]
    narrative: Narrative = NARRATIVE
    draw: Draw | None = None
    table: bool = True
    in_paper: bool = True


EXPERIMENTS: dict[str, ExperimentEntry] = {
    **{name: ExperimentEntry(partial(table, name)) for name in TABLES},
    **{
        name: ExperimentEntry(partial(figure, name), entry.narrative, entry.draw, table=False)
        for name, entry in FIGURES.items()
    },
    **{
        name: ExperimentEntry(
            partial(restoration.experiment, name), entry.narrative, entry.draw, entry.table, entry.in_paper
        )
        for name, entry in restoration.EXPERIMENTS.items()
    },
    **{
        name: ExperimentEntry(
            partial(likelihood.experiment, name),
            likelihood_report.NARRATIVE_OF_STUDIES,
            likelihood_figure.draw,
            table=False,
            in_paper=False,
        )
        for name in likelihood.STUDIES
    },
}
"""Experiments by the name that `reproduce NAME` takes."""

ALL = [name for name, entry in EXPERIMENTS.items() if entry.in_paper]
"""Names of the experiments that `reproduce all` runs."""
