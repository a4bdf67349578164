"""Why is the posterior's variance limited in a convolutional VAE? Trains on faces with and without the limit.

    python studies/encoder_start.py [--seeds 3] [--steps 1000] [--data-root FOLDER]

Takes about 15 minutes on one core. Writes `results/encoder-start-laptop.json`, which docs/results.md shows.

In the first steps Adam moves the log-variances of the posterior by several units, and the gradient of the KL divergence
is half the variance. After one gradient of that size, Adam divides those of the encoder by it for thousands of steps.
For both values of Adam's `beta1` that are in use, with and without the limit, the results hold the largest log-variance
and KL divergence of a training batch, and the terms of the objective on faces that the training does not see. They are
no test images: the last ones of the training part.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from logcosh_vae.base.environment import describe
from logcosh_vae.data.batches import training_batches
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.models.distributions import LOG_VARIANCE_RANGE
from logcosh_vae.models.networks import CONV_MAX_LOG_VARIANCE
from logcosh_vae.paper.profiles import PROFILES
from logcosh_vae.paper.tables import configuration
from logcosh_vae.training.autoencoder import split, validate
from logcosh_vae.training.builders import autoencoding_step, build_model, build_objective, build_optimizer
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.loop import make_generator, update
from logcosh_vae.training.session import on_threads

ROOT = Path(__file__).resolve().parents[1]

LIMITS = (LOG_VARIANCE_RANGE[1], CONV_MAX_LOG_VARIANCE)
"""Largest log-variances of the posterior: the one that only keeps numbers finite, and that of convolutional VAEs."""

BETA1 = (0.5, 0.9)
"""The default of convolutional networks, and that of the profile `laptop`."""

HELD_OUT = 400
"""Faces of the training part that are validated on."""

MOMENTS = (30, 60, 120, 250, 500, 1000, 2000, 4000)
"""Steps after which a model is validated, besides the last one."""


def course(config: TrainConfig, steps: int, images: Tensor) -> dict[str, Any]:
    """Train for some steps; returns the largest values on the way and the validated terms of the objective.

    Args:
        config: resolved.
        steps: number of steps.
        images: uint8 images, `(N, 3, 64, 64)`; the last `HELD_OUT` are not trained on.
    """
    model = build_model(config, (3, 64, 64))
    objective = build_objective(config, model)
    step, optimizer = autoencoding_step(model, objective), build_optimizer(config, model)
    noise, points, largest, kl = make_generator(config.seed, "noise", 1), [], 0.0, 0.0

    def watch(module: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG001
        nonlocal largest
        largest = max(largest, float(output.detach().chunk(2, dim=1)[1].max()))

    hook = model.encoder.register_forward_hook(watch)
    count, epoch = 0, 0
    while count < steps:
        epoch += 1
        shuffle = make_generator(config.seed, "shuffle", epoch)
        for batch in training_batches(images[:-HELD_OUT], config.batch_size, shuffle):
            model.train()
            kl = max(kl, float(update(step, optimizer, batch, noise, compute_loss=True)["kl"]))
            count += 1
            if count in MOMENTS or count == steps:
                hook.remove()
                points.append({"step": count, **validate(model, objective, images[-HELD_OUT:], config)})
                hook = model.encoder.register_forward_hook(watch)
            if count == steps:
                break
    hook.remove()
    return {"largest_log_variance": largest, "largest_kl": kl, "steps": points}


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown: one line for each `beta1` and limit, with the values of all seeds."""
    last = results.rows[0]["steps"][-1]["step"]
    lines = [
        "| `beta1` | largest log-variance allowed | largest KL of a batch | "
        f"loss of other faces after {last:,} steps | KL of other faces |",
        "|--:|--:|---|---|---|",
    ]
    for beta1, limit in product(BETA1, LIMITS):
        rows = [row for row in results.rows if (row["beta1"], row["limit"]) == (beta1, limit)]
        largest = ", ".join(f"{row['largest_kl']:,.0f}" for row in rows)
        ends = [", ".join(f"{row['steps'][-1][term]:,.0f}" for row in rows) for term in ("loss", "kl")]
        lines.append(f"| {beta1:g} | {limit:g} | {largest} | {' | '.join(ends)} |")
    asked = [row["largest_log_variance"] for row in results.rows]
    seeds = len({row["seed"] for row in results.rows})
    lines += [
        "",
        f"VAE (Conv) with log-cosh, CelebA, profile `laptop`, {seeds} seeds. The encoders asked for log-variances",
    ]
    return "\n".join(lines) + (
        f" of up to {min(asked):.0f} to {max(asked):.0f}. {results.environment.machine}, 1 thread; commit "
        f"{results.environment.commit}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    started, rows = time.perf_counter(), []
    base = PROFILES["laptop"].autoencoder(configuration("celeba", "vae-conv", "log-cosh"))
    images = split(resolve(base), "train", arguments.data_root).images
    for seed, beta1, limit in product(range(arguments.seeds), BETA1, LIMITS):
        model = replace(base.model, max_log_variance=limit)
        optimizer = replace(base.optimizer, betas=(beta1, 0.999))
        with on_threads(1):
            config = resolve(replace(base, seed=seed, model=model, optimizer=optimizer))
            row = course(config, arguments.steps, images)
        end = row["steps"][-1]
        print(
            f"seed {seed}, beta1 {beta1:g}, limit {limit:g}: largest log-variance {row['largest_log_variance']:.1f}, "
            f"largest KL {row['largest_kl']:.3g}; after {end['step']} steps loss {end['loss']:.0f}, KL {end['kl']:.0f}",
            flush=True,
        )
        setting = {
            "data": "celeba",
            "model": "vae-conv",
            "loss": "log-cosh",
            "seed": seed,
            "beta1": beta1,
            "limit": limit,
        }
        rows.append(setting | row)
    result = StudyResults(
        experiment="encoder-start",
        rows=tuple(rows),
        environment=describe(),
        seconds=round(time.perf_counter() - started, 1),
        profile="laptop",
    )
    write_results(result, ROOT / "results" / "encoder-start-laptop.json")


if __name__ == "__main__":
    main()
