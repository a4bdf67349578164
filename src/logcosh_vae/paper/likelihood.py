"""The study of learned likelihoods: is the gain of log-cosh its shape or its weight, and can both be learned?

It goes beyond the paper, which sets `a` by hand and leaves the weight of the reconstruction loss at 1. Each loss is
trained at several weights, with a learned scale and, for log-cosh, with a learned shape as well. The best setting of a
grid is chosen on validation images, which are training images that all runs leave out; test images only report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..evaluation.records import EvaluationConfig
from ..experiments.autoencoders import AutoencoderExperiment, Row
from ..experiments.results import ExperimentResults, RowResult, Summary
from ..reporting.html import COLOURS
from ..reporting.narrative import NARRATIVE
from ..reporting.tables import LOSS_NAMES, format_value
from ..training.config import DataConfig, ObjectiveConfig, TrainConfig
from .drawing import figure_image, plot
from .profiles import PROFILES
from .tables import configuration

PRIORS = ("gaussian", "mixture")

LINE_COLOURS = dict(zip(("l2", "l1", "log-cosh"), COLOURS, strict=False))

SELECTION = "validation_fid_mixture"
"""Metric by which the best setting of a grid is chosen."""

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


@dataclass(frozen=True)
class Study:
    """One image set and model of the study.

    Attributes:
        title: title in reports.
        data: the image set.
        model: family and network.
        train_images: number of training images; the following ones are for validation.
        validation_images: number of validation images.
        weights: weights of the reconstruction loss in the grid, `lambda` of Eq. 8; the paper's first.
        a_values: values of `a` in the grid of log-cosh; the paper's first.
        options: whether options of the KL divergence are compared as well.
        batch_size: number of images in a batch; None for the profile's.
    """

    title: str
    data: DataConfig
    model: str
    train_images: int
    validation_images: int
    weights: tuple[float, ...] = (1.0, 5.0, 15.0, 40.0)
    a_values: tuple[float, ...] = (100.0, 20.0)
    options: bool = False
    batch_size: int | None = None


STUDIES = {
    "likelihood": Study("Learned likelihoods on MNIST", DataConfig("mnist"), "vae-mlp", 50_000, 10_000, options=True),
    "likelihood-conv": Study(
        "Learned likelihoods on MNIST, convolutional network",
        DataConfig("mnist"),
        "vae-conv",
        50_000,
        10_000,
        (1.0, 15.0),
        (100.0,),
    ),
    "likelihood-faces": Study(
        "Learned likelihoods on CelebA", DataConfig("celeba"), "vae-conv", 5_600, 800, (1.0, 5.0, 20.0)
    ),
    "likelihood-patches": Study(
        "Learned likelihoods on patches of photographs",
        DataConfig("text-removal", size=(32, 32), tiles=True),
        "vae-conv",
        33_000,
        4_000,
        (1.0, 5.0, 20.0),
        batch_size=50,
    ),
}


def objectives(study: Study) -> list[ObjectiveConfig]:
    """Return the objectives of the study: the grid of each loss, the learned likelihoods, and options of the KL."""
    fixed = [ObjectiveConfig(loss, reconstruction_weight=weight) for loss in ("l2", "l1") for weight in study.weights]
    fixed += [ObjectiveConfig("log-cosh", a, weight) for a in study.a_values for weight in study.weights]
    learned = [ObjectiveConfig(loss, likelihood="scale") for loss in ("l2", "l1", "log-cosh")]
    best = ObjectiveConfig("log-cosh", likelihood="scale+shape")
    options = [replace(best, warmup=10.0), replace(best, free_bits=0.5)] if study.options else []
    return [*fixed, *learned, best, *options]


def experiment(name: str, profile: str) -> AutoencoderExperiment:
    """Return a study as an experiment at a profile."""
    study, scale = STUDIES[name], PROFILES[profile]
    base = configuration(study.data.name, study.model, "l2")
    if study.batch_size is not None:
        base = replace(base, batch_size=study.batch_size)

    def row(objective: ObjectiveConfig) -> Row:
        config: TrainConfig = replace(base, objective=objective, data=replace(study.data, limit=study.train_images))
        return Row(scale.autoencoder(config))

    evaluation: EvaluationConfig = replace(
        scale.evaluation, priors=PRIORS, validation=None if profile == "smoke" else study.validation_images
    )
    rows = tuple(map(row, objectives(study)))
    return AutoencoderExperiment(name, study.title, profile, rows, evaluation, features=scale.features)


def setting_text(row: RowResult) -> str:
    """Return what is set or learned in a row: `a = 100, weight 5`, or `learned scale and shape, warm-up`."""
    objective = row.config["objective"]
    if objective.get("likelihood") is None:
        a = "" if row.a is None else f"a = {row.a:g}, "
        return f"{a}weight {row.weight:g}"
    text = f"learned {objective['likelihood'].replace('+', ' and ')}"
    if objective.get("warmup") is not None:
        text += f", warm-up of {objective['warmup']:g} epochs"
    if objective.get("free_bits") is not None:
        text += f", {objective['free_bits']:g} free nats per variable"
    return text


def is_learned(row: RowResult) -> bool:
    """Return whether a row learns its likelihood."""
    return row.config["objective"].get("likelihood") is not None


def _number(row: RowResult, name: str) -> Summary | None:
    """Return a number of a row by name, wherever it is kept; None if it was not measured."""
    for numbers in (row.metrics, row.test or {}, row.density or {}):
        if name in numbers:
            return numbers[name]
    return None


def chosen(rows: Sequence[RowResult]) -> RowResult | None:
    """Return the row of a grid with the smallest validation FID; None if there was no validation."""
    candidates = [(value.mean, index) for index, row in enumerate(rows) if (value := row.metrics.get(SELECTION))]
    return rows[min(candidates)[1]] if candidates else None


def grids(results: ExperimentResults) -> dict[str, list[RowResult]]:
    """Return the rows with set weights by loss."""
    losses = dict.fromkeys(row.loss for row in results.rows)
    return {loss: [row for row in results.rows if row.loss == loss and not is_learned(row)] for loss in losses}


def table(results: ExperimentResults) -> str:
    """Return the study's table in Markdown; the chosen setting of each grid is marked."""
    best = [chosen(rows) for rows in grids(results).values()]
    head = ["loss", "setting", *COLUMNS.values()]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * len(COLUMNS)]
    for row in results.rows:
        mark = " (chosen)" if any(row is each for each in best) else ""
        cells = [LOSS_NAMES[row.loss], setting_text(row) + mark]
        cells += [_cell(name, _number(row, name)) for name in COLUMNS]
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
    sentences = []
    by_loss = grids(results)
    paper = next((row for row in by_loss.get("log-cosh", []) if row.weight == 1.0), None)
    learned = [row for row in results.rows if is_learned(row) and row.config["objective"].get("warmup") is None]
    learned = [row for row in learned if row.config["objective"].get("free_bits") is None]
    both = next((row for row in learned if row.config["objective"]["likelihood"] == "scale+shape"), None)
    if paper is not None and both is not None:
        sentences.append(
            f"Learned scale and shape against the paper's setting: {_fid_text(both)} against {_fid_text(paper)}, "
            f"{_ratio(both, paper)} of it."
        )
    for loss, rows in by_loss.items():
        best = chosen(rows)
        scale = next((r for r in learned if r.loss == loss and r.config["objective"]["likelihood"] == "scale"), None)
        if best is None or scale is None:
            continue
        sentences.append(
            f"{LOSS_NAMES[loss]}: the best set by hand ({setting_text(best)}) has {_fid_text(best)}, a learned scale "
            f"{_fid_text(scale)}."
        )
    if both is not None and both.density is not None and "shape" in both.density:
        s, k = both.density["scale"].mean, both.density["shape"].mean
        sentences.append(f"Learned: s = {s:.2g} and k = {k:.2g}, which is a = {1 / s:.3g} and weight {k / s:.3g}.")
    return sentences


def _fid_text(row: RowResult) -> str:
    value = row.metrics["fid_mixture"]
    spread = "" if value.std is None else f" ± {format_value('fid', value.std, value.mean)}"
    return f"FID {format_value('fid', value.mean)}{spread}"


def _ratio(row: RowResult, other: RowResult) -> str:
    return f"{100 * row.metrics['fid_mixture'].mean / other.metrics['fid_mixture'].mean:.0f}%"


LIKELIHOOD_NARRATIVE = replace(NARRATIVE, findings=findings)


def draw(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:  # noqa: ARG001 - see Draw
    """Draw FID and the bound on the negative log-likelihood against the KL divergence, and FID against the weight.

    The last panel is the half that figure 6c of the paper leaves out, log-cosh over its weight.
    """
    figure, axes = plot(14.0, 4.8, (1, 1, 1))
    _draw_against_kl(axes[0], results, "fid_mixture")
    _draw_against_kl(axes[1], results, "elbo_per_dimension")
    _draw_against_weight(axes[2], results)
    titles = ("FID, mixture fitted to the codes", "negative ELBO per pixel, nats", "FID, samples from the prior")
    for each, title in zip(axes, titles, strict=True):
        each.set_title(title, fontsize=10)
    axes[0].set_yscale("log")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure_image(figure)


def _lines(results: ExperimentResults) -> list[tuple[list[RowResult], dict[str, Any]]]:
    """Return the rows of each grid in the order of their weights, with the style of their line."""
    lines: dict[tuple[str, float | None], list[RowResult]] = {}
    for row in results.rows:
        if not is_learned(row):
            lines.setdefault((row.loss, row.a), []).append(row)
    styled = []
    for (loss, a), rows in lines.items():
        name = LOSS_NAMES[loss] + ("" if a is None else f", a = {a:g}")
        label = f"{name}, weights {rows[0].weight:g} to {rows[-1].weight:g}"
        style = {"color": LINE_COLOURS[loss], "linestyle": "-" if a in (None, 100.0) else "--", "label": label}
        styled.append((sorted(rows, key=lambda row: row.weight), {**style, "marker": "o", "markersize": 4}))
    return styled


def _draw_against_kl(axes: Any, results: ExperimentResults, name: str) -> None:
    """Draw one number against the KL divergence: a line over the weights of each grid, symbols for what is learned."""
    for rows, style in _lines(results):
        axes.plot(*_points(rows, name), linewidth=1.4, **style)
    for row in filter(is_learned, results.rows):
        objective = row.config["objective"]
        plain = objective.get("warmup") is None and objective.get("free_bits") is None
        marker = "*" if objective["likelihood"] == "scale" else "P" if plain else "X"
        label = f"{LOSS_NAMES[row.loss]}, {setting_text(row)}"
        style = {"color": LINE_COLOURS[row.loss], "markersize": 10, "markeredgecolor": "black", "label": label}
        axes.plot(*_points([row], name), marker=marker, linestyle="none", **style)
    axes.set_xlabel("KL divergence on test images, nats")


def _draw_against_weight(axes: Any, results: ExperimentResults) -> None:
    """Draw the FID of samples from the prior against the weight."""
    for rows, style in _lines(results):
        axes.plot([row.weight for row in rows], [row.metrics["fid"].mean for row in rows], linewidth=1.4, **style)
    axes.set_xscale("log")
    axes.set_xlabel("weight of the reconstruction loss")


def _points(rows: Sequence[RowResult], name: str) -> tuple[list[float], list[float]]:
    pairs = [(_number(row, "kl"), _number(row, name)) for row in rows]
    known = [(kl.mean, value.mean) for kl, value in pairs if kl is not None and value is not None]
    return [kl for kl, _ in known], [value for _, value in known]
