"""What the paper's runs, and larger ones, would cost on one, 8 and 64 GPUs: operations are counted, rates are assumed.

    python benchmarks/scaling.py        seconds

Writes `results/scaling.json`. Nothing was measured on several GPUs. `ASSUMED` holds every number that is taken from a
data sheet or from experience; the rates of reading and decoding pictures are those of `results/bench-data.json` and
`bench-prepare.json`.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from logcosh_vae.base.environment import describe
from logcosh_vae.base.records import read_record
from logcosh_vae.bench.records import BenchResults
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.models.networks import ImageShape
from logcosh_vae.reporting.tables import duration
from logcosh_vae.training.builders import build_model
from logcosh_vae.training.config import DataConfig, ModelConfig, TrainConfig, required, resolve
from logcosh_vae.training.distributed import BUCKET_MB

ROOT = Path(__file__).resolve().parents[1]

ASSUMED = {
    "dense bfloat16 operations a second of a GPU": 989e12,
    "share of them that a convolutional step reaches": 0.4,
    "bytes a second between two GPUs of a machine, each way": 450e9,
    "bytes a second between two machines, each way": 50e9,
    "GPUs of a machine": 8,
    "seconds that a message takes however short it is": 20e-6,
    "seconds of a step that no device computes in (launches, Python)": 2e-3,
    "bytes a second that a machine reads from its disks": 10e9,
    "processor cores of a machine": 96,
}


@dataclass(frozen=True)
class Work:
    """A training: what it is called, its network's images, how many, how often, how many at once."""

    name: str
    image_shape: ImageShape
    images: int
    epochs: int
    batch: int
    grows: bool  # whether the batch may grow with the number of GPUs


def works() -> list[Work]:
    celeba = resolve(TrainConfig(DataConfig("celeba"), ModelConfig("vae", "conv")))
    epochs = required(celeba.epochs, "epochs")
    return [
        Work("the paper's VAE on CelebA, its batch of 100", (3, 64, 64), 162_770, epochs, 100, False),
        Work("100 million pictures of 256x256, 100 a GPU", (3, 256, 256), 100_000_000, 3, 100, True),
    ]


def counted(image_shape: ImageShape) -> dict[str, int]:
    """Operations of a training step an image, parameters, and the messages of a step."""
    config = resolve(TrainConfig(DataConfig("celeba"), ModelConfig("vae", "conv")))
    with torch.device("meta"):
        model = build_model(config, image_shape)
        x = torch.empty(2, *image_shape)
    with FlopCounterMode(display=False) as counter:
        output = model(x)
        (output.x_hat.sum() + output.z.sum()).backward()
    normalisations = sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    parameters = sum(weight.numel() for weight in model.parameters())
    return {
        "operations_an_image": counter.get_total_flops() // 2,
        "parameters": parameters,
        "statistics_a_step": 4 * normalisations,
        "gradient_messages_a_step": -(-4 * parameters // (BUCKET_MB << 20)),
    }


def estimate(work: Work, gpus: int, batches_a_second: float) -> dict[str, Any]:
    """Seconds of a step by cause, and hours of the whole."""
    count = counted(work.image_shape)
    most = gpus if work.grows else min(gpus, math.gcd(work.batch, gpus))
    machines = -(-most // int(ASSUMED["GPUs of a machine"]))
    own = work.batch if work.grows else work.batch // most
    rate = (
        ASSUMED["dense bfloat16 operations a second of a GPU"]
        * ASSUMED["share of them that a convolutional step reaches"]
    )
    link = "two machines, each way" if machines > 1 else "two GPUs of a machine, each way"
    bandwidth = ASSUMED[f"bytes a second between {link}"]
    message = ASSUMED["seconds that a message takes however short it is"]
    sent = 2 * 4 * count["parameters"] * (most - 1) / most
    # gradients travel beside the backward pass, which is two thirds of the operations; the last ones are waited for
    beside = 2 / 3 * own * count["operations_an_image"] / rate
    gradients = sent / bandwidth + count["gradient_messages_a_step"] * message
    waited = max(gradients - beside, gradients / count["gradient_messages_a_step"])
    size = math.prod(work.image_shape)
    here = own * min(most, int(ASSUMED["GPUs of a machine"]))  # images that a machine feeds in a step
    steps = {
        "computing": own * count["operations_an_image"] / rate
        + ASSUMED["seconds of a step that no device computes in (launches, Python)"],
        "waiting for messages": 0.0 if most == 1 else waited + count["statistics_a_step"] * message,
        "reading": here * size / ASSUMED["bytes a second that a machine reads from its disks"],
        "converting": here * size / (3 * 64 * 64) / 100 / batches_a_second / ASSUMED["processor cores of a machine"],
    }
    in_parallel = {"devices": steps["computing"] + steps["waiting for messages"]} | {
        name: steps[name] for name in ("reading", "converting")
    }
    slowest = max(in_parallel, key=lambda name: in_parallel[name])
    whole = work.images * work.epochs / (own * most)
    if slowest == "devices":
        slowest = max(("computing", "waiting for messages"), key=lambda name: steps[name])
    return {
        "gpus": gpus,
        "used": most,
        "images_a_gpu": own,
        "step_seconds": steps,
        "bottleneck": slowest,
        "hours": whole * max(in_parallel.values()) / 3600,
    }


def markdown(results: StudyResults) -> str:
    """What each training costs on each number of GPUs, and on what that rests."""
    causes = list(results.rows[0]["estimates"][0]["step_seconds"])
    lines = []
    for row in results.rows:
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
    lines += [f"- assumed: {name}: {value:g}" for name, value in results.more["assumed"].items()]
    lines += [f"- measured: {name}: {value:,.0f}" for name, value in results.more["measured"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    started = time.perf_counter()
    data = read_record(BenchResults, ROOT / "results" / "bench-data.json")
    colour = next(row for row in data.rows if "64x64" in row.what)
    rate = 1.0 / colour.seconds["logcosh-vae"].median
    rows = [
        {
            "work": work.name,
            "image_shape": list(work.image_shape),
            "images": work.images,
            "epochs": work.epochs,
            **counted(work.image_shape),
            "estimates": [estimate(work, gpus, rate) for gpus in (1, 8, 64)],
        }
        for work in works()
    ]
    for row in rows:
        print(json.dumps(row, indent=1))
    write_results(
        StudyResults(
            experiment="scaling",
            rows=tuple(rows),
            environment=describe(),
            seconds=round(time.perf_counter() - started, 1),
            more={"assumed": ASSUMED, "measured": {"batches of 100 64x64 colour images a second, one core": rate}},
        ),
        ROOT / "results" / "scaling.json",
    )


if __name__ == "__main__":
    main()
