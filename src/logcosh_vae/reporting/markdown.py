"""Results in Markdown for the pages of the documentation: tables, sentences and provenance.

Each function returns Markdown that ends with a newline, except `fid_change`.
"""

from __future__ import annotations

from ..base.environment import Environment
from ..experiments.results import ExperimentResults
from .narrative import NARRATIVE, Narrative, epochs_text, seeds_text
from .tables import duration, format_change, format_value, markdown_table, table_rows


def table(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """Return the table of an experiment and a paragraph on how it was obtained."""
    return markdown_table(results) + "\n" + narrative.provenance(results)


def sentences(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """Return the findings as a list, one sentence per item."""
    return "".join(f"- {sentence}\n" for sentence in narrative.findings(results))


def table_and_sentences(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """Return the table, the paragraph on how it was obtained, and the findings."""
    return table(results, narrative) + "\n" + sentences(results, narrative)


def sentences_and_provenance(results: ExperimentResults, narrative: Narrative = NARRATIVE) -> str:
    """Return the findings of a figure and a paragraph on how it was obtained."""
    return sentences(results, narrative) + "\n" + narrative.provenance(results)


def losses_table(results: ExperimentResults) -> str:
    """The losses of each row on the test split: squared L2 error and latent divergence."""
    lines = ["| model | loss | squared L2 of test images | KL or MMD |", "|---|---|--:|--:|"]
    for row, shown in zip(results.rows, table_rows(results), strict=True):
        test = row.test or {}
        divergence = test["kl"] if "kl" in test else test["mmd"]
        values = f"{test['squared_l2'].mean:.0f} | {divergence.mean:.3g}"
        lines.append(f"| {shown.model_text} | {shown.loss_text} | {values} |")
    threads = f"{epochs_text(results)}, {seeds_text(results)}"
    return "\n".join(lines) + f"\n\nProfile `{results.profile}`, {provenance(results.environment, threads)}"


def wall_time(results: ExperimentResults) -> str:
    """Return a sentence on the wall time of a command."""
    environment = results.environment
    return (
        f"{results.runs.total} runs with one seed each, {results.workers} at the same time and no other load on the "
        f"{environment.cores} cores ({environment.machine}): {duration(results.seconds)} of wall time, "
        f"including evaluation and report; commit {environment.commit}.\n"
    )


def provenance(environment: Environment, threads: str) -> str:
    """Return machine, threads and commit of a measurement.

    Args:
        environment: machine and commit.
        threads: the threads in words, such as `1 thread`.
    """
    return f"{environment.machine}, {threads}; commit {environment.commit}.\n"


def fid_change(before: float, after: float) -> str:
    """Return two FIDs and the change between them in percent.

    Example:
        >>> fid_change(200.0, 65.0)
        '200 to 65.0 (−68%)'
    """
    change = format_change(100 * (after / before - 1))
    return f"{format_value('fid', before)} to {format_value('fid', after)} ({change})"
