"""Results in Markdown, for pages of the documentation: tables, sentences, and where numbers come from."""

from __future__ import annotations

from ..base.environment import Environment
from ..experiments.results import ExperimentResults
from .narrative import NARRATIVE, Narrative
from .tables import duration, format_change, format_value, markdown_table


def table(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """The table of an experiment, and a paragraph on how it was made."""
    return markdown_table(results) + "\n" + narrative.provenance(results)


def sentences(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """What the results say, a bullet a sentence."""
    return "".join(f"- {sentence}\n" for sentence in narrative.findings(results))


def table_and_sentences(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """The table with its paragraph, then the sentences."""
    return table(results, narrative) + "\n" + sentences(results, narrative)


def sentences_and_provenance(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """For a figure: what it says, and how it was made."""
    return sentences(results, narrative) + "\n" + narrative.provenance(results)


def wall_time(results: ExperimentResults) -> str:
    """How long a whole command took."""
    environment = results.environment
    return (
        f"{results.runs.total} runs of one seed, {results.workers} at a time and nothing else on the "
        f"{environment.cores} cores ({environment.machine}): {duration(results.seconds)} of wall time, "
        f"measuring and report included; commit {environment.commit}.\n"
    )


def provenance(environment: Environment, threads: str) -> str:
    """Machine, threads and commit of a measurement."""
    return f"{environment.machine}, {threads}; commit {environment.commit}.\n"


def fid_change(before: float, after: float) -> str:
    """Two FIDs and the change between them in percent."""
    change = format_change(100 * (after / before - 1))
    return f"{format_value('fid', before)} to {format_value('fid', after)} ({change})"
