"""What the studies of learned likelihoods report: the table and the findings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from ..experiments.results import ExperimentResults, RowResult, Summary
from ..reporting.narrative import NARRATIVE, Narrative
from ..reporting.tables import LOSS_NAMES, format_change, format_value
from .likelihood_rows import FID, StudyRows, chosen, interpolated, number, setting_text

COLUMNS = {
    "kl": "KL, nats",
    "elbo_per_dimension": "negative ELBO per pixel, nats",
    "fid": "prior",
    "fid_gaussian": "Gaussian",
    "fid_mixture": "mixture",
    "fid_codes": "codes",
    "fid_reconstructed": "reconstructions",
}
"""Columns of the study's table; the last five are FIDs by where the codes come from."""


def table(results: ExperimentResults) -> str:
    """Return the study's table in Markdown; the chosen setting of each grid is marked."""
    rows = StudyRows.of(results)
    best = [] if rows is None else [chosen(grid) for grid in rows.grids.values()]
    head = ["loss", "setting", *COLUMNS.values()]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * len(COLUMNS)]
    for row in results.rows:
        mark = " (chosen)" if any(row is each for each in best) else ""
        cells = [LOSS_NAMES[row.loss], setting_text(row) + mark]
        cells += [_cell(name, number(row, name)) for name in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, value: Summary | None) -> str:
    if value is None:
        return ""
    if name.startswith("fid"):
        text, spread = format_value("fid", value.mean), format_value("fid", value.std or 0.0, value.mean)
    else:
        digits = 1 if name == "kl" else 3
        text, spread = f"{value.mean:.{digits}f}", f"{value.std or 0.0:.{digits}f}"
    text = text.replace("-", "\N{MINUS SIGN}")
    return text if value.std is None else f"{text} ± {spread}"


def findings(results: ExperimentResults) -> list[str]:
    """Return sentences that answer the questions of the study."""
    rows = StudyRows.of(results)
    if rows is None:
        return ["The results lack the paper's setting or the learned one."]
    return [*_gain(rows), *_by_hand(rows), *_at_equal_kl(rows), *_learned(rows), *_failures(rows), *_options(rows)]


def _gain(rows: StudyRows) -> Iterable[str]:
    """Compare the learned setting with the paper's, and separate the parts of weight and shape."""
    yield (
        f"Nothing set by hand against the paper's setting, samples from the fitted mixture: {_fid(rows.shape)} against "
        f"{_fid(rows.paper)} ({_change(rows.paper, rows.shape)}; {_lower(rows.shape, rows.paper)})."
    )
    squared = [row for row in rows.grids.get("l2", []) if row.weight == 1.0]
    if squared and "l2" in rows.scale:
        weight, start = rows.scale["l2"], squared[0]
        yield (
            f"Squared L2 with weight 1 has {_fid(start)}. The right weight alone, a learned scale, changes it to "
            f"{_fid(weight)} ({_change(start, weight)}), the shape of log-cosh alone, at weight 1, to "
            f"{_fid(rows.paper)} ({_change(start, rows.paper)}), and both to {_fid(rows.shape)} "
            f"({_change(start, rows.shape)})."
        )


def _by_hand(rows: StudyRows) -> Iterable[str]:
    """Compare learned scales with the best setting of each grid."""
    for loss, grid in rows.grids.items():
        best, scale = chosen(grid), rows.scale.get(loss)
        if best is None or scale is None:
            continue
        text = f"{LOSS_NAMES[loss]}: the best set by hand ({setting_text(best)}) has {_fid(best)}"
        text += f", a learned scale {_fid(scale)} ({_change(best, scale)})"
        if loss == rows.shape.loss:
            text += f", learned scale and shape {_fid(rows.shape)} ({_change(best, rows.shape)})"
        yield text + "."


def _at_equal_kl(rows: StudyRows) -> Iterable[str]:
    """Compare the losses at equal KL divergence, that of each rival with a learned scale."""
    line = [row for row in rows.grids.get("log-cosh", []) if row.a == rows.paper.a]
    for loss, rival in rows.scale.items():
        kl = number(rival, "kl")
        if loss == "log-cosh" or kl is None:
            continue
        pairs = [
            (of_rival, of_log_cosh)
            for seed, (at, of_rival) in enumerate(zip(kl.values, rival.metrics[FID].values, strict=True))
            if (of_log_cosh := interpolated(line, at, seed)) is not None
        ]
        if pairs:
            means = [math.fsum(values) / len(pairs) for values in zip(*pairs, strict=True)]
            text = [format_value("fid", mean) for mean in means]
            lower = sum(of_log_cosh < of_rival for of_rival, of_log_cosh in pairs)
            yield (
                f"At equal KL divergence ({kl.mean:.1f} nats, that of {LOSS_NAMES[loss]} with a learned scale), "
                f"log-cosh with a = {rows.paper.a:g} has an FID of {text[1]}, interpolated over its weights, and "
                f"{LOSS_NAMES[loss]} one of {text[0]}: lower in {lower} of {len(pairs)} seeds."
            )


def _learned(rows: StudyRows) -> Iterable[str]:
    """Name the learned values, in the paper's terms as well."""
    density = rows.shape.density or {}
    if "shape" in density:
        s, k = density["scale"].mean, density["shape"].mean
        yield (
            f"Learned: scale {s:.2g} and shape {k:.2g}, which is a = {1 / s:.3g} and weight {k / s:.3g}. The "
            "hyperbolic secant distribution has the shape 1; Laplace is the limit 0."
        )


def _failures(rows: StudyRows) -> Iterable[str]:
    """Name the price of the learned setting, and check for memorised images."""
    yield (
        f"Samples from the prior, without a fitted density: {_fid(rows.shape, 'fid')} with learned scale and shape, "
        f"{_fid(rows.paper, 'fid')} with the paper's setting ({_change(rows.paper, rows.shape, 'fid')})."
    )
    near, test = (rows.shape.metrics.get(name) for name in ("nearest_generated", "nearest_test"))
    if near is not None and test is not None:
        yield (
            f"Samples from the mixture are {near.mean:.3f} from the nearest training image on average (root mean "
            f"square over pixels), test images {test.mean:.3f}."
        )


def _options(rows: StudyRows) -> Iterable[str]:
    """Compare the options of the KL divergence with the same setting without them."""
    for row in rows.options:
        kl, units = number(row, "kl"), number(row, "active_units")
        more = "" if kl is None else f", KL divergence {kl.mean:.1f} nats"
        more += "" if units is None else f", {units.mean:g} active units"
        yield f"{setting_text(row)}: {_fid(row)} ({_change(rows.shape, row)}){more}."


def _fid(row: RowResult, name: str = FID) -> str:
    value = row.metrics[name]
    spread = "" if value.std is None else f" ± {format_value('fid', value.std, value.mean)}"
    return f"FID {format_value('fid', value.mean)}{spread}"


def _change(before: RowResult, after: RowResult, name: str = FID) -> str:
    return format_change(100 * (after.metrics[name].mean / before.metrics[name].mean - 1))


def _lower(row: RowResult, other: RowResult) -> str:
    """Return in how many seeds a row has the lower FID."""
    pairs = list(zip(row.metrics[FID].values, other.metrics[FID].values, strict=True))
    return f"lower in {sum(mine < theirs for mine, theirs in pairs)} of {len(pairs)} seeds"


NARRATIVE_OF_STUDIES: Narrative = replace(NARRATIVE, findings=findings)
