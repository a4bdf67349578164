"""Measure the memory and the speed of training on images that do not fit into memory.

    python benchmarks/larger_than_memory.py [--work FOLDER] [--gigabytes 8] [--allowed 2]

Takes about five minutes on two cores and needs twice as much disk space as `--gigabytes`. Writes
`results/bench-larger-than-memory.json`, which docs/speed.md shows.

A set of 256x256 images, `--gigabytes` large when prepared, is trained on for one epoch by a process that may use
`--allowed` gigabytes, including the file cache of the system. The limit is a memory control group; if none can be
created, the process runs without a limit. Before and after, the same network trains on the first 2,000 images.
`peak_mib` is the largest resident set of the process.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.data import load_images
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.reporting.markdown import provenance

ROOT = Path(__file__).resolve().parents[1]
SIDE, DISTINCT, FEW, BATCH = 256, 500, 2_000, 50

CHILD = """
import json, sys
from pathlib import Path
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.base.settings import override
from logcosh_vae.base.memory import keep_freed_memory

keep_freed_memory()
folder = train(override(TrainConfig(), json.loads(sys.argv[1])), Path(sys.argv[2]))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
seconds = [record["seconds"] for record in folder.metrics()]
print(json.dumps({"seconds": seconds, "peak_mib": int(status["VmHWM"].split()[0]) / 1024}))
"""


def make_pictures(folder: Path, count: int) -> None:
    """Write `count` JPEG files into `folder`; after the first 500, they are hard links to earlier ones."""
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number % 100:02d}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < DISTINCT:
            coarse = generator.integers(0, 256, (12, 12, 3)).astype(np.uint8)
            content = io.BytesIO()
            Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(content, "JPEG")
            path.write_bytes(content.getvalue())
        else:
            first = number % DISTINCT
            os.link(folder / f"{first % 100:02d}" / f"{first:07d}.jpg", path)


@contextmanager
def memory_group(allowed: int) -> Iterator[Path | None]:
    """Create a control group whose processes may use `allowed` bytes, including the file cache.

    Yields the folder of the group, or None if it cannot be created. The group is removed at the end.
    """
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").is_file()
    group = (root if unified else root / "memory") / f"logcosh-vae-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(allowed))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        time.sleep(0.5)  # the last process may still be leaving the group
        with suppress(OSError):
            group.rmdir()


def train(pictures: Path, out: Path, settings: list[str], group: Path | None) -> dict[str, Any]:
    """Train in a new process within the control group.

    Args:
        pictures: folder of images.
        out: the run folder.
        settings: further settings of the config, as for `--set`.
        group: the control group, if any.

    Returns:
        `seconds`, one value per epoch, and `peak_mib`.
    """
    common = [f"data.name={pictures}", f"data.size=[{SIDE},{SIDE}]", "model.hidden=[32,32]"]
    common += ["track_images=0", "picture_every=1000", f"batch_size={BATCH}"]

    def enter() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-c", CHILD, json.dumps([*common, *settings]), str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=enter)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def markdown(results: StudyResults) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| images | prepared | step | largest resident set |", "|---|--:|--:|--:|"]
    lines += [
        f"| {row['count']:,} | {row['bytes'] / 1e9:.1f} GB | {row['step_ms']:.0f} ms | {row['peak_mib']:,.0f} MiB |"
        for row in results.rows
    ]
    allowed = results.more["allowed_bytes"]
    limit = "no limit was set" if allowed is None else f"a limit of {allowed / 1e9:g} GB, file cache included"
    return (
        "\n".join(lines)
        + f"\n\nThe same VAE (MLP) on 256x256 pictures, in order of the runs; {limit}. "
        + provenance(results.environment, f"{results.environment.cores} cores")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--allowed", type=float, default=2.0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    work = Path(tempfile.mkdtemp(prefix="larger-", dir=arguments.work))
    os.environ["LOGCOSH_VAE_CACHE"] = str(work / "cache")
    try:
        pictures = work / "pictures"
        make_pictures(pictures, round(arguments.gigabytes * 1e9 / (3 * SIDE * SIDE)))
        images = load_images(str(pictures), "train", size=(SIDE, SIDE), channels=3)
        count = len(images.images)
        print(f"{count:,} training images prepared, {time.perf_counter() - started:.0f} s", flush=True)
        del images
        few = [f"data.limit={FEW}", "epochs=3"]
        rows = []
        with memory_group(round(arguments.allowed * 1e9)) as group:
            for name, used, settings in [
                ("few, before", FEW, few),
                ("all", count, ["epochs=1"]),
                ("few, after", FEW, few),
            ]:
                result = train(pictures, work / name, settings, group)
                steps = used // BATCH * len(result["seconds"])
                row = {"images": name, "count": used, "steps": steps, "step_ms": 1e3 * sum(result["seconds"]) / steps}
                rows.append(row | {"peak_mib": result["peak_mib"], "bytes": used * 3 * SIDE * SIDE})
                print(rows[-1], flush=True)
            write_results(
                StudyResults(
                    experiment="bench-larger-than-memory",
                    rows=tuple(rows),
                    environment=describe(),
                    seconds=round(time.perf_counter() - started, 1),
                    more={"allowed_bytes": None if group is None else round(arguments.allowed * 1e9)},
                ),
                ROOT / "results" / "bench-larger-than-memory.json",
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
