"""Bring README and docs up to date with `results/`: tables and pictures are made here and nowhere else.

    python tools/update_docs.py [--runs runs]

Each `<!-- begin: NAME -->` ... `<!-- end: NAME -->` block of a page is replaced by what `BLOCKS` makes of the results.
Pictures need the runs that the results name; where those are missing, the pictures stay as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from logcosh_vae import images, load
from logcosh_vae.evaluation import generate, random_test_images, reconstruct
from logcosh_vae.presentation import epochs_text, findings, format_change, format_value, markdown_table, model_text
from logcosh_vae.terminal import duration

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/results.md")
INK, SOFT = (28, 28, 30), (98, 98, 106)


def provenance(results: Mapping[str, Any]) -> str:
    """One paragraph: profile, seeds, features, machine, time."""
    environment, features = results["environment"], results["features"]
    seeds = len(results["rows"][0]["seeds"])
    training = sum(sum(row["training_seconds"]["values"]) for row in results["rows"])
    return (
        f"Profile `{results['profile']}`: {epochs_text(results)}, {seeds} "
        f"seed{'s' if seeds > 1 else ''}, mean ± standard deviation. Changes are against squared L2 of the same "
        f"model. FID in the features of `{features['name']}` ({features['fingerprint']}, test accuracy "
        f"{100 * features['test_accuracy']:.2f}%), {results['evaluation']['fid_images']:,} samples against the "
        f"{results['real']['count']:,} test images; floor (training images in place of samples) "
        f"{format_value('fid', results['floor']['fid'])}; real images have a sharpness of "
        f"{results['floor']['sharpness']:.3f}. {environment['machine']}, {environment['cores']} cores, one thread a "
        f"run; Python {environment['versions']['python']}, torch {environment['versions']['torch']}; "
        f"{duration(training)} of training in {results['runs']['total']} runs; commit {environment['commit']}.\n"
    )


def table(results: Mapping[str, Any]) -> str:
    return markdown_table(results) + "\n" + provenance(results)


def sentences(results: Mapping[str, Any]) -> str:
    return "".join(f"- {sentence}\n" for sentence in findings(results))


def study(results: Mapping[str, Any]) -> str:
    """What log-cosh changes in the FID, by features and by where the images come from."""
    kinds = ["samples", "samples from codes of images", "reconstructions"]
    measured = {(row["features"], row["model"], row["loss"]): row["fid"] for row in results["rows"] if "fid" in row}
    lines = ["| features | test accuracy | model | " + " | ".join(kinds) + " |", "|" + "---|" * (3 + len(kinds))]
    for row in (row for row in results["rows"] if "fingerprint" in row):
        for model in dict.fromkeys(key[1] for key in measured):
            l2, log_cosh = (measured[row["features"], model, loss] for loss in ("l2", "log-cosh"))
            cells = [
                f"{format_value('fid', l2[kind])} to {format_value('fid', log_cosh[kind])} "
                f"({format_change(100 * (log_cosh[kind] / l2[kind] - 1))})"
                for kind in kinds
            ]
            accuracy = f"{100 * row['test_accuracy']:.2f}%"
            lines.append(f"| {row['features']} | {accuracy} | {model_text(model)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


BLOCKS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "table1-paper": ("table1-paper", table),
    "table1-paper-findings": ("table1-paper", sentences),
    "fid-study": ("fid-study-paper", study),
}


def updated(text: str) -> str:
    """A page's text with every known block made anew."""

    def made(match: re.Match[str]) -> str:
        name = match[1]
        if name not in BLOCKS:
            return match[0]
        file, make = BLOCKS[name]
        results = json.loads((ROOT / "results" / f"{file}.json").read_text(encoding="utf-8"))
        return f"<!-- begin: {name} -->\n{make(results)}<!-- end: {name} -->"

    return re.sub(r"<!-- begin: (\S+) -->\n.*?<!-- end: \1 -->", made, text, flags=re.S)


def labelled(rows: list[tuple[str, Image.Image]], width: int) -> Image.Image:
    """Pictures under each other, each with its name above it."""
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


@torch.inference_mode()
def overview(results: Mapping[str, Any], runs: Path) -> Image.Image | None:
    """Real digits, what the VAE (MLP) makes of them with each loss, and samples; None without the runs."""
    folders = {row["loss"]: runs / row["runs"][0] for row in results["rows"] if row["model"] == "vae-mlp"}
    if not all((folder / "weights.safetensors").is_file() for folder in folders.values()):
        return None
    columns = 18
    real = random_test_images(folders["l2"], columns, 1)
    rows = [("real test digits", images.grid(real, columns, scale=1))]
    for loss, name in (("l2", "squared L2"), ("log-cosh", "log-cosh, a = 100")):
        model = load(folders[loss])
        rows.append((f"reconstructed, {name}", images.grid(reconstruct(model, real), columns, scale=1)))
        rows.append((f"generated, {name}", images.grid(generate(model, 2 * columns, 0), columns, scale=1)))
    order = [0, 1, 3, 2, 4]
    big = [(rows[i][0], rows[i][1].resize((2 * rows[i][1].width, 2 * rows[i][1].height), 0)) for i in order]
    return labelled([(n, p.convert("RGB")) for n, p in big], big[0][1].width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    arguments = parser.parse_args()
    results = json.loads((ROOT / "results" / "table1-paper.json").read_text(encoding="utf-8"))
    picture = overview(results, arguments.runs)
    if picture is None:
        print(f"no runs in {arguments.runs}: pictures left as they are", file=sys.stderr)
    else:
        images.save(picture, ROOT / "docs" / "images" / "vae-mlp.png")
    for name in PAGES:
        page = ROOT / name
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
