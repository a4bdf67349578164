"""Time training with two processes against training with one, each on one thread.

    python benchmarks/processes.py [--rounds 3] [--data-root FOLDER]

Takes about three minutes on two cores. Writes `results/bench-processes.json`, which docs/speed.md shows. One process,
and two started by `torchrun`, train the same epoch of MNIST in turns. The time of the training steps is compared,
without start-up and evaluation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from logcosh_vae.base.records import write_record
from logcosh_vae.bench.records import BenchRow
from logcosh_vae.bench.timing import record, row
from logcosh_vae.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
ONE, TWO = "one process", "two processes"
MODELS: dict[str, tuple[list[str], int]] = {
    "VAE (MLP), batch 100": (["--model", "vae-mlp", "--set", "data.limit=20000"], 200),
    "VAE (Conv, width 0.125), batch 100": (
        ["--model", "vae-conv", "--set", "model.width=0.125", "--set", "data.limit=3000"],
        30,
    ),
}
"""Options of the command and the number of steps of an epoch, by model."""


def seconds(processes: int, arguments: list[str], out: Path) -> float:
    """Train one epoch and return the seconds spent in its steps."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "logcosh_vae", "train", *arguments]
    settings = ["--epochs", "1", "--set", "log_every=1000", "--set", "track_images=0", "--out", str(out)]
    subprocess.run([*command, *settings], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return float(RunFolder(out).metrics()[0]["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    rows: list[BenchRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for what, (settings, steps) in MODELS.items():
            root = ["--data-root", str(arguments.data_root)] if arguments.data_root else []
            times: dict[str, list[float]] = {ONE: [], TWO: []}
            for number in range(arguments.rounds):
                for name in (ONE, TWO)[:: 1 if number % 2 == 0 else -1]:
                    out = Path(folder) / f"{len(rows)}-{number}-{name.replace(' ', '-')}"
                    times[name].append(seconds(1 if name == ONE else 2, [*settings, *root], out) / steps)
            rows.append(row(what, times, ONE))
            print(rows[-1], flush=True)
    results = record("processes", rows, threads=1, rounds=arguments.rounds, started=started)
    write_record(results, ROOT / "results" / "bench-processes.json")


if __name__ == "__main__":
    main()
