"""Why is the FID on CelebA in the laptop profile what it is? Separates its causes and varies the settings.

    python studies/celeba_study.py [--runs runs] [--data-root FOLDER]

Trains the runs that are missing under `--runs`, about ten minutes each on one core; evaluating them takes about 20
minutes more. Writes `results/celeba-study-laptop.json`, which docs/results.md shows.

All runs have the same networks and the same 24 epochs. The VAE is trained with several batch sizes and learning rates,
and the WAE with values of `a` beyond the paper's; `profile` marks the settings of the laptop profile. For each run it
measures the FID of

- samples: codes from the prior, as in table 2;
- samples from a Gaussian with the mean and covariance of the codes of training images: removes most of the mismatch
  between prior and codes;
- samples from the codes of training images: removes that mismatch altogether;
- reconstructions of the test images.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from fid_study import ROOT, code_moments, from_posterior, statistics
from torch import Tensor

from logcosh_vae import VAE, WAE, load
from logcosh_vae.base.environment import describe
from logcosh_vae.base.settings import to_dict
from logcosh_vae.data import ImageSet, load_images
from logcosh_vae.data.batches import to_unit
from logcosh_vae.evaluation.evaluate import generate, reconstruct
from logcosh_vae.evaluation.features import Extractor, load_extractor
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.metrics.frechet import FeatureStatistics, frechet_distance
from logcosh_vae.paper.profiles import PROFILES
from logcosh_vae.paper.tables import configuration
from logcosh_vae.reporting.markdown import fid_change
from logcosh_vae.reporting.tables import LOSS_NAMES, format_change, format_value
from logcosh_vae.training.autoencoder import fingerprints, run_name, train
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.loop import make_generator, use_threads

SETTINGS = ((100, 1e-3), (25, 1e-3), (25, 3e-3), (25, 8e-3))
"""Batch sizes and learning rates of the VAE."""

A_VALUES = (2.5, 10.0, 100.0)
"""Values of `a` for the WAE; the first is the paper's."""


def in_profile(model: str, loss: str) -> TrainConfig:
    """Return the config of the laptop profile."""
    return PROFILES["laptop"].autoencoder(configuration("celeba", model, loss))


def in_setting(loss: str, batch_size: int, rate: float) -> TrainConfig:
    """Return the VAE's config of the laptop profile with another batch size and learning rate."""
    config = in_profile("vae-conv", loss)
    return replace(config, batch_size=batch_size, optimizer=replace(config.optimizer, learning_rate=rate))


def with_a(a: float) -> TrainConfig:
    """Return the WAE's config of the laptop profile with log-cosh and another `a`."""
    config = in_profile("wae-conv", "log-cosh")
    return replace(config, objective=replace(config.objective, a=a))


def configs() -> list[TrainConfig]:
    """Return the configs of all runs of the study."""
    vae = [in_setting(loss, *setting) for setting in SETTINGS for loss in ("l2", "log-cosh")]
    return [resolve(config) for config in (*vae, in_profile("wae-conv", "l2"), *map(with_a, A_VALUES))]


@torch.inference_mode()
def from_gaussian(model: VAE | WAE, images: ImageSet, count: int) -> Tensor:
    """Decode `count` draws from a Gaussian fitted to the codes of a set of images."""
    noise = make_generator(0, "codes")
    codes = torch.cat([model(to_unit(part), noise).z for part in images.images.split(1_000)])
    own = FeatureStatistics.of(codes)
    factor = torch.linalg.cholesky(own.covariance.double())
    draws = torch.randn(count, codes.shape[1], generator=make_generator(0, "gaussian")).double()
    return torch.cat([model.decode(z) for z in (own.mean.double() + draws @ factor.T).float().split(500)])


def markdown_of_batches(results: StudyResults) -> str:
    """Return a table in Markdown: the FIDs of the VAE by batch size and learning rate."""
    rows = [row for row in results.rows if row["model"] == "vae-conv"]
    kinds = list(rows[0]["fid"])
    lines = ["| batch, learning rate | " + " | ".join(kinds) + " |", "|---|" + "--:|" * len(kinds)]
    for l2, log_cosh in pairwise(rows):
        if (l2["loss"], log_cosh["loss"]) == ("l2", "log-cosh"):
            cells = [fid_change(l2["fid"][kind], log_cosh["fid"][kind]) for kind in kinds]
            mark = ", the profile's" if l2["profile"] else ""
            lines.append(f"| {l2['batch_size']}, {l2['learning_rate']:g}{mark} | " + " | ".join(cells) + " |")
    best = [min(row["fid"]["samples"] for row in rows if row["loss"] == loss) for loss in ("l2", "log-cosh")]
    return "\n".join(lines) + f"\n\nEach loss with its best setting: FID of samples {fid_change(*best)}.\n"


def markdown_by_a(results: StudyResults) -> str:
    """Return a table in Markdown: the FIDs of the WAE by loss and `a`."""
    rows = [row for row in results.rows if row["model"] == "wae-conv"]
    kinds = list(rows[0]["fid"])
    lines = ["| loss | " + " | ".join(kinds) + " |", "|---|" + "--:|" * len(kinds)]
    for row in rows:
        name = LOSS_NAMES[row["loss"]] + ("" if row["a"] is None else f", a = {row['a']:g}")
        cells = [format_value("fid", row["fid"][kind]) for kind in kinds]
        if row is not rows[0]:
            changes = (100 * (row["fid"][kind] / rows[0]["fid"][kind] - 1) for kind in kinds)
            cells = [f"{cell} ({format_change(change)})" for cell, change in zip(cells, changes, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measured(
    config: TrainConfig, arguments: argparse.Namespace, train_set: ImageSet, test_set: ImageSet, extractor: Extractor
) -> dict[str, Any]:
    """Train a run, or read it if it is finished, and return its row of the results."""
    path = arguments.runs / run_name(config, fingerprints(config, arguments.data_root))
    records = train(config, path, resume=True, root=arguments.data_root).metrics()
    model, real, count = load(path), to_unit(test_set.images), len(train_set.images)
    real_statistics = statistics(extractor.features, real)
    sets = {
        "samples": generate(model, count, 0),
        "samples from a Gaussian fitted to codes": from_gaussian(model, train_set, count),
        "samples from codes of images": from_posterior(model, train_set, count),
        "reconstructions": reconstruct(model, real),
    }
    fid = {
        kind: frechet_distance(statistics(extractor.features, images), real_statistics) for kind, images in sets.items()
    }
    return {
        "model": config.model_name,
        "batch_size": config.batch_size,
        "learning_rate": config.optimizer.learning_rate,
        "loss": config.objective.loss,
        "a": config.objective.a,
        "profile": config == resolve(in_profile(config.model_name, config.objective.loss)),
        "fid": fid,
        "codes": code_moments(model, test_set),
        "absolute_residual": float((sets["reconstructions"] - real).abs().mean()),
        "validation": records[-1]["validation"],
        "training_seconds": sum(record["seconds"] for record in records),
        "config": to_dict(config),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    use_threads(1)
    train_set, test_set = (load_images("celeba", split, root=arguments.data_root) for split in ("train", "test"))
    extractor = load_extractor("celeba", (3, 64, 64), arguments.data_root)
    assert extractor is not None
    rows: list[dict[str, Any]] = []
    for config in configs():
        row = measured(config, arguments, train_set, test_set, extractor)
        rows.append(row)
        print({key: row[key] for key in ("model", "batch_size", "learning_rate", "loss", "a", "fid")}, flush=True)
    result = StudyResults(
        experiment="celeba-study",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        profile="laptop",
        more={"features": extractor.describe()},
    )
    write_results(result, ROOT / "results" / "celeba-study-laptop.json")


if __name__ == "__main__":
    main()
