"""What it changes to train in bfloat16: the convolutional VAE on MNIST both ways, over seeds.

    python studies/bfloat16.py [--epochs 3] [--seeds 3] [--runs FOLDER] [--data-root FOLDER]      half an hour

Writes `results/bfloat16.json`. Runs that are there already go on, or are only measured. How much faster it is says
`logcosh-vae bench step`.
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
from logcosh_vae.paper.tables import LAPTOP_WIDTH
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.reporting.tables import format_value
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import ModelConfig, TrainConfig

ROOT = Path(__file__).resolve().parents[1]


def markdown(results: StudyResults) -> str:
    """The measures of runs that multiply in bfloat16 beside those in float32, seed by seed."""
    names = {"squared_l2": "squared L2 of test images", "sharpness_generated": "Sharpness, generated", "fid": "FID"}
    lines = ["| products | " + " | ".join(names.values()) + " |", "|---|" + "--:|" * len(names)]
    for row in results.rows:
        values = ([format_value(name, value) for value in row["metrics"][name]["values"]] for name in names)
        lines.append(f"| {row['products']} | " + " | ".join(", ".join(each) for each in values) + " |")
    width, epochs, seeds = (results.more[name] for name in ("width", "epochs", "seeds"))
    said = f"VAE (Conv, width {width:g}) on MNIST, {epochs} epochs, {len(seeds)} seeds. "
    return "\n".join(lines) + "\n\n" + said + provenance(results.environment, "1 thread")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "bfloat16")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    model = ModelConfig("vae", "conv", width=LAPTOP_WIDTH)
    rows: list[dict[str, Any]] = []
    for bfloat16 in (False, True):
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
        metrics = {name: {"values": known, "mean": statistics.fmean(known)} for name, known in measured.items()}
        rows.append({"products": "bfloat16" if bfloat16 else "float32", "metrics": metrics})
    result = StudyResults(
        experiment="bfloat16",
        rows=tuple(rows),
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
