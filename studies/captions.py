"""Does restoration remove text that another program has drawn? Restores five captioned photographs with the command.

    python studies/captions.py [--model RUN ...]

Takes less than a minute on two cores. Writes `results/captions.json` and `docs/images/captions.jpg`, which
docs/restoration.md shows.

Every photograph is restored three times: with text as PNG, with text as JPEG, and without text, which should leave it
unchanged. Without `--model` both networks that are shipped with the package are used. None of the strings, fonts and
photographs was used in training. Needs ImageMagick (`convert`) and the packages scikit-image and matplotlib, whose
sample photographs are in the public domain or CC0.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import atomic_write
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.metrics.image_quality import psnr, ssim
from logcosh_vae.paper.drawing import Panel, compose
from logcosh_vae.reporting.markdown import provenance

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 380
"""Width of each photograph in the picture, in pixels."""

QUALITY = 90
"""Quality of the JPEGs."""

CHANGED = 8 / 255
"""A pixel counts as changed if a channel changes by more than this."""


@dataclass(frozen=True)
class Caption:
    """Text as a person would put it on a photograph.

    Attributes:
        photograph: a package and a file in it.
        kind: kind of text, shown in tables.
        options: options of ImageMagick that draw the text.
    """

    photograph: tuple[str, str]
    kind: str
    options: str


CAPTIONS = (
    Caption(
        ("skimage", "data/astronaut.png"),
        "subtitles",
        "-gravity south -pointsize 26 -fill yellow -stroke black -strokewidth 1 "
        "-annotate +0+52 'We are ready for the launch,' -annotate +0+20 'all systems are go.'",
    ),
    Caption(
        ("skimage", "data/chelsea.png"),
        "caption, outlined",
        "-gravity north -pointsize 34 -fill white -stroke black -strokewidth 3 -annotate +0+12 'MONDAY MORNING' "
        "-stroke none -annotate +0+12 'MONDAY MORNING'",
    ),
    Caption(
        ("skimage", "data/coffee.png"),
        "date and place",
        "-gravity southeast -pointsize 22 -fill orange -annotate +16+14 '2019-03-14 08:52' "
        "-gravity northwest -fill white -annotate +16+14 'Breakfast in Lisbon'",
    ),
    Caption(
        ("skimage", "data/rocket.jpg"),
        "labels",
        "-pointsize 18 -fill red -annotate +330+120 'second stage' -fill lime -annotate +120+250 'launch tower' "
        "-fill white -annotate +330+330 'pad 40'",
    ),
    Caption(
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        "watermark, repeated",
        "-gravity center -pointsize 30 -fill '#c8c8c8' "
        + " ".join(f"-annotate -20x-20+0{down:+d} 'SAMPLE - DO NOT COPY'" for down in (-220, -110, 0, 110, 220)),
    ),
)


def path_of(package: str, file: str) -> Path:
    """Return the path of a file in an installed package; exits with an error if the package is missing."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(
            f"error: the sample photographs of {package} are missing; run: pip install scikit-image matplotlib"
        )
    return Path(found.origin).parent / file


def image(path: Path) -> Tensor:
    """Read an image file as RGB, `(3, H, W)` in [0, 1]."""
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255.0


def caption_all(folder: Path) -> None:
    """Write `clean/N.png`, `captioned/N.png` and `stored/N.jpg` (captioned, as JPEG) for every photograph."""
    convert = shutil.which("convert")
    if convert is None:
        raise SystemExit("error: convert is not installed; install ImageMagick")
    for name in ("clean", "captioned", "stored"):
        (folder / name).mkdir()
    for number, caption in enumerate(CAPTIONS):
        clean = folder / "clean" / f"{number}.png"
        with Image.open(path_of(*caption.photograph)) as picture:
            picture.convert("RGB").save(clean)
        subprocess.run([convert, clean, *shlex.split(caption.options), folder / "captioned" / clean.name], check=True)
        with Image.open(folder / "captioned" / clean.name) as picture:
            picture.convert("RGB").save(folder / "stored" / f"{number}.jpg", quality=QUALITY)


def row_of(folder: Path, number: int, network: str) -> dict[str, object]:
    """Return the measurements of one photograph restored by one network.

    Args:
        folder: what `caption_all` wrote, and the restored pictures in folders named after the network.
        number: index into `CAPTIONS`.
        network: name or run folder of the network.
    """
    caption, name, given = CAPTIONS[number], f"{number}.png", folder / Path(network).name
    clean, captioned, restored = (
        image(each / name) for each in (folder / "clean", folder / "captioned", given / "captioned")
    )
    stored, bare = image(given / "stored" / f"{number}.jpg"), image(given / "clean" / name)
    covered = (captioned - clean).abs().amax(dim=0) > 0.02

    def error(shown: Tensor, where: Tensor) -> float:
        return float((shown - clean).abs()[:, where].mean())

    return {
        "photograph": Path(caption.photograph[1]).name,
        "text": caption.kind,
        "network": Path(network).name,
        "covered": float(covered.float().mean()),
        "ssim": {"captioned": ssim(captioned, clean), "restored": ssim(restored, clean)},
        "psnr": {"captioned": psnr(captioned, clean), "restored": psnr(restored, clean)},
        "error_under_text": {"captioned": error(captioned, covered), "restored": error(restored, covered)},
        "error_elsewhere": error(restored, ~covered),
        "stored": {
            "captioned": error(image(folder / "stored" / f"{number}.jpg"), covered),
            "restored": error(stored, covered),
        },
        "without_text": {
            "ssim": ssim(bare, clean),
            "changed": float(((bare - clean).abs().amax(dim=0) > CHANGED).float().mean()),
        },
    }


def panel(title: str, path: Path) -> Panel:
    """Return a picture file as a panel `WIDTH` pixels wide."""
    with Image.open(path) as picture:
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        return title, picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown: photographs before and after restoration, by network."""
    lines = [
        "| photograph | text | pixels covered | network | SSIM | error under the text, of 255 "
        "| the same, stored as JPEG | error elsewhere | without text: SSIM, pixels changed |",
        "|---|---|--:|---|---|---|---|--:|---|",
    ]
    known: set[str] = set()
    for row in results.rows:
        stored, bare = row["stored"], row["without_text"]
        ssims, errors = (
            " to ".join(f"{scale * row[key][version]:.{digits}f}" for version in ("captioned", "restored"))
            for key, scale, digits in (("ssim", 1, 3), ("error_under_text", 255, 0))
        )
        name = row["photograph"]
        first = " | | " if name in known else f" {name} | {row['text']} | {100 * row['covered']:.1f}%"
        known.add(name)
        lines.append(
            f"|{first} | `{row['network']}` | {ssims} | {errors} "
            f"| {255 * stored['captioned']:.0f} to {255 * stored['restored']:.0f} "
            f"| {255 * row['error_elsewhere']:.1f} | {bare['ssim']:.3f}, {100 * bare['changed']:.1f}% |"
        )
    return "\n".join(lines) + "\n\n" + provenance(results.environment, f"{results.environment.cores} cores")


def draw(folder: Path, networks: list[str], path: Path) -> None:
    """Draw every captioned photograph beside the restored ones, and save the picture as JPEG."""
    panels = []
    for number, caption in enumerate(CAPTIONS):
        names = [Path(network).name for network in networks]
        shown = [panel(f"by {name}", folder / name / "captioned" / f"{number}.png") for name in names]
        panels.append([panel(caption.kind, folder / "captioned" / f"{number}.png"), *shown])
    with atomic_write(path) as aside:
        compose(panels).save(aside, format="JPEG", quality=90, subsampling=0)  # half the size of a PNG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["text", "captions"])
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "captions.jpg")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        caption_all(folder)
        started = time.perf_counter()
        for network, given in product(arguments.model, ("captioned", "stored", "clean")):
            command = [sys.executable, "-m", "logcosh_vae", "restore", folder / given, "--model", network]
            out = folder / Path(network).name / given
            subprocess.run([*command, "--no-find-text", "-o", out], check=True)
        seconds = time.perf_counter() - started
        rows = [row_of(folder, *each) for each in product(range(len(CAPTIONS)), arguments.model)]
        draw(folder, arguments.model, arguments.picture)
    for row in rows:
        print(row)
    result = StudyResults(experiment="captions", rows=tuple(rows), environment=describe(), seconds=round(seconds, 1))
    write_results(result, arguments.results / "captions.json")


if __name__ == "__main__":
    main()
