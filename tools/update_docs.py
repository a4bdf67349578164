"""Bring README and docs up to date with `results/`: tables and pictures are made here and nowhere else.

    python tools/update_docs.py [--runs FOLDER ...]

Each `<!-- begin: NAME -->` ... `<!-- end: NAME -->` block of a page is replaced by what `BLOCKS` makes of the results.
Pictures are made of the runs that the results name, or are those that `reproduce` left beside them; where they are
missing, the pictures in the docs stay as they are. None shows images of CelebA, whose licence does not allow it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import gpu_docs
import speed_plots
import torch
from PIL import Image, ImageDraw, ImageFont

from logcosh_vae import load
from logcosh_vae.base import image_grid
from logcosh_vae.bench import loss as loss_bench
from logcosh_vae.evaluation.evaluate import generate, random_test_images, reconstruct
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.reporting.narrative import Narrative
from logcosh_vae.reporting.tables import (
    LOSS_NAMES,
    duration,
    format_change,
    format_value,
    markdown_table,
    model_text,
    time_text,
)

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images"
PAGES = ("README.md", "docs/results.md", "docs/data.md", "docs/restoration.md", "docs/speed.md", "docs/scaling.md")
INK, SOFT = (28, 28, 30), (98, 98, 106)


def words(results: Mapping[str, Any]) -> Narrative:
    return EXPERIMENTS[results["experiment"]].narrative


def table(results: Mapping[str, Any]) -> str:
    return markdown_table(results) + "\n" + words(results).provenance(results)


def sentences(results: Mapping[str, Any]) -> str:
    """What the results say, as `reproduce` prints it."""
    return "".join(f"- {sentence}\n" for sentence in words(results).findings(results))


def table_and_sentences(results: Mapping[str, Any]) -> str:
    return table(results) + "\n" + sentences(results)


def figure_and_sentences(results: Mapping[str, Any]) -> str:
    return sentences(results) + "\n" + words(results).provenance(results)


def study(results: Mapping[str, Any]) -> str:
    """What log-cosh changes in the FID, by features and by where the images come from."""
    kinds = ["samples", "samples from codes of images", "reconstructions"]
    measured = {(row["features"], row["model"], row["loss"]): row["fid"] for row in results["rows"] if "fid" in row}
    lines = ["| features | test accuracy | model | " + " | ".join(kinds) + " |", "|" + "---|" * (3 + len(kinds))]
    for row in (row for row in results["rows"] if "fingerprint" in row):
        for model in dict.fromkeys(key[1] for key in measured):
            l2, log_cosh = (measured[row["features"], model, loss] for loss in ("l2", "log-cosh"))
            cells = [change(l2[kind], log_cosh[kind]) for kind in kinds]
            accuracy = f"{100 * row['test_accuracy']:.2f}%"
            lines.append(f"| {row['features']} | {accuracy} | {model_text(model)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def faces(results: Mapping[str, Any]) -> str:
    """What the FID of the VAE on faces is made of, by batch and learning rate."""
    rows = [row for row in results["rows"] if row["model"] == "vae-conv"]
    kinds = list(rows[0]["fid"])
    lines = ["| batch, learning rate | " + " | ".join(kinds) + " |", "|---|" + "--:|" * len(kinds)]
    for l2, log_cosh in pairwise(rows):
        if (l2["loss"], log_cosh["loss"]) == ("l2", "log-cosh"):
            cells = [change(l2["fid"][kind], log_cosh["fid"][kind]) for kind in kinds]
            mark = ", the profile's" if l2["profile"] else ""
            lines.append(f"| {l2['batch_size']}, {l2['learning_rate']:g}{mark} | " + " | ".join(cells) + " |")
    best = [min(row["fid"]["samples"] for row in rows if row["loss"] == loss) for loss in ("l2", "log-cosh")]
    return "\n".join(lines) + f"\n\nEach loss in the setting that is best for it: FID of samples {change(*best)}.\n"


def faces_by_a(results: Mapping[str, Any]) -> str:
    """FID of the WAE on faces, by `a`."""
    rows = [row for row in results["rows"] if row["model"] == "wae-conv"]
    kinds = list(rows[0]["fid"])
    lines = ["| loss | " + " | ".join(kinds) + " |", "|---|" + "--:|" * len(kinds)]
    for row in rows:
        name = LOSS_NAMES[row["loss"]] + ("" if row["a"] is None else f", a = {row['a']:g}")
        cells = [format_value("fid", row["fid"][kind]) for kind in kinds]
        if row is not rows[0]:
            changes = (100 * (row["fid"][kind] / rows[0]["fid"][kind] - 1) for kind in kinds)
            cells = [f"{cell} ({format_change(change)})" for cell, change in zip(cells, changes, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def where(results: Mapping[str, Any], threads: str) -> str:
    environment = results["environment"]
    return f"{environment['machine']}, {threads}; commit {environment['commit']}.\n"


def change(before: float, after: float) -> str:
    return (
        f"{format_value('fid', before)} to {format_value('fid', after)} ({format_change(100 * (after / before - 1))})"
    )


def prepared(results: Mapping[str, Any]) -> str:
    """What preparing large sets took."""
    lines = ["| set | pictures | memory above the imports | pictures a second |", "|---|---|--:|--:|"]
    for row in results["rows"]:
        width, height = row["picture"]
        kind = f"{row['bytes'] / 1e9:.1f} GB of {'JPEG' if row['kind'] == 'jpg' else 'PNG'}"
        holder = "zip file" if row["set"].endswith(".zip") else "folder"
        count = f"{row['pictures']:,} of {width}x{height}"
        lines.append(f"| {holder}, {kind} | {count} | {row['peak_mib']:.0f} MiB | {row['pictures_per_second']:.0f} |")
    return "\n".join(lines) + "\n\n" + where(results, f"{results['environment']['cores']} cores")


def wall_time(results: Mapping[str, Any]) -> str:
    """How long a whole command took."""
    environment = results["environment"]
    return (
        f"{results['runs']['total']} runs of one seed, {results['workers']} at a time and nothing else on the "
        f"{environment['cores']} cores ({environment['machine']}): {duration(results['seconds'])} of wall time, "
        f"measuring and report included; commit {environment['commit']}.\n"
    )


def restoring(results: Mapping[str, Any]) -> str:
    """What restoring photographs costs, and what corrupting costs of a training step."""
    rows = [f"| {row['photograph']} | {row['seconds']:.0f} | {row['peak_mib']:.0f} MiB |" for row in results["rows"]]
    step = results["step"]
    return (
        "\n".join(["| photograph | seconds | peak memory |", "|---|--:|--:|", *rows])
        + "\n\nReading, restoring and writing, by the command. Largest difference between tiled and untiled: "
        f"{results['seam_levels']}/255. Of a training step of {step['step_ms']:.0f} ms on one thread, corrupted copies "
        f"take {100 * step['share']:.0f}%. " + where(results, f"{results['environment']['cores']} cores")
    )


def shipped(results: Mapping[str, Any]) -> str:
    """What the network that comes with the package does to the paper's pictures, and how it was made."""
    names = {
        "corrupted": "with text on a quarter of their pixels",
        "network": "restored by the network",
        "command": "restored by the command, which leaves other pixels alone",
        "careful": "by the command with `--careful`",
    }
    lines = [
        f"| {len(results['rows'])} pictures of Urban100 | SSIM | lowest | highest | PSNR |",
        "|---|--:|--:|--:|--:|",
    ]
    for version, name in names.items():
        values = [row[version]["ssim"] for row in results["rows"]]
        mean = results["mean"][version]
        lines.append(f"| {name} | {mean['ssim']:.3f} | {min(values):.3f} | {max(values):.3f} | {mean['psnr']:.1f} dB |")
    train, start = results["card"]["train"], results["card"]["start"]
    begun = f"begun with the weights {start}, " if start else ""
    threads = f"{train['threads']} thread{'s' if train['threads'] > 1 else ''}"
    return (
        "\n".join(lines) + f"\n\n{train['loss']}, a = {train['a']:g}; {train['epochs'] * train['steps']:,} steps of "
        f"{train['batch_size']} patches of {train['patch']}x{train['patch']} pixels, "
        f"{begun}{duration(results['training_seconds'])} on {threads} beside other work; weights "
        f"{results['card']['fingerprint']}, {results['bytes'] / 1e6:.1f} MB; "
        + where(results["card"], "measured on 2 cores")
    )


def captioned(results: Mapping[str, Any]) -> str:
    """Photographs with text of another program, before and after, by each network."""
    lines = [
        "| photograph | text | pixels covered | network | SSIM | error under the text, of 255 "
        "| the same, stored as JPEG | error elsewhere | without text: SSIM, pixels changed |",
        "|---|---|--:|---|---|---|---|--:|---|",
    ]
    known: set[str] = set()
    for row in results["rows"]:
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
    return "\n".join(lines) + "\n\n" + where(results, f"{results['environment']['cores']} cores")


def dark(results: Mapping[str, Any]) -> str:
    """Log-cosh against L1 on pictures with much black and on the others."""
    names = {"dark": f"more than {100 * results['share']:.0f}% of the values", "others": "fewer"}
    lines = [
        f"| below {results['below']:g} | pictures | log-cosh larger | mean difference to L1 | interval | Wilcoxon p |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for part, name in names.items():
        each = results["parts"][part]
        interval = f"{each['low']:+.4f} to {each['high']:+.4f}"
        cells = [name, each["count"], each["wins"], f"{each['difference']:+.4f}", interval, f"{each['p_value']:.2g}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    said = [f"Correlation of the difference with the share of black: {results['correlation']:.2f}."]
    for loss in ("log-cosh", "l1"):
        rows = [row for row in results["black"] if row["loss"] == loss]
        true, median, with_it, without = (
            statistics.fmean(row[key] for row in rows)
            for key in ("true_median", "restored_median", "ssim", "ssim_with_black_left")
        )
        said.append(
            f"In those with much black, {LOSS_NAMES[loss]} (first seed) restores black pixels without text to a median "
            f"of {median:.4f} (clean {true:.4f}); its mean SSIM is {with_it:.3f}, and {without:.3f} if black pixels "
            "are left black."
        )
    return "\n".join(lines).replace("-0", "\N{MINUS SIGN}0") + "\n\n" + " ".join(said) + "\n"


def timed(results: Mapping[str, Any]) -> str:
    """Everyone's time, and how many times as long it is as the one's that they are compared with."""
    lines = ["| | | median | times as long | quartiles |", "|---|---|--:|--:|---|"]
    for row in results["rows"]:
        for index, (name, seconds) in enumerate(row["seconds"].items()):
            ratio = row["ratio"].get(name)
            cells = [f"**{ratio['median']:.2f}**", f"{ratio['low']:.2f} to {ratio['high']:.2f}"] if ratio else ["1", ""]
            first = "" if index else row["what"]
            lines.append(f"| {first} | {name} | {time_text(seconds['median'])} | {' | '.join(cells)} |")
    threads = f"{results['threads']} thread{'s' * (results['threads'] > 1)}, {results['rounds']} rounds"
    return "\n".join(lines) + "\n\n" + where(results, threads)


def losses_by_size(results: Mapping[str, Any]) -> str:
    """Forward and backward over the size of the tensors: how many times mse's time each loss takes."""
    names = list(results["rows"][0]["ratio"])
    lines = ["| elements | mse_loss | " + " | ".join(names) + " |", "|--:|--:|" + "--:|" * len(names)]
    for row in results["rows"]:
        cells = [f"{row['ratio'][name]['median']:.2f}" for name in names]
        mse = time_text(row["seconds"][row["against"]]["median"])
        lines.append(f"| {row['elements']:,} | {mse} | " + " | ".join(cells) + " |")
    return (
        "\n".join(lines)
        + "\n\nTimes `torch.nn.functional.mse_loss`, forward and backward; "
        + where(results, f"{results['threads']} thread, medians of {results['rounds']} rounds")
    )


def before_and_after(results: Mapping[str, Any]) -> str:
    """How many times mse's time the loss takes, before its overhead on small tensors was cut and since."""
    before = json.loads((ROOT / "results" / "bench-loss-before.json").read_text(encoding="utf-8"))
    others = [name for name in results["rows"][0]["ratio"] if name.startswith("log-cosh as in")]
    lines = ["| elements | log_cosh, before | log_cosh | LogCoshLoss | least of the published forms |"]
    lines += ["|--:|--:|--:|--:|--:|"]
    for old, new in zip(before["rows"], results["rows"], strict=True):
        ratio = {name: values["median"] for name, values in new["ratio"].items()}
        values = [
            old["ratio"][loss_bench.OURS]["median"],
            ratio[loss_bench.OURS],
            ratio[loss_bench.MODULE],
            min(ratio[name] for name in others),
        ]
        lines.append(f"| {new['elements']:,} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines) + (
        "\n\nTimes `mse_loss`, forward and backward, on one machine; "
        f"before: commit {before['environment']['commit']}. "
        + where(results, f"{results['threads']} thread, medians of {results['rounds']} rounds")
    )


def scaling(results: Mapping[str, Any]) -> str:
    """What each training costs on each number of GPUs, and on what that rests."""
    causes = list(results["rows"][0]["estimates"][0]["step_seconds"])
    lines = []
    for row in results["rows"]:
        lines += [
            f"**{row['work']}**: {row['operations_an_image'] / 1e9:.1f} billion operations an image and step, "
            f"{row['parameters'] / 1e6:.0f} million parameters, {row['images']:,} images, {row['epochs']} epochs.",
            "",
            "| GPUs | used by one run | images a GPU | "
            + " | ".join(f"{cause}, ms" for cause in causes)
            + " | bottleneck | whole |",
            "|--:|--:|--:|" + "--:|" * len(causes) + "---|--:|",
        ]
        for each in row["estimates"]:
            cells = [f"{1e3 * each['step_seconds'][cause]:.2f}" for cause in causes]
            counts = f"{each['gpus']} | {each['used']} | {each['images_a_gpu']}"
            lines.append(
                f"| {counts} | {' | '.join(cells)} | {each['bottleneck']} | {duration(3600 * each['hours'])} |"
            )
        lines.append("")
    lines += [f"- assumed: {name}: {value:g}" for name, value in results["assumed"].items()]
    lines += [f"- measured: {name}: {value:,.0f}" for name, value in results["measured"].items()]
    return "\n".join(lines) + "\n"


def in_bfloat16(results: Mapping[str, Any]) -> str:
    """The measures of runs that multiply in bfloat16 beside those in float32, seed by seed."""
    names = {"squared_l2": "squared L2 of test images", "sharpness_generated": "Sharpness, generated", "fid": "FID"}
    lines = ["| products | " + " | ".join(names.values()) + " |", "|---|" + "--:|" * len(names)]
    for row in results["rows"]:
        values = ([format_value(name, value) for value in row["metrics"][name]["values"]] for name in names)
        lines.append(f"| {row['products']} | " + " | ".join(", ".join(each) for each in values) + " |")
    said = (
        f"VAE (Conv, width {results['width']:g}) on MNIST, {results['epochs']} epochs, {len(results['seeds'])} seeds. "
    )
    return "\n".join(lines) + "\n\n" + said + where(results, "1 thread")


def out_of_memory(results: Mapping[str, Any]) -> str:
    """Training from a file that does not fit."""
    lines = ["| images | prepared | step | largest resident set |", "|---|--:|--:|--:|"]
    lines += [
        f"| {row['count']:,} | {row['bytes'] / 1e9:.1f} GB | {row['step_ms']:.0f} ms | {row['peak_mib']:,.0f} MiB |"
        for row in results["rows"]
    ]
    allowed = results["allowed_bytes"]
    limit = "no limit was set" if allowed is None else f"a limit of {allowed / 1e9:g} GB, file cache included"
    return (
        "\n".join(lines)
        + f"\n\nThe same VAE (MLP) on 256x256 pictures, in order of the runs; {limit}. "
        + where(results, f"{results['environment']['cores']} cores")
    )


BLOCKS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "table1-paper": ("table1-paper", table),
    "table1-paper-findings": ("table1-paper", sentences),
    "table1-wall-time": ("bench-table1-mlp", wall_time),
    "fid-study": ("fid-study-paper", study),
    "table3-laptop": ("table3-laptop", table_and_sentences),
    "table4-laptop": ("table4-laptop", table_and_sentences),
    "celeba-study": ("celeba-study-laptop", faces),
    "celeba-study-wae": ("celeba-study-laptop", faces_by_a),
    "bench-prepare": ("bench-prepare", prepared),
    "figure6-laptop": ("figure6-laptop", figure_and_sentences),
    "figure10-laptop": ("figure10-laptop", table_and_sentences),
    "figure10-readme": ("figure10-laptop", sentences),
    "dark-pictures": ("dark-pictures-laptop", dark),
    "restoration-laptop": ("restoration-laptop", table_and_sentences),
    "restoration-a-laptop": ("restoration-a-laptop", figure_and_sentences),
    "bench-restoration": ("bench-restoration", restoring),
    "shipped-text": ("shipped-text", shipped),
    "shipped-captions": ("shipped-captions", shipped),
    "captions": ("captions", captioned),
    "bfloat16": ("bfloat16", in_bfloat16),
    "bench-step": ("bench-step", timed),
    "bench-step-2-threads": ("bench-step-2-threads", timed),
    "bench-side-by-side": ("bench-side-by-side", timed),
    "bench-processes": ("bench-processes", timed),
    "bench-cluster": ("bench-cluster", timed),
    "scaling": ("scaling", scaling),
    "bench-loss": ("bench-loss", losses_by_size),
    "bench-step-shares": ("bench-step-shares", timed),
    "bench-loss-before": ("bench-loss", before_and_after),
    "bench-data": ("bench-data", timed),
    "bench-evaluation": ("bench-evaluation", timed),
    "bench-start-up": ("bench-start-up", timed),
    "bench-larger-than-memory": ("bench-larger-than-memory", out_of_memory),
    "table3-paper": ("table3-paper", lambda results: table_and_sentences(results) + gpu_docs.trained(results)),
    "gpu-agreement": ("table3-paper", gpu_docs.agreement),
    "gpu-agreement-readme": ("table3-paper", gpu_docs.agreement),
    "gpu-rate": ("bench-gpu", gpu_docs.measured_rate),
    "gpu-steps": ("bench-gpu", gpu_docs.steps),
    "gpu-losses": ("bench-gpu", gpu_docs.losses),
    "gpu-tests": ("gpu-tests", gpu_docs.tests),
    "conv-collapse": ("conv-collapse-paper", gpu_docs.collapsed),
    "conv-start": ("conv-start-paper", gpu_docs.conv_start),
}

FIGURES = [*(f"figure{number}-laptop" for number in (2, 3, 6, 7, 9, 10)), "restoration-a-laptop"]
"""Pictures of `reproduce` that the docs show."""

SPEED = ("step", "step-2-threads", "loss")
"""Results of `bench` that docs/speed.md plots."""


def updated(text: str) -> str:
    """A page's text with every known block made anew."""

    def made(match: re.Match[str]) -> str:
        name = match[1]
        if name not in BLOCKS:
            return match[0]
        file, make = BLOCKS[name]
        path = ROOT / "results" / f"{file}.json"
        if not path.is_file():
            print(f"missing: {path}; block {name} stays as it is", file=sys.stderr)
            return match[0]
        results = json.loads(path.read_text(encoding="utf-8"))
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
    rows = [("real test digits", image_grid.grid(real, columns, scale=1))]
    for loss, name in (("l2", "squared L2"), ("log-cosh", "log-cosh, a = 100")):
        model = load(folders[loss])
        rows.append((f"reconstructed, {name}", image_grid.grid(reconstruct(model, real), columns, scale=1)))
        rows.append((f"generated, {name}", image_grid.grid(generate(model, 2 * columns, 0), columns, scale=1)))
    order = [0, 1, 3, 2, 4]
    big = [(rows[i][0], rows[i][1].resize((2 * rows[i][1].width, 2 * rows[i][1].height), 0)) for i in order]
    return labelled([(n, p.convert("RGB")) for n, p in big], big[0][1].width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", default=[ROOT / "runs"])
    stores: list[Path] = parser.parse_args().runs
    results = json.loads((ROOT / "results" / "table1-paper.json").read_text(encoding="utf-8"))
    overviews = [picture for store in stores if (picture := overview(results, store)) is not None]
    if overviews:
        image_grid.save(overviews[0], PICTURES / "vae-mlp.png")
    for name in FIGURES:
        drawn = [store / f"{name}.png" for store in stores if (store / f"{name}.png").is_file()]
        if drawn:
            shutil.copyfile(drawn[0], PICTURES / f"{name}.png")
    speed = {name: json.loads((ROOT / "results" / f"bench-{name}.json").read_text(encoding="utf-8")) for name in SPEED}
    image_grid.save(speed_plots.steps([speed["step"], speed["step-2-threads"]]), PICTURES / "bench-step.png")
    image_grid.save(speed_plots.losses(speed["loss"]), PICTURES / "bench-loss.png")
    for name in ("vae-mlp", *FIGURES):
        if not (PICTURES / f"{name}.png").is_file():
            print(f"missing: {PICTURES / name}.png; give the folder of its runs", file=sys.stderr)
    for name in PAGES:
        page = ROOT / name
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
