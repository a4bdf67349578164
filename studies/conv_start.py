"""Why does the paper's VAE (Conv) need a careful start? Records the first steps at full width for several starts.

    python studies/conv_start.py [--steps 60] [--data-root FOLDER]

Takes about 25 minutes on one core. Writes `results/conv-start-paper.json`, which docs/results.md shows.

With torch's default initial weights and Adam's default momentum, the logits of the last layer saturate in the first
steps; with squared L2 and L1, training may then end with black images. For every loss and every start, the results hold
the logits and the terms of the objective along the first steps.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from logcosh_vae.base.environment import describe
from logcosh_vae.data import load_images
from logcosh_vae.data.batches import training_batches
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.paper.tables import LOSSES, configuration
from logcosh_vae.training.builders import autoencoding_step, build_model, build_objective, build_optimizer
from logcosh_vae.training.config import resolve
from logcosh_vae.training.loop import make_generator, update
from logcosh_vae.training.session import on_threads

ROOT = Path(__file__).resolve().parents[1]

STARTS = {
    "torch's initial weights, beta1 = 0.9": (True, 0.9),
    "initial weights by fan-in, beta1 = 0.9": (False, 0.9),
    "initial weights by fan-in, beta1 = 0.5": (False, 0.5),
}
"""Whether the last layer has torch's default initial weights, and `beta1` of Adam."""


def first_steps(loss: str, by_torch: bool, beta1: float, steps: int, images: Tensor) -> list[dict[str, Any]]:
    """Train for some steps; returns the logits and the terms of the objective at the first three and every tenth.

    Args:
        loss: name of the reconstruction loss.
        by_torch: whether the last layer has torch's default initial weights.
        beta1: first coefficient of Adam.
        steps: number of steps.
        images: uint8 training images, `(N, 1, 28, 28)`.
    """
    config = configuration("mnist", "vae-conv", loss)
    optimizer_config = replace(config.optimizer, betas=(beta1, 0.999))
    config = resolve(replace(config, optimizer=optimizer_config, batch_size=50, bfloat16=True))
    model = build_model(config, (1, 28, 28)).train()
    last = [layer for layer in model.decoder.modules() if isinstance(layer, nn.ConvTranspose2d)][-1]
    if by_torch:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            last.reset_parameters()
    logits: list[Tensor] = []
    last.register_forward_hook(lambda layer, inputs, output: logits.append(output.detach().float()))  # noqa: ARG005
    step, optimizer = autoencoding_step(model, build_objective(config)), build_optimizer(config, model)
    noise, points = make_generator(0, "noise", 1), []
    for index, batch in enumerate(
        training_batches(images, config.batch_size, make_generator(0, "shuffle", 1)), start=1
    ):
        losses = update(step, optimizer, batch, noise, compute_loss=True)
        (shown,) = logits
        logits.clear()
        if index <= 3 or index % 10 == 0:
            points.append(
                {
                    "step": index,
                    "logits": {
                        "mean": float(shown.mean()),
                        "std": float(shown.std()),
                        "min": float(shown.min()),
                        "max": float(shown.max()),
                    },
                    # mean derivative of the sigmoid, by which the gradients of the logits are scaled
                    "derivative": float((shown.sigmoid() * (-shown).sigmoid()).mean()),
                    **{name: float(value) for name, value in losses.items()},
                }
            )
        if index == steps:
            break
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    images = load_images("mnist", "train", root=arguments.data_root).images
    started, rows = time.perf_counter(), []
    for loss in LOSSES:
        for name, (by_torch, beta1) in STARTS.items():
            with on_threads(1):
                points = first_steps(loss, by_torch, beta1, arguments.steps, images)
            end = points[-1]
            print(
                f"{loss}, {name}: logits {end['logits']['mean']:.1f} +- {end['logits']['std']:.1f}, derivative "
                f"{end['derivative']:.2g}, squared L2 {end['squared_l2']:.1f}, KL {end['kl']:.2f}",
                flush=True,
            )
            rows.append({"data": "mnist", "model": "vae-conv", "loss": loss, "start": name, "steps": points})
    result = StudyResults(
        experiment="conv-start",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        profile="paper",
    )
    write_results(result, ROOT / "results" / "conv-start-paper.json")


if __name__ == "__main__":
    main()
