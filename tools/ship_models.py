"""Make the models that come with the package: train them, measure them, and store them with 8 bits a weight.

    python tools/ship_models.py --runs FOLDER            all of `MODELS`: about half an hour on two cores
    python tools/ship_models.py --runs FOLDER NAME ...   some of them
    python tools/ship_models.py NAME=RUN ...             finished runs, under any name

Runs in FOLDER are continued or reused. Each model gets a density of its codes, and a card with its measurements.
`logcosh-vae models` lists the result, and `logcosh-vae sample NAME` uses it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from logcosh_vae.base.settings import from_dict
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.export.pretrained import load_pretrained, save_pretrained
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.model_names import WEIGHTS_FOLDER

MODELS: dict[str, tuple[Mapping[str, object], str]] = {
    "mnist-vae-l2": (
        {"objective": {"loss": "l2"}},
        "The paper's VAE with squared L2, for comparison with `mnist-vae-log-cosh`.",
    ),
    "mnist-vae-log-cosh": (
        {"objective": {"loss": "log-cosh", "a": 100.0}},
        "The paper's VAE with the log-cosh loss (table 1).",
    ),
    "mnist-wae-log-cosh": (
        {"model": {"family": "wae"}, "objective": {"loss": "log-cosh", "a": 100.0}},
        "The paper's WAE with the log-cosh loss (table 1).",
    ),
    "mnist-vae-learned": (
        {"objective": {"loss": "log-cosh", "likelihood": "scale+shape"}},
        "A VAE that learned scale and shape of its likelihood with its weights. Draw its codes from the mixture.",
    ),
}
"""The config of each model (values that are left out are the paper's) and the description on its card."""

PRIOR = "mixture"
LICENSE = "apache-2.0"
LARGEST_TOTAL = 6_000_000
"""Bytes that all models of the package should not exceed."""


def make_run(name: str, runs: Path, data_root: Path | None) -> Path:
    """Train a model of `MODELS`, or reuse its run; return its folder."""
    config = from_dict(TrainConfig, MODELS[name][0])
    return train(config, runs / name, resume=(runs / name).exists(), root=data_root).path


def ship(name: str, run: Path, target: Path, data_root: Path | None) -> int:
    """Store a run under a name, measured with a density of its codes; return the bytes of its files.

    A run that has been measured with this density is not measured again.
    """
    model = load_pretrained(run)
    measured = (model.origin or {})["pretrained"]["measured"]
    if measured is None or PRIOR not in model.densities:
        evaluate(run, EvaluationConfig(priors=(PRIOR,)), root=data_root)
        model = load_pretrained(run)
    model.densities = {PRIOR: model.densities[PRIOR]}
    description = MODELS[name][1] if name in MODELS else None
    folder = save_pretrained(
        model, target / name, precision="int8", overwrite=True, name=name, license=LICENSE, description=description
    )
    return sum(file.stat().st_size for file in folder.iterdir())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="NAME[=RUN]")
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--to", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--data-root", type=Path)
    options = parser.parse_args(arguments)
    for word in options.models or MODELS:
        name, equals, run = word.partition("=")
        if not equals and name not in MODELS:
            parser.error(f"unknown model {name}; known: {', '.join(MODELS)}; write NAME=RUN for a run of your own")
        path = Path(run) if equals else make_run(name, options.runs, options.data_root)
        size = ship(name, path, options.to, options.data_root)
        print(f"{name}: {size / 1e6:.2f} MB from {path}", flush=True)
    total = sum(file.stat().st_size for file in options.to.rglob("*") if file.is_file())
    print(f"{options.to}: {total / 1e6:.2f} MB{' (more than 6 MB)' if total > LARGEST_TOTAL else ''}")


if __name__ == "__main__":
    main()
