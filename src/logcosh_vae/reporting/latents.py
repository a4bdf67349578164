"""Likelihoods and latent spaces in reports: sentences on what was learned, and a table with a line per run.

Learned scales and shapes are shown with what they mean in the paper's terms, `a` and the weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..base.text import markdown
from ..experiments.results import ExperimentResults, RowResult
from ..losses import LOSSES, Likelihood, make_loss
from .labels import LOSS_NAMES, learned_text, loss_text, model_text
from .tables import CONTEXT_METRICS, DISTANCES, format_change, format_value, metric_headings, table_rows

COLUMNS = {
    "scale": "Scale s",
    "shape": "Shape k",
    "a": "a",
    "weight": "Weight",
    "nll_per_dimension": "NLL per pixel",
    "elbo_per_dimension": "Negative ELBO per pixel",
    "kl": "KL",
    "active_units": "Active",
}
"""Headings of the table's numbers."""

LEGEND = (
    "One line per run. s and k are scale and shape of the likelihood: learned or, for a fixed loss, those that it "
    "stands for. In the paper's terms, they are the weight of the reconstruction loss and, for log-cosh, a = 1/s. NLL: "
    "negative log-likelihood of a pixel of the test images given the code. The negative ELBO includes the KL "
    "divergence, and bounds the negative log-likelihood of the images. KL: sum over the latent variables. These three "
    "are in nats. Active: latent variables whose code varies over the test images."
)
"""Explanation of the table."""


def paper_terms(loss: str, learned: Mapping[str, float], reconstruction_weight: float = 1.0) -> dict[str, float]:
    """Return the fixed loss with the same gradient as a learned likelihood: `weight`, and `a` for log-cosh.

    Args:
        loss: name of the loss in the registry.
        learned: `scale`, and `shape` for log-cosh; other names are ignored.
        reconstruction_weight: factor on the negative log-likelihood; 1 for a VAE.

    Example:
        >>> {name: round(value, 3) for name, value in paper_terms("log-cosh", {"scale": 0.05, "shape": 0.5}).items()}
        {'a': 20.0, 'weight': 10.0}
    """
    kind = LOSSES[loss].likelihood
    if kind is None:
        return {}
    parameters: dict[str, Any] = {name: learned[name] for name in ("scale", "shape") if name in learned}
    terms = {name: float(value) for name, value in kind(**parameters).equivalent().items()}
    terms["weight"] = reconstruction_weight * terms.pop("reconstruction_weight")
    return terms


def terms_text(loss: str, learned: Mapping[str, float], reconstruction_weight: float) -> str:
    """Return `paper_terms` as text: `in the paper's terms a = 20 and weight 10`."""
    terms = paper_terms(loss, learned, reconstruction_weight)
    a = f"a = {terms['a']:.3g} and " if "a" in terms else ""
    return f"in the paper's terms {a}weight {terms['weight']:.3g}"


def learned_sentence(row: RowResult) -> str:
    """Return what a row learned, in the paper's terms, and how many latent variables it uses; means over seeds.

    It is empty for a fixed loss, and for results without these numbers.
    """
    if row.likelihood is None or row.density is None or "scale" not in row.density:
        return ""
    learned = {name: summary.mean for name, summary in row.density.items()}
    values = f"s = {learned['scale']:.3g}" + (f" and k = {learned['shape']:.3g}" if "shape" in learned else "")
    active = f"{learned['active_units']:.3g} of {row.config['model']['latent_size']}"
    return (
        f"{model_text(row.model)}, {loss_text(row.loss, likelihood=row.likelihood)}: {values}, "
        f"{terms_text(row.loss, learned, row.weight)}; {active} latent variables are active."
    )


def learned_findings(results: ExperimentResults, *, judges_fid: bool) -> list[str]:
    """Return what each row learned, and its FIDs beside those of the fixed setting of the same model and loss.

    Args:
        results: results of autoencoders.
        judges_fid: whether there are enough images to judge by the FID.
    """
    sentences = [sentence for row in results.rows if (sentence := learned_sentence(row))]
    fixed = {(row.model, row.loss): row for row in results.rows if row.likelihood is None}
    headings = metric_headings(table_rows(results), CONTEXT_METRICS) if results.rows and judges_fid else {}
    for row in results.rows:
        rival = fixed.get((row.model, row.loss))
        if row.likelihood is None or rival is None:
            continue
        fids = [_against(name, heading, row, rival) for name, heading in headings.items() if "fid" in name]
        if fids:
            setting = f"a = {rival.a:g}, weight {rival.weight:g}" if rival.a is not None else f"weight {rival.weight:g}"
            sentences.append(
                f"{model_text(row.model)}, {LOSS_NAMES[row.loss]}, {learned_text(row.likelihood)} against {setting}: "
                f"{'; '.join(fids)}."
            )
    return sentences


def _against(metric: str, heading: str, row: RowResult, rival: RowResult) -> str:
    """Return a metric of two rows with the change between them: `FID, prior 205 against 59.2 (+247%)`."""
    value, other = row.metrics[metric].mean, rival.metrics[metric].mean
    change = f" ({format_change(100 * (value / other - 1))})" if other else ""
    return f"{heading} {format_value(metric, value)} against {format_value(metric, other)}{change}"


def memorisation_findings(results: ExperimentResults) -> list[str]:
    """Return a sentence on how near samples are to training images, beside test images; empty if not measured."""
    rows = [row for row in results.rows if row.metrics.keys() >= DISTANCES]
    if not rows:
        return []
    samples = "; ".join(
        f"{format_value('nearest', row.metrics['nearest_generated'].mean)} for {model_text(row.model)}, "
        f"{loss_text(row.loss, row.a, row.likelihood)}"
        for row in rows
    )
    test = format_value("nearest", rows[0].metrics["nearest_test"].mean)
    return [
        "Mean distance of samples from the fitted density to the nearest training image, in root mean square error: "
        f"{samples}. That of test images is {test}; samples that were much nearer would be memorised."
    ]


class LatentTable(NamedTuple):
    """A table of text: the headings, and a line per run."""

    headings: list[str]
    lines: list[list[str]]


def latent_table(results: ExperimentResults) -> LatentTable | None:
    """Return likelihood and use of the latent space of each run; None for results without these numbers."""
    rows = [row for row in results.rows if row.density is not None]
    runs = [(row, seed, _values(row, index)) for row in rows for index, seed in enumerate(row.seeds)]
    shown = [name for name in COLUMNS if any(name in values for _, _, values in runs)]
    if not shown:
        return None
    lines = [
        [
            f"{model_text(row.model)}, {loss_text(row.loss, row.a, row.likelihood)}",
            str(seed),
            *(_text(name, values.get(name), row) for name in shown),
        ]
        for row, seed, values in runs
    ]
    return LatentTable(["Run", "Seed", *(COLUMNS[name] for name in shown)], lines)


def latent_markdown(table: LatentTable) -> str:
    """Return the table in Markdown, with its legend."""
    lines = [table.headings, ["---", "--:", *["--:"] * (len(table.headings) - 2)], *table.lines]
    text = [f"| {' | '.join(line if line is lines[1] else map(markdown, line))} |" for line in lines]
    return "\n".join([*text, "", markdown(LEGEND), ""])


def _values(row: RowResult, index: int) -> dict[str, float]:
    """Return the numbers of one run of a row, by the names of `COLUMNS`."""
    density, test = row.density or {}, row.test or {}
    values = {name: summary.values[index] for name, summary in density.items()}
    if "kl" in test:
        values["kl"] = test["kl"].values[index]
    if row.likelihood is not None and "scale" in values:
        return values | paper_terms(row.loss, values, row.weight)
    fixed: Likelihood | None = make_loss(row.loss, row.a).likelihood(row.weight) if row.loss in LOSSES else None
    values |= {"weight": row.weight} | ({} if row.a is None else {"a": row.a})
    return values | ({} if fixed is None else fixed.averages())


def _text(name: str, value: float | None, row: RowResult) -> str:
    if value is None:
        return ""
    if name == "active_units":
        return f"{value:.0f} of {row.config['model']['latent_size']}"
    text = f"{value:.3f}" if name.endswith("per_dimension") else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")
