"""On which pictures does log-cosh fall behind L1 in figure 10? Compares those with much black to the others.

    python studies/dark_pictures.py --runs FOLDER [--profile laptop] [--data-root FOLDER]

Takes about a minute on two cores. Reads `results/figure10-PROFILE.json` and the runs that it names. Writes
`results/dark-pictures-PROFILE.json`, which docs/restoration.md shows: for each picture, the difference in SSIM and the
fraction of values that are nearly 0; for the dark pictures, how the networks of the first seed restore black pixels
without text, and the SSIM if all black pixels had been left black.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.data import text_removal
from logcosh_vae.experiments.results import RowResult, StudyResults, read_results, write_results
from logcosh_vae.metrics.image_quality import ssim
from logcosh_vae.reporting.paired import paired
from logcosh_vae.reporting.restoration_narrative import per_image_means
from logcosh_vae.reporting.tables import LOSS_NAMES
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.evaluation import clean_and_corrupted, restore_image
from logcosh_vae.restoration.training import load_restoration

ROOT = Path(__file__).resolve().parents[1]
DARK, MUCH = 0.02, 0.1
"""Values below `DARK` are nearly black; a picture is dark if the fraction of such values exceeds `MUCH`."""


def black_pixels(rows: Sequence[RowResult], names: list[str], run_root: Path, folder: Path) -> list[dict[str, Any]]:
    """Measure how black pixels without text are restored.

    Args:
        rows: results of figure 10, one row per loss.
        names: names of the pictures to measure.
        run_root: folder that contains the run folders.
        folder: folder with the clean pictures.

    Returns:
        One row per picture and loss: clean and restored median of the black pixels without text, and SSIM, also with
        all black pixels left black.
    """
    networks = {row.loss: load_restoration(run_root / row.runs[0])[0] for row in rows}
    found = []
    for name, clean, corrupted in clean_and_corrupted(folder, CORRUPTIONS["text"]):
        if name not in names:
            continue
        black = (clean < DARK).all(dim=0)
        bare = black & (clean == corrupted).all(dim=0)
        for loss, network in networks.items():
            result = restore_image(network, corrupted)
            found.append(
                {
                    "picture": name,
                    "loss": loss,
                    "true_median": float(clean[:, bare].median()),
                    "restored_median": float(result[:, bare].median()),
                    "ssim": ssim(result, clean),
                    "ssim_with_black_left": ssim(torch.where(black, clean, result), clean),
                }
            )
            print(found[-1], flush=True)
    return found


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown: log-cosh against L1 on dark pictures and on the others."""
    names = {"dark": f"more than {100 * results.more['share']:.0f}%", "others": "at most that"}
    lines = [
        f"| share of values below {results.more['below']:g} | pictures | log-cosh larger "
        "| mean difference to L1 | interval | Wilcoxon p |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for part, name in names.items():
        each = results.more["parts"][part]
        interval = f"{each['low']:+.4f} to {each['high']:+.4f}"
        cells = [name, each["count"], each["wins"], f"{each['difference']:+.4f}", interval, f"{each['p_value']:.2g}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    sentences = [f"Correlation of the difference with the share of black: {results.more['correlation']:.2f}."]
    for loss in ("log-cosh", "l1"):
        rows = [row for row in results.more["black"] if row["loss"] == loss]
        clean, restored_median, score, score_with_black = (
            statistics.fmean(row[key] for row in rows)
            for key in ("true_median", "restored_median", "ssim", "ssim_with_black_left")
        )
        sentences.append(
            f"In those with much black, {LOSS_NAMES[loss]} (first seed) restores black pixels without text to a median "
            f"of {restored_median:.4f} (clean {clean:.4f}); its mean SSIM is {score:.3f}, and {score_with_black:.3f} "
            "if black pixels are left black."
        )
    return "\n".join(lines).replace("-0", "\N{MINUS SIGN}0") + "\n\n" + " ".join(sentences) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    results = read_results(ROOT / "results" / f"figure10-{arguments.profile}.json")
    losses = {row.loss: per_image_means(row, "ssim") for row in results.rows}
    folder = text_removal("test", arguments.data_root)
    rows: list[dict[str, Any]] = []
    for name, ours, theirs in zip(results.pictures or (), losses["log-cosh"], losses["l1"], strict=True):
        values = np.asarray(Image.open(folder / name).convert("RGB"), np.float64) / 255.0
        rows.append({"picture": name, "dark": float((values < DARK).mean()), "log-cosh": ours, "l1": theirs})
    parts = {
        "dark": [row for row in rows if row["dark"] > MUCH],
        "others": [row for row in rows if row["dark"] <= MUCH],
    }
    differences = [row["log-cosh"] - row["l1"] for row in rows]
    result = StudyResults(
        experiment="dark-pictures",
        rows=tuple(rows),
        environment=describe(),
        profile=arguments.profile,
        more={
            "below": DARK,
            "share": MUCH,
            "correlation": float(np.corrcoef(differences, [row["dark"] for row in rows])[0, 1]),
            "parts": {
                name: asdict(paired([row["log-cosh"] for row in part], [row["l1"] for row in part]))
                for name, part in parts.items()
            },
            "black": black_pixels(results.rows, [row["picture"] for row in parts["dark"]], arguments.runs, folder),
        },
    )
    print(json.dumps(result.more["parts"], indent=1))
    write_results(result, ROOT / "results" / f"dark-pictures-{arguments.profile}.json")


if __name__ == "__main__":
    main()
