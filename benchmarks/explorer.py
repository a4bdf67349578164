"""Time the networks of a page of `logcosh-vae explore` in JavaScript beside torch, on one thread each.

    python benchmarks/explorer.py [--rounds 9]

Takes about two minutes; needs node. Writes `results/bench-explorer.json`, which docs/explore.md shows. The page's own
scripts run in node, which has the JavaScript engine of Chromium. The weights are random: they do not change the time.
Each row has the size of the page with that model alone, without test images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from logcosh_vae import VAE
from logcosh_vae.base.records import write_record
from logcosh_vae.bench.markdown import times_table
from logcosh_vae.bench.records import BenchResults, BenchRow
from logcosh_vae.bench.timing import ROUNDS, Contender, in_turns, record, row
from logcosh_vae.explorer.page import SCRIPTS, WEB, build
from logcosh_vae.explorer.runs import ExplorerRun, ShownImages, networks_of
from logcosh_vae.models.networks import ImageShape, Size

ROOT = Path(__file__).resolve().parents[1]
PAGE, PLAIN, TORCH = "the page", "the page without WebAssembly", "torch"
MODELS: dict[str, tuple[str, ImageShape, int, Size]] = {
    "VAE (MLP), 28x28": ("mlp", (1, 28, 28), 8, Size()),
    "VAE (Conv, width 0.125), 28x28": ("conv", (1, 28, 28), 8, Size(width=0.125)),
    "VAE (Conv, width 0.125), 64x64 in colour": ("conv", (3, 64, 64), 64, Size(width=0.125)),
}
"""Network, shape of the images, number of latent variables and size, by name."""

SERVER = """
const data = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8").match(/id="data">(.*?)<\\/script>/)[1]);
(async () => {
  const each = await readRun(data.runs[0]);
  const filled = (size) => new Float32Array(size).fill(0.5);
  const inputs = { encoder: filled(each.encoder.inputs), decoder: filled(each.latent) };
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [part, count] = JSON.parse(line);
    for (let i = 0; i < count; i++) run(each[part], inputs[part]);
    console.log("done");
  }
})();
"""


class Page:
    """A process of node that computes with the networks of a page, with or without WebAssembly."""

    def __init__(self, node: str, page: Path, *, plain: bool = False) -> None:
        computing = SCRIPTS[: SCRIPTS.index("schedule.js")]
        source = "".join((WEB / name).read_text(encoding="utf-8") for name in computing)
        command = [node, "-e", f'"use strict";{source}{"engine = plainEngine();" if plain else ""}{SERVER}', str(page)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, part: str, count: int) -> None:
        """Encode or decode one image `count` times."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([part, count]), file=self._process.stdin, flush=True)
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("node has ended")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def measured(what: str, node: str, folder: Path, rounds: int) -> list[BenchRow]:
    """Time encoding and decoding one image."""
    network, shape, latent, size = MODELS[what]
    torch.manual_seed(0)
    model = VAE.from_network(network, image_shape=shape, latent_size=latent, size=size).eval()
    shown = ShownImages(torch.zeros(0, *shape, dtype=torch.uint8), None, "none")
    run = ExplorerRun(what, "", "none", shape, networks_of(model, shape), deviations=(1.0,) * latent)
    written = build([run], shown, folder / "page.html", checked=torch.zeros(1, *shape, dtype=torch.uint8))
    pages, rows = {PAGE: Page(node, written.path), PLAIN: Page(node, written.path, plain=True)}, []
    inputs = {"encoder": torch.full((1, *shape), 0.5), "decoder": torch.full((1, latent), 0.5)}
    try:
        for part, title in (("decoder", "decode"), ("encoder", "encode")):
            contenders = [
                *(
                    Contender(name, lambda count, page=page, part=part: page.run(part, count))
                    for name, page in pages.items()
                ),
                Contender(TORCH, lambda count, part=part: repeat(getattr(model, part), inputs[part], count)),
            ]
            times = in_turns(contenders, rounds=rounds)
            rows.append(row(f"{what}: {title} an image", times, TORCH, page_bytes=written.size))
            print(rows[-1], flush=True)
    finally:
        for page in pages.values():
            page.close()
    return rows


@torch.inference_mode()
def repeat(network: torch.nn.Module, values: torch.Tensor, count: int) -> None:
    """Apply a network `count` times."""
    for _ in range(count):
        network(values)


def markdown(results: BenchResults) -> str:
    """Return the table of times and a line with the sizes in Markdown."""
    sizes = {row.what.partition(":")[0]: row.more["page_bytes"] for row in results.rows}
    text = ", ".join(f"{size / 1e6:.2f} MB with {name}" for name, size in sizes.items())
    return f"{times_table(results)}\nSize of a page with one model and no test images: {text}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        sys.exit("explorer.py: node is not installed")
    torch.set_num_threads(1)
    started, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for what in MODELS:
            rows += measured(what, node, Path(folder), arguments.rounds)
    results = record("explorer", rows, threads=1, rounds=arguments.rounds, started=started)
    write_record(results, ROOT / "results" / "bench-explorer.json")


if __name__ == "__main__":
    main()
