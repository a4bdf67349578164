"""Figures 1 to 9 of the paper as experiments: which runs each needs, and the function that draws it.

Runs with the same config are shared with the tables. Figures 10 and 11 are in `restoration`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from PIL import Image

from ..experiments.autoencoders import AutoencoderExperiment, Row
from ..experiments.results import ExperimentResults, RowResult
from ..reporting.narrative import NARRATIVE, Narrative
from ..reporting.tables import format_change, format_value
from ..training.config import TrainConfig
from .drawing import curvature, curvature_figure, curvature_rows, loss_curves, paper_pair, sheet
from .profiles import PROFILES
from .reported import reported
from .tables import configuration

A_VALUES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0)
"""Second derivatives at 0 at which figure 6c compares the losses: `a` for log-cosh, `2 lambda` for `lambda t^2`."""

MNIST_MODELS = ("vae-mlp", "vae-conv", "wae-mlp", "wae-conv")
CELEBA_MODELS = ("vae-conv", "wae-conv")
BOTH = ("l2", "log-cosh")

Draw = Callable[[ExperimentResults, Path, Path | None], Image.Image]
"""Draws a figure from the results, the folder that contains the run folders, and the data root."""

SILENT = replace(NARRATIVE, findings=lambda _: [])
"""The narrative of figures that are only looked at: a caption, but no findings."""


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        title: title in reports.
        rows: maps a profile to the rows to train; empty for a figure that needs no training.
        draw: draws the figure.
        narrative: generates the sentences about the results.
    """

    title: str
    rows: Callable[[str], tuple[Row, ...]]
    draw: Draw
    narrative: Narrative = SILENT


def _rows(data: str, models: tuple[str, ...], losses: tuple[str, ...]) -> Callable[[str], tuple[Row, ...]]:
    def rows(profile: str) -> tuple[Row, ...]:
        change = PROFILES[profile].autoencoder
        return tuple(
            Row(change(configuration(data, model, loss)), reported(data, model, loss))
            for model in models
            for loss in losses
        )

    return rows


def _sheet(title: str, kinds: tuple[str, ...], data: str, models: tuple[str, ...], losses: tuple[str, ...]) -> Figure:
    def draw(results: ExperimentResults, run_root: Path, data_root: Path | None) -> Image.Image:
        return sheet(results, run_root, data_root, kinds)

    return Figure(title, _rows(data, models, losses), draw)


def with_curvature(config: TrainConfig, curvature: float) -> TrainConfig:
    """Return the config with the given second derivative of its loss at 0: `a` or, for squared L2, `2 lambda`."""
    if config.objective.loss == "log-cosh":
        return replace(config, objective=replace(config.objective, a=curvature))
    return replace(config, objective=replace(config.objective, reconstruction_weight=curvature / 2.0))


def _curvature_rows(profile: str) -> tuple[Row, ...]:
    change = PROFILES[profile].autoencoder
    return tuple(
        Row(with_curvature(change(configuration("mnist", "vae-mlp", loss)), curvature))
        for curvature in A_VALUES
        for loss in ("l2", "log-cosh")
    )


def _fids(rows: list[RowResult]) -> list[float]:
    return [row.metrics["fid"].mean for row in rows]


def _trend(rows: list[RowResult]) -> str:
    """Say how FID changes over rows of increasing curvature."""
    fid = _fids(rows)
    first, last = rows[0], rows[-1]
    decreases = sum(after < before for before, after in pairwise(fid))
    lowest = rows[fid.index(min(fid))]
    change = format_change(100 * (fid[-1] / fid[0] - 1))
    return (
        f"FID from {format_value('fid', fid[0])} at curvature {curvature(first):g} to {format_value('fid', fid[-1])} "
        f"at {curvature(last):g} ({change}), lower at {decreases} of {len(fid) - 1} steps; "
        f"lowest {format_value('fid', min(fid))} at {curvature(lowest):g}"
    )


def _paper_claim(claim: str, holds: bool) -> str:
    return f"; the paper reports that {claim}, which {'holds' if holds else 'does not hold'} here"


def curvature_findings(results: ExperimentResults) -> list[str]:
    """Return the findings of figure 6, each beside what the paper reports.

    The paper reports that FID falls with curvature for log-cosh and gets worse for scaled squared L2.
    """
    by_loss = curvature_rows(results)
    final = {
        name: {loss: (row.test or {})[name].mean for loss, row in paper_pair(results).items()}
        for name in ("squared_l2", "kl")
    }
    error, kl = final["squared_l2"], final["kl"]
    change = {loss: fid[-1] - fid[0] for loss, rows in by_loss.items() if (fid := _fids(rows))}
    smaller = _paper_claim("it stays smaller when it is the training loss", error["log-cosh"] > error["l2"])
    kl_grows = format_change(100 * (kl["log-cosh"] / kl["l2"] - 1))
    return [
        f"(a) Squared L2 error on the test split at the end: {error['l2']:.1f} trained with squared L2, "
        f"{error['log-cosh']:.1f} with log-cosh{smaller}.",
        f"(b) KL divergence at the end: {kl['l2']:.1f} with squared L2, {kl['log-cosh']:.1f} with log-cosh "
        f"({kl_grows}); the paper reports that it does not increase much.",
        f"(c) log-cosh: {_trend(by_loss['log-cosh'])}"
        f"{_paper_claim('FID falls with curvature', change['log-cosh'] < 0)}.",
        f"(c) squared L2 scaled by lambda: {_trend(by_loss['l2'])}"
        f"{_paper_claim('FID gets worse with curvature', change['l2'] > 0)}.",
    ]


FIGURES: dict[str, Figure] = {
    "figure1": Figure("Figure 1: the log-cosh loss, L1 and squared L2", lambda _: (), loss_curves),
    "figure2": _sheet("Figure 2: random samples, MNIST", ("samples",), "mnist", MNIST_MODELS, BOTH),
    "figure3": _sheet("Figure 3: reconstructions, MNIST", ("reconstructions",), "mnist", MNIST_MODELS, BOTH),
    "figure4": _sheet("Figure 4: random samples, CelebA", ("samples",), "celeba", CELEBA_MODELS, BOTH),
    "figure5": _sheet("Figure 5: reconstructions, CelebA", ("reconstructions",), "celeba", CELEBA_MODELS, BOTH),
    "figure6": Figure(
        "Figure 6: what log-cosh optimises, and the effect of curvature",
        _curvature_rows,
        curvature_figure,
        replace(NARRATIVE, findings=curvature_findings),
    ),
    "figure7": _sheet(
        "Figure 7: samples and reconstructions with L1, MNIST",
        ("samples", "reconstructions"),
        "mnist",
        MNIST_MODELS,
        ("l1",),
    ),
    "figure8": _sheet(
        "Figure 8: samples and reconstructions with L1, CelebA",
        ("samples", "reconstructions"),
        "celeba",
        CELEBA_MODELS,
        ("l1",),
    ),
    "figure9": _sheet(
        "Figure 9: interpolation in the latent space", ("interpolation",), "mnist", ("vae-mlp", "vae-conv"), BOTH
    ),
}


def figure(name: str, profile: str) -> AutoencoderExperiment:
    """Return the runs that a figure needs, as an experiment at a profile (`paper`, `laptop` or `smoke`)."""
    scale = PROFILES[profile]
    rows = FIGURES[name].rows(profile)
    return AutoencoderExperiment(name, FIGURES[name].title, profile, rows, scale.evaluation, features=scale.features)
