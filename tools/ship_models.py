"""Make the models that come with the package: train them, measure them, and store them with 8 bits a weight.

    python tools/ship_models.py --runs FOLDER            all of `MODELS`: about half an hour on two cores
    python tools/ship_models.py --runs FOLDER NAME ...   some of them
    python tools/ship_models.py NAME=RUN ...             finished runs, under any name

Runs in FOLDER are continued or reused. Each model gets a density of its codes, and a card with its measurements.
`logcosh-vae models` lists the result, and `logcosh-vae sample NAME` uses it. `results/shipped-models.json`, which
docs/models.md shows, compares the stored models with those in single precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logcosh_vae.base.environment import describe
from logcosh_vae.base.records import to_json
from logcosh_vae.base.settings import from_dict
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.export.pretrained import load_pretrained, measured_by, save_pretrained
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.reporting.tables import format_value
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.model_names import WEIGHTS_FOLDER
from logcosh_vae.training.pretrained_config import KEY
from logcosh_vae.training.weights_file import digest_of_model

ROOT = Path(__file__).resolve().parents[1]

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
PRECISION = "int8"
LICENSE = "apache-2.0"
LARGEST_TOTAL = 6_000_000
"""Bytes that all models of the package should not exceed."""


def make_run(name: str, runs: Path, data_root: Path | None) -> Path:
    """Train a model of `MODELS`, or reuse its run; return its folder."""
    config = from_dict(TrainConfig, MODELS[name][0])
    return train(config, runs / name, resume=(runs / name).exists(), root=data_root).path


def ship(name: str, run: Path, target: Path, data_root: Path | None) -> dict[str, Any]:
    """Store a run under a name, with a density of its codes, and measure what was stored; return a row of results.

    A run that has been measured with this density is not measured again.
    """
    model = load_pretrained(run)
    measured = (model.origin or {})["pretrained"]["measured"]
    if measured is None or PRIOR not in model.densities:
        evaluate(run, EvaluationConfig(priors=(PRIOR,)), root=data_root)
        model = load_pretrained(run)
    model.densities = {PRIOR: model.densities[PRIOR]}
    origin = model.origin or {}
    described = {"name": name, "source": name, "license": LICENSE}
    if name in MODELS:
        described["description"] = MODELS[name][1]
    folder = save_pretrained(model, target / name, precision=PRECISION, overwrite=True, **described)
    stored = evaluate(folder, EvaluationConfig(priors=(PRIOR,)), root=data_root)
    single = origin[KEY]["measured"]["metrics"]
    origin[KEY] |= {"measured": to_json(measured_by(to_json(stored), digest_of_model(load_pretrained(folder))))}
    save_pretrained(model, folder, precision=PRECISION, overwrite=True, **described)
    return {
        "model": name,
        "bytes": size_of(folder),
        "float32": single,
        PRECISION: stored.metrics,
        "config": origin["train"],
    }


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def markdown(results: StudyResults) -> str:
    """Return a table of the shipped models in Markdown."""
    lines = [
        "| name | size | sharpness, generated | FID | FID, codes from the mixture | in single precision |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in results.rows:
        stored, before = row[PRECISION], row["float32"]
        names = ("sharpness_generated", "fid", "fid_mixture")
        values = " | ".join(format_value(name, stored[name]) for name in names)
        single = " and ".join(format_value(name, before[name]) for name in names[1:])
        lines.append(f"| `{row['model']}` | {row['bytes'] / 1e6:.2f} MB | {values} | {single} |")
    total = sum(row["bytes"] for row in results.rows)
    return (
        "\n".join(lines)
        + f"\n\n{total / 1e6:.2f} MB together. Profile `paper`, seed 0; the FIDs in the last column are "
        f"those before rounding. {provenance(results.environment, '1 thread')}\n"
    )


def sample_command(results: StudyResults) -> str:
    """Return the command that draws from a model of the package, in Markdown."""
    names = [row["model"] for row in results.rows]
    name = "mnist-vae-log-cosh" if "mnist-vae-log-cosh" in names else names[0]
    compared = [each for each in ("mnist-vae-l2", "mnist-vae-learned") if each in names] or [name]
    return f"""\
Trained models come with the package, so this works right after the install:

```sh
logcosh-vae sample {name} -o digits.png
logcosh-vae explore {" ".join(compared)} -o explore.html   # to open in a browser; needs MNIST, and downloads it
```
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="NAME[=RUN]")
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--to", type=Path, default=WEIGHTS_FOLDER)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parser.parse_args(arguments)
    rows = []
    for word in options.models or MODELS:
        name, equals, run = word.partition("=")
        if not equals and name not in MODELS:
            parser.error(f"unknown model {name}; known: {', '.join(MODELS)}; write NAME=RUN for a run of your own")
        path = Path(run) if equals else make_run(name, options.runs, options.data_root)
        rows.append(ship(name, path, options.to, options.data_root))
        print(f"{name}: {rows[-1]['bytes'] / 1e6:.2f} MB from {path}", flush=True)
    total = size_of(options.to)
    print(f"{options.to}: {total / 1e6:.2f} MB{' (more than 6 MB)' if total > LARGEST_TOTAL else ''}")
    if set(MODELS) <= {row["model"] for row in rows}:
        results = StudyResults("shipped-models", tuple(rows), describe(), profile="paper")
        write_results(results, options.results / "shipped-models.json")


if __name__ == "__main__":
    main()
