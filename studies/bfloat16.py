"""Does training in bfloat16 change the results? Trains the VAE (Conv) on MNIST both ways over several seeds.

    python studies/bfloat16.py [--epochs 3] [--seeds 3] [--runs FOLDER] [--data-root FOLDER]

Takes about 25 minutes on two cores. Writes `results/bfloat16.json`, which docs/speed.md shows. Runs that exist under
`--runs` are resumed, or only evaluated if they are finished. `logcosh-vae bench step` measures the speed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from logcosh_vae.base.environment import describe
from logcosh_vae.evaluation.evaluate import evaluate
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.paper.profiles import LAPTOP_WIDTH
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.reporting.tables import format_value
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import ModelConfig, TrainConfig

ROOT = Path(__file__).resolve().parents[1]


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown: the metrics of runs in float32 and in bfloat16, seed by seed."""
    names = {"squared_l2": "squared L2 of test images", "sharpness_generated": "Sharpness, generated", "fid": "FID"}
    lines = ["| products | " + " | ".join(names.values()) + " |", "|---|" + "--:|" * len(names)]
    for row in results.rows:
        values = ([format_value(name, value) for value in row["metrics"][name]["values"]] for name in names)
        lines.append(f"| {row['products']} | " + " | ".join(", ".join(each) for each in values) + " |")
    width, epochs, seeds = (results.more[name] for name in ("width", "epochs", "seeds"))
    setting = f"VAE (Conv, width {width:g}) on MNIST, {epochs} epochs, {len(seeds)} seeds. "
    return "\n".join(lines) + "\n\n" + setting + provenance(results.environment, "1 thread")


def metrics_over_seeds(arguments: argparse.Namespace, model: ModelConfig, *, bfloat16: bool) -> dict[str, Any]:
    """Train and evaluate one run per seed; returns the values and the mean of each metric."""
    measured: dict[str, list[float]] = {"squared_l2": [], "sharpness_generated": [], "fid": []}
    for seed in range(arguments.seeds):
        config = TrainConfig(model=model, epochs=arguments.epochs, seed=seed, bfloat16=bfloat16)
        path = arguments.runs / f"{'bfloat16' if bfloat16 else 'float32'}-{seed}"
        train(config, path, resume=path.exists(), root=arguments.data_root)
        evaluation = evaluate(path, root=arguments.data_root)
        values = {"squared_l2": evaluation.test["squared_l2"], **evaluation.metrics}
        print(path.name, values, flush=True)
        for name, known in measured.items():
            known.append(float(values[name]))
    return {name: {"values": known, "mean": statistics.fmean(known)} for name, known in measured.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "bfloat16")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    model = ModelConfig("vae", "conv", width=LAPTOP_WIDTH)
    rows = tuple(
        {"products": name, "metrics": metrics_over_seeds(arguments, model, bfloat16=name == "bfloat16")}
        for name in ("float32", "bfloat16")
    )
    result = StudyResults(
        experiment="bfloat16",
        rows=rows,
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        more={
            "model": "vae-conv",
            "width": model.width,
            "epochs": arguments.epochs,
            "seeds": list(range(arguments.seeds)),
        },
    )
    write_results(result, ROOT / "results" / "bfloat16.json")


if __name__ == "__main__":
    main()
