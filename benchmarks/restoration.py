"""Measure the speed, the memory and the tile seams of restoration, and the cost of corruption in a training step.

    python benchmarks/restoration.py [--model RUN] [--data-root FOLDER]

Takes about a minute on two cores. Writes `results/bench-restoration.json`, which docs/restoration.md shows. Without
`--model` the shipped network for text is used. The photographs are synthetic, as the cost of a network does not depend
on the content of an image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.base.memory import keep_freed_memory
from logcosh_vae.data import TEXT_REMOVAL
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.losses import make_loss
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.examples import make_examples
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.pretrained import load_pretrained
from logcosh_vae.restoration.step import build_restoration_optimizer, restoration_step
from logcosh_vae.restoration.tiling import restore
from logcosh_vae.restoration.training import load_restoration, load_splits
from logcosh_vae.training.loop import make_generator, use_threads

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"12 megapixels": (4000, 3000), "48 megapixels": (8000, 6000)}

CHILD = """
import json, sys, time
from pathlib import Path
import logcosh_vae.cli.command
from logcosh_vae.cli.restoration import restore
from logcosh_vae.base.memory import keep_freed_memory

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

keep_freed_memory()  # as the command does
started = time.perf_counter()
model = Path(sys.argv[3] or "text")
restore([sys.argv[1]], Path(sys.argv[2]), model=model, overwrite=True, find_text=False)
seconds = time.perf_counter() - started
Path(sys.argv[4]).write_text(json.dumps({"seconds": seconds, "peak_mib": resident("VmHWM")}))
"""


def photograph(width: int, height: int) -> Image.Image:
    """Return a smooth synthetic picture."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 50, width // 50, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def whole_command(model: Path | None, folder: Path) -> list[dict[str, Any]]:
    """Time `restore` on photographs, each in a new process: decoding, restoration and encoding.

    Args:
        model: run folder of the network; None for the shipped one.
        folder: folder for temporary files.

    Returns:
        For each photograph its size, the seconds and the peak memory.
    """
    rows = []
    for name, size in SIZES.items():
        source = folder / "photograph.jpg"
        photograph(*size).save(source, quality=92)
        command = [sys.executable, "-c", CHILD, source, folder / "out.jpg", model or "", folder / "result.json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        row = {"photograph": name, **json.loads((folder / "result.json").read_text(encoding="utf-8"))}
        print(row, flush=True)
        rows.append(row)
    return rows


def seams(network: RestorationNetwork) -> int:
    """Return the largest difference between tiled and untiled restoration of a picture with text, in units of 1/255.

    Both use the precision that restoration uses on this machine.
    """
    clean = np.asarray(photograph(1100, 900)).astype(np.float32) / 255.0
    corrupted = CORRUPTIONS["text"].evaluation(torch.from_numpy(clean).permute(2, 0, 1), 0)
    picture = corrupted.permute(1, 2, 0).mul(255.0).round().numpy().astype(np.uint8)
    untiled, tiled = (restore(network, picture, tile_size=tile).astype(int) for tile in (2048, 512))
    return int(np.abs(untiled - tiled).max())


def step_shares(config: RestorationConfig, data_root: Path | None, steps: int = 30) -> dict[str, float]:
    """Return the median time of a training step, and of making its images alone.

    Returns:
        `step_ms` and `corruption_ms` in milliseconds, and `share`, the median ratio of the two.
    """
    use_threads(1)
    torch.manual_seed(0)
    train, _ = load_splits(config, data_root, None)
    network = RestorationNetwork.of(config.architecture).to(memory_format=torch.channels_last)
    optimizer = build_restoration_optimizer(network, config)
    corruption, generator = CORRUPTIONS[config.task], make_generator(0, "benchmark")
    step = restoration_step(network, make_loss(config.loss, config.a), config)
    whole_step, corruption_only = [], []
    for index in range(steps + 5):
        started = time.perf_counter()
        examples = make_examples(train.images, corruption, config, index)
        middle = time.perf_counter()
        optimizer.zero_grad()
        step(examples, generator, False)
        optimizer.step()
        if index >= 5:
            whole_step.append(time.perf_counter() - started)
            corruption_only.append(middle - started)
    return {
        "step_ms": 1e3 * median(whole_step),
        "corruption_ms": 1e3 * median(corruption_only),
        "share": median(b / a for a, b in zip(whole_step, corruption_only, strict=True)),
    }


def markdown(results: StudyResults) -> str:
    """Return the results in Markdown: a table of photographs, then sentences on seams and corruption."""
    rows = [f"| {row['photograph']} | {row['seconds']:.0f} | {row['peak_mib']:.0f} MiB |" for row in results.rows]
    step, cores = results.more["step"], f"{results.environment.cores} cores"
    return (
        "\n".join(["| photograph | seconds | peak memory |", "|---|--:|--:|", *rows])
        + "\n\nReading, restoring and writing, by the command. Largest difference between tiled and untiled: "
        f"{results.more['seam_levels']}/255. Of a training step of {step['step_ms']:.0f} ms on one thread, "
        f"making its corrupted copies takes {100 * step['share']:.0f}%. " + provenance(results.environment, cores)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    network = load_restoration(arguments.model)[0] if arguments.model else load_pretrained("text")[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = whole_command(arguments.model, Path(folder))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    keep_freed_memory()
    result = StudyResults(
        experiment="bench-restoration",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        more={
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "seam_levels": seams(network),
            "step": step_shares(resolve_restoration(RestorationConfig(TEXT_REMOVAL)), arguments.data_root),
        },
    )
    print({key: result.more[key] for key in ("seam_levels", "step")})
    write_results(result, ROOT / "results" / "bench-restoration.json")


if __name__ == "__main__":
    main()
