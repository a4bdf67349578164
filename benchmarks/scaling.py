"""Estimate the cost of the paper's runs, and of larger ones, on 1, 8 and 64 GPUs.

    python benchmarks/scaling.py

Takes a few seconds. Writes `results/scaling.json`, which docs/scaling.md shows.

Nothing is measured on several GPUs: operations are counted, and rates are assumed. `ASSUMED` holds every number that is
taken from a data sheet or from experience. The rate of converting images is that of `results/bench-data.json`.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
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
    """A training run to estimate.

    Attributes:
        name: name in the results.
        image_shape: channels, height and width.
        images: number of training images.
        epochs: number of epochs.
        batch: images per step; per GPU if `grows`.
        grows: whether the batch grows with the number of GPUs.
    """

    name: str
    image_shape: ImageShape
    images: int
    epochs: int
    batch: int
    grows: bool


def works() -> list[Work]:
    """Return the training runs to estimate."""
    celeba = resolve(TrainConfig(DataConfig("celeba"), ModelConfig("vae", "conv")))
    epochs = required(celeba.epochs, "epochs")
    return [
        Work("the paper's VAE on CelebA, its batch of 100", (3, 64, 64), 162_770, epochs, 100, False),
        Work("100 million pictures of 256x256, 100 a GPU", (3, 256, 256), 100_000_000, 3, 100, True),
    ]


def counted(image_shape: ImageShape) -> dict[str, int]:
    """Return operations per image and training step, parameters, and the numbers of messages per step."""
    config = resolve(TrainConfig(DataConfig("celeba"), ModelConfig("vae", "conv")))
    with torch.device("meta"):
        model = build_model(config, image_shape)
    # count with fake CPU tensors, which have no data either: the networks ask for the autocast state of their device,
    # and the meta device has none
    with FakeTensorMode():
        tensors = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)
            for name, tensor in chain(model.named_parameters(), model.named_buffers())
        }
        with FlopCounterMode(display=False) as counter:
            output = functional_call(model, tensors, (torch.empty(2, *image_shape),))
            (output.x_hat.sum() + output.z.sum()).backward()
    normalisations = sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    parameters = sum(weight.numel() for weight in model.parameters())
    return {
        "operations_an_image": counter.get_total_flops() // 2,
        "parameters": parameters,
        "statistics_a_step": 4 * normalisations,
        "gradient_messages_a_step": -(-4 * parameters // (BUCKET_MB << 20)),
    }


def step_seconds(work: Work, used: int, own: int, batches_a_second: float) -> dict[str, float]:
    """Return the seconds of a step by cause.

    Args:
        work: the training run.
        used: number of GPUs that the run uses.
        own: images per GPU and step.
        batches_a_second: batches of 100 colour images of 64x64 that one core converts in a second.
    """
    count = counted(work.image_shape)
    machines = -(-used // int(ASSUMED["GPUs of a machine"]))
    rate = (
        ASSUMED["dense bfloat16 operations a second of a GPU"]
        * ASSUMED["share of them that a convolutional step reaches"]
    )
    link = "two machines, each way" if machines > 1 else "two GPUs of a machine, each way"
    bandwidth = ASSUMED[f"bytes a second between {link}"]
    message = ASSUMED["seconds that a message takes however short it is"]
    sent = 2 * 4 * count["parameters"] * (used - 1) / used
    # all-reduce overlaps with the backward pass, two thirds of the operations; the last bucket cannot overlap
    overlap = 2 / 3 * own * count["operations_an_image"] / rate
    gradients = sent / bandwidth + count["gradient_messages_a_step"] * message
    waited = max(gradients - overlap, gradients / count["gradient_messages_a_step"])
    size = math.prod(work.image_shape)
    read = own * min(used, int(ASSUMED["GPUs of a machine"]))  # images that one machine reads per step
    return {
        "computing": own * count["operations_an_image"] / rate
        + ASSUMED["seconds of a step that no device computes in (launches, Python)"],
        "waiting for messages": 0.0 if used == 1 else waited + count["statistics_a_step"] * message,
        "reading": read * size / ASSUMED["bytes a second that a machine reads from its disks"],
        "converting": read * size / (3 * 64 * 64) / 100 / batches_a_second / ASSUMED["processor cores of a machine"],
    }


def estimate(work: Work, gpus: int, batches_a_second: float) -> dict[str, Any]:
    """Return the seconds of a step by cause, the bottleneck, and the hours of the whole training.

    Args:
        work: the training run.
        gpus: number of GPUs available.
        batches_a_second: see `step_seconds`.
    """
    used = gpus if work.grows else min(gpus, math.gcd(work.batch, gpus))
    own = work.batch if work.grows else work.batch // used
    seconds = step_seconds(work, used, own, batches_a_second)
    in_parallel = {
        "devices": seconds["computing"] + seconds["waiting for messages"],
        "reading": seconds["reading"],
        "converting": seconds["converting"],
    }
    bottleneck = max(in_parallel, key=lambda name: in_parallel[name])
    if bottleneck == "devices":
        bottleneck = max(("computing", "waiting for messages"), key=lambda name: seconds[name])
    steps = work.images * work.epochs / (own * used)
    return {
        "gpus": gpus,
        "used": used,
        "images_a_gpu": own,
        "step_seconds": seconds,
        "bottleneck": bottleneck,
        "hours": steps * max(in_parallel.values()) / 3600,
    }


def markdown(results: StudyResults) -> str:
    """Return a table per training run in Markdown, then the assumptions and measurements."""
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
