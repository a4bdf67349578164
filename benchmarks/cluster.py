"""Time a Dask cluster against the processes that `reproduce` starts itself, on one machine.

    python benchmarks/cluster.py [--rounds 5] [--data-root FOLDER]

Takes about three minutes on two cores. Writes `results/bench-cluster.json`, which docs/speed.md shows. The same runs of
table 1 (smoke profile, MLP rows) are done in turns by two processes of the command and by two workers of a running
cluster. The times are of whole commands, including the report.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import distributed

from logcosh_vae.base.records import write_record
from logcosh_vae.bench.timing import record, row

ROOT = Path(__file__).resolve().parents[1]
LOCAL, CLUSTER = "two processes of the command", "two workers of a Dask cluster"
SEEDS = 4
RUNS = 3 * SEEDS


def seconds(arguments: list[str], store: Path) -> float:
    """Return the duration of one whole `reproduce` command in seconds.

    Args:
        arguments: further options of the command.
        store: folder for the runs and the results.
    """
    command = [sys.executable, "-m", "logcosh_vae", "reproduce", "table1", "--profile", "smoke", "--model", "vae-mlp"]
    command += ["--seeds", str(SEEDS), "--runs", str(store), "--results", str(store), *arguments]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.perf_counter()
    root = ["--data-root", str(arguments.data_root)] if arguments.data_root else []
    times: dict[str, list[float]] = {LOCAL: [], CLUSTER: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        options = {LOCAL: ["--jobs", "2"], CLUSTER: ["--scheduler", cluster.scheduler_address]}
        for number in range(-1, arguments.rounds):  # round -1 warms up the file cache and the workers' imports
            for name in (LOCAL, CLUSTER)[:: 1 if number % 2 == 0 else -1]:
                taken = seconds([*options[name], *root], Path(folder) / f"{number}-{name.split()[-1]}")
                if number >= 0:
                    times[name].append(taken)
                print(f"round {number}: {name}: {taken:.1f} s", flush=True)
    rows = [row(f"table 1, smoke profile, {RUNS} runs", times, LOCAL)]
    results = record("cluster", rows, threads=1, rounds=arguments.rounds, started=started)
    write_record(results, ROOT / "results" / "bench-cluster.json")


if __name__ == "__main__":
    main()
