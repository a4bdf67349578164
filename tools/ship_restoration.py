"""Ship the network of a finished restoration run with the package, and measure it.

    logcosh-vae restore --train --data text-removal --task text --loss log-cosh --out RUN
    python tools/ship_restoration.py RUN [--data-root FOLDER]

Takes about three minutes on two cores. Copies the weights and their card into the package under the name of the task,
or as `captions` if the run was trained on captions. Writes `results/shipped-NAME.json`, which docs/restoration.md
shows: SSIM and PSNR of each of the paper's pictures, corrupted as for figure 10, as restored by the network, and as
written by `logcosh-vae restore` without and with `--careful`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import torch

from logcosh_vae.base.environment import Environment, describe
from logcosh_vae.base.records import from_json
from logcosh_vae.data import text_removal
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.metrics.image_quality import psnr, ssim
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.reporting.tables import duration
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.evaluation import clean_and_corrupted
from logcosh_vae.restoration.pipeline import restore_picture
from logcosh_vae.restoration.pretrained import load_pretrained, save_pretrained
from logcosh_vae.restoration.tiling import restore
from logcosh_vae.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]


def markdown(results: StudyResults) -> str:
    """Return a table of the shipped network's SSIM and PSNR in Markdown, and how the network was trained."""
    names = {
        "corrupted": "with text on a quarter of their pixels",
        "network": "restored by the network",
        "command": "restored by the command, which leaves other pixels alone",
        "careful": "by the command with `--careful`",
    }
    lines = [
        f"| {len(results.rows)} pictures of Urban100 | SSIM | lowest | highest | PSNR |",
        "|---|--:|--:|--:|--:|",
    ]
    for version, name in names.items():
        values = [row[version]["ssim"] for row in results.rows]
        mean = results.more["mean"][version]
        lines.append(f"| {name} | {mean['ssim']:.3f} | {min(values):.3f} | {max(values):.3f} | {mean['psnr']:.1f} dB |")
    train, start = results.more["card"]["train"], results.more["card"]["start"]
    initial = f"initialised with the weights {start}, " if start else ""
    threads = f"{train['threads']} thread{'s' if train['threads'] > 1 else ''}"
    return (
        "\n".join(lines) + f"\n\n{train['loss']}, a = {train['a']:g}; {train['epochs'] * train['steps']:,} steps of "
        f"{train['batch_size']} crops of {train['crop_size']}x{train['crop_size']} pixels, "
        f"{initial}{duration(results.more['training_seconds'])} on {threads} beside other work; weights "
        f"{results.more['card']['fingerprint']}, {results.more['bytes'] / 1e6:.1f} MB; "
        + provenance(from_json(Environment, results.more["card"]["environment"]), "measured on 2 cores")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    task = RunFolder(arguments.run).config()["train"]["task"]
    path = save_pretrained(arguments.run)
    network, card = load_pretrained(path.stem)
    rows = []
    folder = text_removal("test", arguments.data_root)
    for name, clean, corrupted in clean_and_corrupted(folder, CORRUPTIONS[task]):
        pixels = corrupted.mul(255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
        versions = {"corrupted": pixels, "network": restore(network, pixels)}
        for version in ("command", "careful"):
            versions[version] = restore_picture(network, pixels, task=task, careful=version == "careful")
        row: dict[str, object] = {"picture": name}
        for version, values in versions.items():
            image = torch.from_numpy(values).permute(2, 0, 1) / 255.0
            row[version] = {"ssim": ssim(image, clean), "psnr": psnr(image, clean)}
        print(row, flush=True)
        rows.append(row)
    seconds = [record["seconds"] for record in RunFolder(arguments.run).metrics()]
    result = StudyResults(
        experiment=f"shipped-{path.stem}",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        more={
            "card": card,
            "bytes": path.stat().st_size,
            "training_seconds": sum(seconds),
            "mean": {
                version: {name: statistics.fmean(row[version][name] for row in rows) for name in ("ssim", "psnr")}  # type: ignore[index]
                for version in ("corrupted", "network", "command", "careful")
            },
        },
    )
    print(result.more["mean"])
    write_results(result, ROOT / "results" / f"shipped-{path.stem}.json")


if __name__ == "__main__":
    main()
