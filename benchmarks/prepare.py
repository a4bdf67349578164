"""Measure the memory and the speed of preparing a large set of images.

    python benchmarks/prepare.py [--work FOLDER] [--gigabytes 5]

Takes about eight minutes on two cores and needs as much disk space as `--gigabytes`. Writes
`results/bench-prepare.json`, which docs/data.md shows.

Three sets of 5 GB are created and prepared at 64x64, each in a new process: a folder of JPEGs of 12 megapixels, a
folder of PNGs with transparency of the same size, and a zip file of JPEGs of 640x480. The files of a set differ only in
a number behind their last byte, which decoders ignore. `peak_mib` is the largest resident set of the process beyond
that after its imports, including mapped files.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.reporting.markdown import provenance

ROOT = Path(__file__).resolve().parents[1]

CHILD = """
import json, sys, time
from pathlib import Path
from logcosh_vae.data import load_images

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

before, started = resident("VmRSS"), time.perf_counter()
train = load_images(sys.argv[1], "train", size=(64, 64), channels=3)
seconds = time.perf_counter() - started
after = resident("VmHWM")
print(json.dumps({"import_mib": before, "peak_mib": after - before, "seconds": seconds, "train": len(train.images)}))
"""


def photograph(width: int, height: int, kind: str) -> bytes:
    """Return an image file with structure at every scale, so that it takes as long to decode as a photograph.

    Args:
        width: width in pixels.
        height: height in pixels.
        kind: `jpg` or `png`; PNGs have an alpha channel.
    """
    generator = np.random.default_rng(0)
    picture = np.zeros((height, width, 3), np.float32)
    for size in (8, 32, 128, 512):
        coarse = generator.normal(0.0, 24.0, (max(1, height * size // width), size, 3)).astype(np.float32)
        layers = [Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
        picture += np.stack([np.asarray(layer) for layer in layers], axis=-1)
    picture += generator.normal(0.0, 4.0, picture.shape)
    content = io.BytesIO()
    image = Image.fromarray(np.clip(picture + 128.0, 0, 255).astype(np.uint8))
    if kind == "png":
        image.putalpha(image.getchannel(0))
        image.save(content, "PNG", compress_level=1)
    else:
        image.save(content, "JPEG", quality=90)
    return content.getvalue()


def copies(content: bytes, kind: str, total: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that add up to `total` bytes."""
    for number in range(total // len(content)):
        yield f"{number % 100:02d}/{number:08d}.{kind}", content + number.to_bytes(4, "big")


def make_folder(path: Path, content: bytes, kind: str, total: int) -> int:
    """Write the files of a set into a folder; returns their number."""
    count = 0
    for name, picture in copies(content, kind, total):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(picture)
        count += 1
    return count


def make_zip(path: Path, content: bytes, kind: str, total: int) -> int:
    """Write the files of a set into a zip file; returns their number."""
    count = 0
    with zipfile.ZipFile(path, "w") as archive:
        for name, picture in copies(content, kind, total):
            archive.writestr(name, picture)
            count += 1
    return count


def prepare(path: Path, cache: Path) -> dict[str, Any]:
    """Prepare a set in a new process; returns what `CHILD` prints."""
    environment = {**os.environ, "LOGCOSH_VAE_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def markdown(results: StudyResults) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| set | pictures | memory above the imports | pictures a second |", "|---|---|--:|--:|"]
    for row in results.rows:
        width, height = row["picture"]
        kind = f"{row['bytes'] / 1e9:.1f} GB of {'JPEG' if row['kind'] == 'jpg' else 'PNG'}"
        holder = "zip file" if row["set"].endswith(".zip") else "folder"
        count = f"{row['pictures']:,} of {width}x{height}"
        lines.append(f"| {holder}, {kind} | {count} | {row['peak_mib']:.0f} MiB | {row['pictures_per_second']:.0f} |")
    return "\n".join(lines) + "\n\n" + provenance(results.environment, f"{results.environment.cores} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--gigabytes", type=float, default=5.0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    total = round(arguments.gigabytes * 1e9)
    rows = []
    for kind, (width, height), make in (
        ("jpg", (4000, 3000), make_folder),
        ("png", (4000, 3000), make_folder),
        ("jpg", (640, 480), make_zip),
    ):
        work = Path(tempfile.mkdtemp(dir=arguments.work))
        try:
            path = work / ("set.zip" if make is make_zip else "set")
            content = photograph(width, height, kind)
            count = make(path, content, kind, total)
            measured = prepare(path, work / "cache")
            row = {
                "set": path.name,
                "kind": kind,
                "picture": [width, height],
                "bytes": len(content) * count,
                "pictures": count,
                "pictures_per_second": count / measured["seconds"],
                **measured,
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
        finally:
            shutil.rmtree(work)
    result = StudyResults(
        experiment="bench-prepare",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
    )
    write_results(result, ROOT / "results" / "bench-prepare.json")


if __name__ == "__main__":
    main()
