"""All tables and figures by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..experiments.experiment import Experiment
from ..reporting.narrative import NARRATIVE, Narrative
from . import restoration
from .figures import FIGURES, Draw, figure
from .tables import TABLES, table


@dataclass(frozen=True)
class Declared:
    """What can be reproduced.

    Attributes:
        experiment: what is run, by profile.
        narrative: sentences about its results.
        draw: makes its picture, where it has one.
        table: whether its numbers are shown as a table.
        in_paper: whether it stands in the paper, and so belongs to `all`.
    """

    experiment: Callable[[str], Experiment[Any]]
    narrative: Narrative = NARRATIVE
    draw: Draw | None = None
    table: bool = True
    in_paper: bool = True


EXPERIMENTS: dict[str, Declared] = {
    **{name: Declared(partial(table, name)) for name in TABLES},
    **{name: Declared(partial(figure, name), each.narrative, each.draw, table=False) for name, each in FIGURES.items()},
    **{
        name: Declared(partial(restoration.experiment, name), each.narrative, each.draw, each.table, each.in_paper)
        for name, each in restoration.EXPERIMENTS.items()
    },
}
"""What `reproduce NAME` knows."""

ALL = [name for name, declared in EXPERIMENTS.items() if declared.in_paper]
"""What `reproduce all` runs."""
