"""Update the tables and plots in README and docs from `results/`.

    python tools/update_docs.py [--runs FOLDER ...]

Each block `<!-- begin: NAME -->` ... `<!-- end: NAME -->` of a page is replaced by what `BLOCKS` generates from the
results. Pictures of images are drawn from the runs that the results name, or copied from where `reproduce` left them
beside the runs. If the runs are missing, the pictures in the docs stay as they are. No picture shows images of CelebA,
as its licence does not allow it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from logcosh_vae import load
from logcosh_vae.base import image_grid
from logcosh_vae.base.records import read_record
from logcosh_vae.bench.markdown import before_and_after, losses_by_size, times_table
from logcosh_vae.bench.records import BenchResults
from logcosh_vae.evaluation.evaluate import generate, random_test_images, reconstruct
from logcosh_vae.evaluation.priors import density_of_run
from logcosh_vae.experiments.results import ExperimentResults, StudyResults, read_results
from logcosh_vae.paper import likelihood_report
from logcosh_vae.paper.likelihood_rows import StudyRows
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.reporting.latents import latent_markdown, latent_table
from logcosh_vae.reporting.markdown import (
    losses_table,
    sentences,
    sentences_and_provenance,
    table,
    table_and_sentences,
    wall_time,
)
from logcosh_vae.reporting.narrative import Narrative
from logcosh_vae.reporting.tables import format_value

ROOT = Path(__file__).resolve().parents[1]
# each script formats its own results in Markdown
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "studies")]

import bfloat16  # noqa: E402
import captions  # noqa: E402
import celeba_study  # noqa: E402
import dark_pictures  # noqa: E402
import encoder_start  # noqa: E402
import fid_study  # noqa: E402
import find_text  # noqa: E402
import found_text  # noqa: E402
import gpu_docs  # noqa: E402
import large_letters  # noqa: E402
import larger_than_memory  # noqa: E402
import learned_shape  # noqa: E402
import make_dist  # noqa: E402
import prepare  # noqa: E402
import scaling  # noqa: E402
import ship_models  # noqa: E402
import ship_restoration  # noqa: E402
import speed_plots  # noqa: E402
import transcripts  # noqa: E402
import unchanged_pixels  # noqa: E402

import explorer  # noqa: E402
import restoration  # noqa: E402
from soak import record as soak_record  # noqa: E402

RESULTS = ROOT / "results"
PICTURES = ROOT / "docs" / "images"
PAGES = (
    "README.md",
    "docs/get-started.md",
    "docs/first-ten-minutes.md",
    "docs/models.md",
    "docs/results.md",
    "docs/data.md",
    "docs/explore.md",
    "docs/restoration.md",
    "docs/speed.md",
    "docs/scaling.md",
    "docs/reliability.md",
    "docs/likelihood.md",
)
LIKELIHOODS = ("likelihood-paper", "likelihood-conv-laptop", "likelihood-patches-laptop", "likelihood-faces-laptop")
"""Studies of learned likelihoods on docs/likelihood.md."""

INK = (28, 28, 30)
"""Colour of titles, RGB."""


@dataclass(frozen=True)
class Block:
    """A part of a page that is generated from results.

    Attributes:
        file: name of a file in `results/`, without its suffix.
        read: reads the file into its record.
        make: formats the record in Markdown.
        absent: the block while there is no such file; None for a file that has to be there.
    """

    file: str
    read: Callable[[Path], Any]
    make: Callable[[Any], str]
    absent: str | None = None

    def text(self) -> str | None:
        """Return the block in Markdown; None if a file is missing that has to be there."""
        path = RESULTS / f"{self.file}.json"
        return self.make(self.read(path)) if path.is_file() else self.absent


def experiment(file: str, make: Callable[[ExperimentResults, Narrative], str]) -> Block:
    """Return a block from the results of an experiment and the narrative that belongs to it."""
    return Block(file, read_results, lambda results: make(results, EXPERIMENTS[results.experiment].narrative))


def bench(file: str, make: Callable[[BenchResults], str] = times_table) -> Block:
    """Return a block from the results of a benchmark."""
    return Block(file, _read_bench, make)


def study(file: str, make: Callable[[StudyResults], str], absent: str | None = None) -> Block:
    """Return a block from the results of a study."""
    return Block(file, lambda path: read_record(StudyResults, path), make, absent)


def session(name: str) -> Block:
    """Return a block with a transcript."""
    return study("transcripts", lambda results: transcripts.transcript(results, name))


def _read_bench(path: Path) -> BenchResults:
    return read_record(BenchResults, path)


def _since_before(results: BenchResults) -> str:
    return before_and_after(_read_bench(RESULTS / "bench-loss-before.json"), results)


def _with_origins(results: ExperimentResults, narrative: Narrative) -> str:
    return table_and_sentences(results, narrative) + gpu_docs.trained(results)


def _likelihoods(results: ExperimentResults, narrative: Narrative) -> str:
    parts = likelihood_report.table(results), narrative.provenance(results), sentences(results, narrative)
    return "\n".join(parts)


def _compared(results: ExperimentResults) -> str:
    """What `compare` prints of its models, and what they learned."""
    learned = latent_table(results)
    return "\n".join([table(results), *([] if learned is None else [latent_markdown(learned), ""]), sentences(results)])


BLOCKS: dict[str, Block] = {
    "table1-paper": experiment("table1-paper", table),
    "table1-paper-findings": experiment("table1-paper", sentences),
    "table1-wall-time": Block("bench-table1-mlp", read_results, wall_time),
    **{name: experiment(name, _likelihoods) for name in LIKELIHOODS},
    **{name: Block(name, read_results, _compared) for name in ("auto-fashion-mnist", "auto-urban100")},
    "learned-shape": study("learned-shape-paper", learned_shape.markdown),
    "fid-study": study("fid-study-paper", fid_study.markdown),
    "table3-laptop": experiment("table3-laptop", table_and_sentences),
    "table4-laptop": experiment("table4-laptop", table_and_sentences),
    "table4-beta1": Block("table4-beta1-laptop", read_results, losses_table),
    "table4-losses": Block("table4-laptop", read_results, losses_table),
    "celeba-study": study("celeba-study-laptop", celeba_study.markdown_of_batches),
    "celeba-study-wae": study("celeba-study-laptop", celeba_study.markdown_by_a),
    "bench-explorer": bench("bench-explorer", explorer.markdown),
    "bench-prepare": study("bench-prepare", prepare.markdown),
    "figure6-laptop": experiment("figure6-laptop", sentences_and_provenance),
    "figure10-laptop": experiment("figure10-laptop", table_and_sentences),
    "figure10-readme": experiment("figure10-laptop", sentences),
    "dark-pictures": study("dark-pictures-laptop", dark_pictures.markdown),
    "restoration-laptop": experiment("restoration-laptop", table_and_sentences),
    "restoration-a-laptop": experiment("restoration-a-laptop", sentences_and_provenance),
    "bench-restoration": study("bench-restoration", restoration.markdown),
    "shipped-text": study("shipped-text", ship_restoration.markdown),
    "shipped-captions": study("shipped-captions", ship_restoration.markdown),
    "shipped-lines": study("shipped-lines", ship_restoration.markdown),
    "shipped-models": study("shipped-models", ship_models.markdown, "None has been trained for this version yet.\n"),
    "shipped-models-sample": study("shipped-models", ship_models.sample_command, ""),
    "dist": study("dist", make_dist.markdown),
    "transcript-loss": session("loss"),
    "transcript-images": session("images"),
    "transcript-photograph": session("photograph"),
    "transcript-explorer": session("explorer"),
    "transcript-numbers": study("transcripts", transcripts.numbers),
    "captions": study("captions", captions.markdown),
    "found-text": study("found-text", found_text.markdown),
    "large-letters": study("large-letters", large_letters.markdown),
    "find-text": study("find-text", find_text.markdown),
    "find-text-detectors": study("find-text-detectors", find_text.markdown_detectors),
    "unchanged-pixels": study("unchanged-pixels", unchanged_pixels.markdown),
    "bfloat16": study("bfloat16", bfloat16.markdown),
    "bench-step": bench("bench-step"),
    "bench-step-2-threads": bench("bench-step-2-threads"),
    "bench-side-by-side": bench("bench-side-by-side"),
    "bench-processes": bench("bench-processes"),
    "bench-cluster": bench("bench-cluster"),
    "scaling": study("scaling", scaling.markdown),
    "bench-loss": bench("bench-loss", losses_by_size),
    "bench-step-shares": bench("bench-step-shares"),
    "bench-loss-before": bench("bench-loss", _since_before),
    "bench-data": bench("bench-data"),
    "bench-evaluation": bench("bench-evaluation"),
    "bench-start-up": bench("bench-start-up"),
    "bench-larger-than-memory": study("bench-larger-than-memory", larger_than_memory.markdown),
    "table3-paper": experiment("table3-paper", _with_origins),
    "gpu-agreement": Block("table3-paper", read_results, gpu_docs.agreement),
    "table3-conv-readme": Block("table3-paper", read_results, gpu_docs.convolutional),
    "gpu-rate": study("bench-gpu", gpu_docs.measured_rate),
    "gpu-steps": study("bench-gpu", gpu_docs.steps),
    "gpu-losses": study("bench-gpu", gpu_docs.losses),
    "gpu-tests": study("gpu-tests", gpu_docs.tests),
    "soak": Block("soak", lambda path: read_record(soak_record.SoakResults, path), soak_record.markdown),
    "conv-collapse": Block("conv-collapse-paper", read_results, gpu_docs.collapsed),
    "conv-start": study("conv-start-paper", gpu_docs.conv_start),
    "table4-excerpt": experiment("table4-excerpt", _with_origins),
    "table4-excerpt-losses": Block("table4-excerpt", read_results, losses_table),
    "encoder-start": study("encoder-start-laptop", encoder_start.markdown),
}

FIGURES = [*LIKELIHOODS, *(f"figure{number}-laptop" for number in (2, 3, 6, 7, 9, 10)), "restoration-a-laptop"]
"""Figures drawn by `reproduce` that the docs show."""

SPEED = ("step", "step-2-threads", "loss")
"""Benchmarks that docs/speed.md plots."""


def updated(text: str) -> str:
    """Return the text of a page with every known block generated again."""

    def block_text(match: re.Match[str]) -> str:
        name = match[1]
        if name not in BLOCKS:
            return match[0]
        text = BLOCKS[name].text()
        if text is None:
            print(f"missing: results/{BLOCKS[name].file}.json; block {name} is unchanged", file=sys.stderr)
            return match[0]
        return f"<!-- begin: {name} -->\n{text}<!-- end: {name} -->"

    return re.sub(r"<!-- begin: (\S+) -->\n.*?<!-- end: \1 -->", block_text, text, flags=re.S)


def labelled(rows: list[tuple[str, Image.Image]], width: int) -> Image.Image:
    """Arrange pictures in a column, each with its title above it."""
    font = ImageFont.load_default(18)
    height = sum(picture.height + 30 for _, picture in rows)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    top = 0
    for name, picture in rows:
        draw.text((2, top + 4), name, fill=INK, font=font)
        canvas.paste(picture, (0, top + 28))
        top += picture.height + 30
    return canvas


COLUMNS = 18
"""Digits in a row of a picture."""


def _doubled(rows: list[tuple[str, torch.Tensor]]) -> Image.Image:
    """Arrange grids of digits in a column, each with its title above it, at twice their size."""
    grids = [(name, image_grid.grid(images, COLUMNS, scale=1).convert("RGB")) for name, images in rows]
    big = [(name, grid.resize((2 * grid.width, 2 * grid.height), 0)) for name, grid in grids]
    return labelled(big, big[0][1].width)


def _are_trained(folders: Iterable[Path]) -> bool:
    return all((folder / "weights.safetensors").is_file() for folder in folders)


@torch.inference_mode()
def overview(results: ExperimentResults, runs: Path) -> Image.Image | None:
    """Draw real digits, their reconstructions by the VAE (MLP) with each loss, and samples.

    Returns:
        None if the runs are not under `runs`.
    """
    folders = {row.loss: runs / row.runs[0] for row in results.rows if row.model == "vae-mlp"}
    if not _are_trained(folders.values()):
        return None
    names = {"l2": "squared L2", "log-cosh": "log-cosh, a = 100"}
    models = {name: load(folders[loss]) for loss, name in names.items()}
    real = random_test_images(folders["l2"], COLUMNS, 1)
    rows = [("real test digits", real)]
    rows += [(f"reconstructed, {name}", reconstruct(model, real)) for name, model in models.items()]
    rows += [(f"generated, {name}", generate(model, 2 * COLUMNS, 0)) for name, model in models.items()]
    return _doubled(rows)


@torch.inference_mode()
def likelihood_overview(results: ExperimentResults, runs: Path) -> Image.Image | None:
    """Draw samples of the paper's setting from the prior, and of it, its rival and the learned one from the mixture.

    Returns:
        None if the runs are not under `runs`.
    """
    found = StudyRows.of(results)
    if found is None:
        return None
    squared = next(row for row in found.grids["l2"] if row.weight == 1.0)
    drawn = [
        ("squared L2, the prior", squared, "standard"),
        ("the paper's setting (log-cosh, a = 100, weight 1), the prior", found.paper, "standard"),
        ("the paper's setting, mixture fitted to the codes", found.paper, "mixture"),
        ("nothing set: learned scale and shape, mixture fitted to the codes", found.shape, "mixture"),
    ]
    if not _are_trained(runs / row.runs[0] for _, row, _ in drawn):
        return None
    rows = []
    for name, row, prior in drawn:
        model = load(runs / row.runs[0])
        metric = "fid" if prior == "standard" else f"fid_{prior}"
        density = density_of_run(runs / row.runs[0], model, prior)
        fid = format_value("fid", row.metrics[metric].mean)
        rows.append((f"{name}: FID {fid}", generate(model, 2 * COLUMNS, 0, density)))
    return _doubled(rows)


OVERVIEWS = {"vae-mlp": ("table1-paper", overview), "learned": ("likelihood-paper", likelihood_overview)}
"""Pictures of digits: the results that name the runs, and what draws them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", default=[ROOT / "runs"])
    stores: list[Path] = parser.parse_args().runs
    for name, (file, draw) in OVERVIEWS.items():
        results = read_results(RESULTS / f"{file}.json")
        for picture in [found for store in stores if (found := draw(results, store)) is not None][:1]:
            image_grid.save(picture, PICTURES / f"{name}.png")
    for name in FIGURES:
        drawn = [store / f"{name}.png" for store in stores if (store / f"{name}.png").is_file()]
        if drawn:
            shutil.copyfile(drawn[0], PICTURES / f"{name}.png")
    speed = {name: _read_bench(RESULTS / f"bench-{name}.json") for name in SPEED}
    image_grid.save(speed_plots.steps([speed["step"], speed["step-2-threads"]]), PICTURES / "bench-step.png")
    image_grid.save(speed_plots.losses(speed["loss"]), PICTURES / "bench-loss.png")
    for name in (*OVERVIEWS, *FIGURES):
        if not (PICTURES / f"{name}.png").is_file():
            print(f"missing: {PICTURES / name}.png; pass the folder of its runs with --runs", file=sys.stderr)
    for name in PAGES:
        page = ROOT / name
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
