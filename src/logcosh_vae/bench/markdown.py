"""Format benchmark results in Markdown for the pages of the documentation."""

from __future__ import annotations

from ..reporting.markdown import provenance
from ..reporting.tables import time_text
from .loss import MODULE, OURS
from .records import BenchResults


def times_table(results: BenchResults) -> str:
    """Return a table of each contender's time and its ratio to the contender named `against`."""
    lines = ["| | | median | times as long | quartiles |", "|---|---|--:|--:|---|"]
    for row in results.rows:
        for index, (name, seconds) in enumerate(row.seconds.items()):
            ratio = row.ratio.get(name)
            cells = [f"**{ratio.median:.2f}**", f"{ratio.low:.2f} to {ratio.high:.2f}"] if ratio else ["1", ""]
            first = "" if index else row.what
            lines.append(f"| {first} | {name} | {time_text(seconds.median)} | {' | '.join(cells)} |")
    threads = f"{results.threads} thread{'s' * (results.threads > 1)}, {results.rounds} rounds"
    return "\n".join(lines) + "\n\n" + provenance(results.environment, threads)


def losses_by_size(results: BenchResults) -> str:
    """Return a table of the time of each loss, forward and backward, relative to `mse_loss`, over the tensor size."""
    names = list(results.rows[0].ratio)
    lines = ["| elements | mse_loss | " + " | ".join(names) + " |", "|--:|--:|" + "--:|" * len(names)]
    for row in results.rows:
        cells = [f"{row.ratio[name].median:.2f}" for name in names]
        mse = time_text(row.seconds[row.against].median)
        lines.append(f"| {row.more['elements']:,} | {mse} | " + " | ".join(cells) + " |")
    return (
        "\n".join(lines)
        + "\n\nTimes `torch.nn.functional.mse_loss`, forward and backward; "
        + provenance(results.environment, f"{results.threads} thread, medians of {results.rounds} rounds")
    )


def before_and_after(before: BenchResults, results: BenchResults) -> str:
    """Return a table of log-cosh's time relative to `mse_loss`, before and after its overhead was reduced.

    Args:
        before: results of the commit before the change.
        results: present results of `bench loss`, with the same sizes.
    """
    others = [name for name in results.rows[0].ratio if name.startswith("log-cosh as in")]
    lines = ["| elements | log_cosh, before | log_cosh | LogCoshLoss | fastest published formula |"]
    lines += ["|--:|--:|--:|--:|--:|"]
    for old, new in zip(before.rows, results.rows, strict=True):
        ratio = {name: values.median for name, values in new.ratio.items()}
        values = [old.ratio[OURS].median, ratio[OURS], ratio[MODULE], min(ratio[name] for name in others)]
        lines.append(f"| {new.more['elements']:,} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines) + (
        "\n\nTimes `mse_loss`, forward and backward, on one machine; "
        f"before: commit {before.environment.commit}. "
        + provenance(results.environment, f"{results.threads} thread, medians of {results.rounds} rounds")
    )
