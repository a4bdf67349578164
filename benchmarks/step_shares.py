"""Measure where the time of a training step of the VAE (MLP) goes, on one thread and on two.

    python benchmarks/step_shares.py [--rounds 15]

Takes about a minute and a half on two cores. Writes `results/bench-step-shares.json`, which docs/speed.md shows: the
products alone, then ever larger parts of the step, timed in turns in one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from logcosh_vae.base.memory import keep_freed_memory
from logcosh_vae.base.records import write_record
from logcosh_vae.bench import step
from logcosh_vae.bench.records import BenchRow
from logcosh_vae.bench.suite import MLP
from logcosh_vae.bench.timing import Contender, in_turns, record, row
from logcosh_vae.data.batches import Batch, to_unit
from logcosh_vae.training.builders import autoencoding_step, build_model, build_objective, build_optimizer
from logcosh_vae.training.loop import make_generator, use_threads

ROOT = Path(__file__).resolve().parents[1]
ADAM_KERNEL, PRODUCTS_AND_ADAM = "Adam's kernel", "products and Adam's kernel"
FORWARD_BACKWARD, WITH_ADAM = "forward and backward", "forward, backward and Adam"


def repeated(work: Callable[[], object]) -> Callable[[int], None]:
    """Return a function that does the work the given number of times."""

    def run(count: int) -> None:
        for _ in range(count):
            work()

    return run


def contenders() -> list[Contender]:
    """Return the parts of a step to time.

    They are the limit, Adam's kernel without its Python code, both one after the other, forward and backward pass,
    these with Adam, and the whole loop.
    """
    config, pixels = step.config_of("mlp"), step.images()
    model = build_model(config, step.SHAPE)
    model.train()
    weights, optimizer = list(model.parameters()), build_optimizer(config, model)
    training_step, noise = autoencoding_step(model, build_objective(config)), make_generator(0, "noise")
    batch = Batch(to_unit(pixels[: config.batch_size]), None)

    def forward_backward() -> None:
        optimizer.zero_grad(set_to_none=True)
        training_step(batch, noise, False)

    def with_adam() -> None:
        forward_backward()
        optimizer.step()

    with_adam()
    grads = [weight.grad.clone() for weight in weights if weight.grad is not None]
    states = [optimizer.state[weight] for weight in weights]
    averages, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    settings = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "lr": 1e-9, "weight_decay": 0.0}

    @torch.no_grad()
    def adam_kernel() -> None:
        torch._fused_adam_(weights, grads, averages, squares, [], steps, amsgrad=False, maximize=False, **settings)

    limit = step.limit(config)

    def products_and_adam() -> None:
        limit.run(1)
        adam_kernel()

    return [
        limit,
        Contender(ADAM_KERNEL, repeated(adam_kernel)),
        Contender(PRODUCTS_AND_ADAM, repeated(products_and_adam)),
        Contender(FORWARD_BACKWARD, repeated(forward_backward)),
        Contender(WITH_ADAM, repeated(with_adam)),
        step.ours(config, pixels),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    started = time.perf_counter()
    keep_freed_memory()
    rows: list[BenchRow] = []
    for threads in (1, 2):
        use_threads(threads)
        times = in_turns(contenders(), rounds=arguments.rounds, seconds=0.4)
        what = f"{MLP}, {threads} thread{'s' * (threads > 1)}"
        rows.append(row(what, times, step.LIMIT, threads=threads))
        print(what, {name: round(each.median, 2) for name, each in rows[-1].ratio.items()}, flush=True)
    result = record("step-shares", rows, threads=2, rounds=arguments.rounds, started=started)
    write_record(result, ROOT / "results" / "bench-step-shares.json")


if __name__ == "__main__":
    main()
