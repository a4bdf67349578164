"""Where log-cosh falls behind L1 in figure 10: pictures with much black.

    python benchmarks/dark_pictures.py --runs FOLDER [--profile laptop] [--data-root FOLDER]        a minute

Reads `results/figure10-PROFILE.json` and the runs it names, writes `results/dark-pictures-PROFILE.json`: the difference
in SSIM of each picture beside the share of its values that are nearly 0; and of those with many, what the networks of
the first seed make of pixels that are black and have no text, and the SSIM if all black pixels had been left black.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import write_json
from logcosh_vae.data import text_removal
from logcosh_vae.metrics.image_quality import ssim
from logcosh_vae.reporting.paired import paired
from logcosh_vae.reporting.restoration_narrative import by_picture
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.restoration.evaluation import clean_and_corrupted, restore_image
from logcosh_vae.restoration.training import load_restoration

ROOT = Path(__file__).resolve().parents[1]
DARK, MUCH = 0.02, 0.1
"""Values below the first are nearly black; pictures with more of them than the second are looked at apart."""


def of_black(rows: list[dict[str, Any]], names: list[str], store: Path, folder: Path) -> list[dict[str, Any]]:
    """By picture and loss: the median of what is restored where the clean and the corrupted picture are black."""
    networks = {row["loss"]: load_restoration(store / row["runs"][0])[0] for row in rows}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    results = json.loads((ROOT / "results" / f"figure10-{arguments.profile}.json").read_text(encoding="utf-8"))
    losses = {row["loss"]: by_picture(row, "ssim") for row in results["rows"]}
    folder = text_removal("test", arguments.data_root)
    rows = []
    for name, ours, theirs in zip(results["pictures"], losses["log-cosh"], losses["l1"], strict=True):
        values = np.asarray(Image.open(folder / name).convert("RGB"), np.float64) / 255.0
        rows.append({"picture": name, "dark": float((values < DARK).mean()), "log-cosh": ours, "l1": theirs})
    parts = {
        "dark": [row for row in rows if row["dark"] > MUCH],
        "others": [row for row in rows if row["dark"] <= MUCH],
    }
    differences = [row["log-cosh"] - row["l1"] for row in rows]
    result = {
        "experiment": "dark-pictures",
        "profile": arguments.profile,
        "below": DARK,
        "share": MUCH,
        "correlation": float(np.corrcoef(differences, [row["dark"] for row in rows])[0, 1]),
        "parts": {
            name: asdict(paired([row["log-cosh"] for row in part], [row["l1"] for row in part]))
            for name, part in parts.items()
        },
        "rows": rows,
        "black": of_black(results["rows"], [row["picture"] for row in parts["dark"]], arguments.runs, folder),
        "environment": describe(),
    }
    print(json.dumps(result["parts"], indent=1))
    write_json(ROOT / "results" / f"dark-pictures-{arguments.profile}.json", result)


if __name__ == "__main__":
    main()
