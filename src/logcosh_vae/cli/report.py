"""Writing what `compare` and `reproduce` obtain: results as JSON, a table on the console, and a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .streams import result, say

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..experiments.results import ExperimentResults
    from ..reporting.html import Part
    from ..reporting.narrative import Narrative

NO_FEATURES = "FID not computed: it needs a general image network; pip install 'logcosh-vae[features]'"
"""What is said about results without a feature network."""


@dataclass
class Report:
    """A report that grows by one part per experiment.

    Attributes:
        title: title of the report; by default that of its only experiment.
        runs: folder of the run folders whose pictures and curves the report shows, for experiments without a picture
            of their own; None to leave them out.
    """

    title: str | None = None
    runs: Path | None = None
    _parts: list[Part] = field(default_factory=list)

    def add(
        self,
        results: ExperimentResults,
        narrative: Narrative,
        path: Path,
        picture: Path,
        draw: Callable[[], Image | None] | None = None,
        *,
        table: bool = True,
    ) -> None:
        """Write the results of an experiment, print them, and add them to the report.

        Args:
            results: what `run_experiment` returns.
            narrative: the sentences about them.
            path: JSON file to write.
            picture: PNG file to write, in the folder of the report.
            draw: draws the experiment's picture once the results are written; it may return None for no picture.
            table: whether to show the numbers in a table.
        """
        from ..base import image_grid
        from ..experiments.results import write_results
        from ..reporting.html import Part, png
        from .tables import print_table, results_table

        write_results(results, path)
        drawn = draw() if draw else None
        if drawn is not None:
            image_grid.save(drawn, picture)
        content, runs = (None, self.runs) if drawn is None else (png(drawn), None)
        self._parts.append(Part(results, narrative, content, runs, table, file=picture.name))
        if table:
            print_table(results_table(results))
        for sentence in narrative.findings(results) if results.rows else []:
            say(f"- {sentence}")
        say(f"results: {path}", *([] if drawn is None else [f"picture: {picture}"]))

    def write(self, path: Path) -> None:
        """Write the report to `path` (HTML) and, as Markdown, beside it; print their names, or the results as JSON."""
        from ..reporting.html import build, write_markdown

        page = build(self._parts, path, self.title)
        markdown = write_markdown(self._parts, path.with_suffix(".md"), self.title)
        document = {
            "experiments": [part.results for part in self._parts],
            "report": str(page),
            "markdown": str(markdown),
        }
        result(document, f"report: {page}", f"as Markdown: {markdown}")
