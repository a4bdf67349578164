"""How far pixels that restoration leaves alone move when the picture is stored again, by format.

    python studies/unchanged_pixels.py

Takes two minutes on one core. Each of the first 40 photographs of text-removal/train in the data root is stored in a
format, read and written by the package without a change of its pixels, and compared. Writes
`results/unchanged-pixels.json`, which docs/restoration.md shows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.data import text_removal
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.restoration import photographs
from logcosh_vae.restoration.picture_files import find_pictures

FORMATS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG, grey, quality 75": ("L", "jpg", {"quality": 75}),
    "JPEG, grey, quality 95": ("L", "jpg", {"quality": 95}),
    "JPEG, 4:4:4, quality 75": ("RGB", "jpg", {"quality": 75, "subsampling": 0}),
    "JPEG, 4:4:4, quality 95": ("RGB", "jpg", {"quality": 95, "subsampling": 0}),
    "JPEG, 4:2:0, quality 75": ("RGB", "jpg", {"quality": 75, "subsampling": 2}),
    "JPEG, 4:2:0, quality 95": ("RGB", "jpg", {"quality": 95, "subsampling": 2}),
    "lossy WebP, quality 80": ("RGB", "webp", {"quality": 80}),
    "AVIF, quality 75": ("RGB", "avif", {"quality": 75}),
    "lossless WebP": ("RGB", "webp", {"lossless": True}),
    "PNG": ("RGB", "png", {}),
    "TIFF": ("RGB", "tif", {}),
}
PICTURES = 40
ROOT = Path(__file__).resolve().parents[1]


def differences(path: Path, folder: Path, mode: str, suffix: str, options: dict[str, Any]) -> tuple[int, float]:
    """Return the largest and the mean difference of a picture that is stored twice, in levels of 255."""
    before, after = (folder / f"{part}.{suffix}" for part in ("before", "after"))
    with Image.open(path) as picture:
        picture.convert(mode).save(before, **options)
    photograph = photographs.read(before)
    photographs.write(photograph, photograph.pixels, after)
    difference = np.abs(photographs.read(after).pixels.astype(int) - photograph.pixels)
    return int(difference.max()), float(difference.mean())


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown, one row for each format."""
    lines = [
        "| file, as read and written | largest difference, of 255 | median of the largest | mean |",
        "|---|--:|--:|--:|",
    ]
    for row in results.rows:
        largest = row["largest"]
        lines.append(f"| {row['format']} | {max(largest)} | {np.median(largest):.0f} | {np.mean(row['mean']):.2f} |")
    return "\n".join(lines) + "\n\n" + provenance(results.environment, f"{PICTURES} photographs")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    arguments = parser.parse_args()
    files = [path for path, _ in find_pictures([text_removal("train")])][:PICTURES]
    started, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as name:
        for kind, how in FORMATS.items():
            pairs = [differences(path, Path(name), *how) for path in files]
            rows.append({"format": kind, "largest": [most for most, _ in pairs], "mean": [mean for _, mean in pairs]})
            print(kind, max(rows[-1]["largest"]), np.mean(rows[-1]["mean"]))
    seconds = round(time.perf_counter() - started, 1)
    results = StudyResults(experiment="unchanged-pixels", rows=tuple(rows), environment=describe(), seconds=seconds)
    write_results(results, arguments.results / "unchanged-pixels.json")


if __name__ == "__main__":
    main()
