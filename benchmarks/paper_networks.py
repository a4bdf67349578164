"""One epoch of the paper's convolutional networks, at full width, on a CPU: an excerpt of what a GPU is for.

    python benchmarks/paper_networks.py [--images 6000] [--data-root FOLDER]        an hour on two cores

Writes `results/conv-excerpt-paper.json`: for each image set and model, with log-cosh and all else as `reproduce
--profile paper` has it, the terms of the objective on test images along one epoch over the first images of the set.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from logcosh_vae import load
from logcosh_vae.autoencoders import train
from logcosh_vae.environment import describe
from logcosh_vae.files import write_json
from logcosh_vae.paper.tables import TABLES, configuration

ROOT = Path(__file__).resolve().parents[1]


def excerpt(data: str, model: str, images: int, data_root: Path | None) -> dict[str, Any]:
    """Train for one epoch and tell how the test error went."""
    config = configuration(data, model, "log-cosh")
    config = replace(config, epochs=1, data=replace(config.data, limit=images), log_every=10, threads=2)
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run", root=data_root)
        (record,) = run.metrics()
        parameters = sum(weight.numel() for weight in load(run.path).parameters())
    return {
        "data": data,
        "model": model,
        "images": images,
        "parameters": parameters,
        "seconds": record["seconds"],
        "tracked": record["tracked"],
        "validation": record["validation"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    rows = []
    pairs = {(table.data, model) for table in TABLES.values() for model in table.models if model.endswith("-conv")}
    for data, model in sorted(pairs):
        row = excerpt(data, model, arguments.images, arguments.data_root)
        first, last = row["tracked"][0], row["tracked"][-1]
        print(
            f"{data} {model}: {row['parameters'] / 1e6:.1f} million parameters, {row['seconds']:.0f} s; squared L2 "
            f"{first['squared_l2']:.1f} after {first['step']} steps, {last['squared_l2']:.1f} after {last['step']}",
            flush=True,
        )
        rows.append(row)
    result = {
        "experiment": "conv-excerpt",
        "profile": "paper",
        "rows": rows,
        "environment": describe(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(ROOT / "results" / "conv-excerpt-paper.json", result)


if __name__ == "__main__":
    main()
