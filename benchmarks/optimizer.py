"""Time Adam applied to each large weight as soon as the backward pass has computed its gradient.

    python benchmarks/optimizer.py [--rounds 15]

Takes about four minutes on two cores. Writes `results/bench-optimizer.json`, which docs/speed.md quotes. The same
training steps are timed in turns in one process: with `EagerAdam` of this file, and with
`torch.optim.Adam(fused=True)`, which training uses.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from logcosh_vae.base.memory import keep_freed_memory
from logcosh_vae.base.records import write_record
from logcosh_vae.bench import step
from logcosh_vae.bench.records import BenchRow
from logcosh_vae.bench.suite import CONV, MLP
from logcosh_vae.bench.timing import in_turns, record, row
from logcosh_vae.paper.profiles import LAPTOP_WIDTH
from logcosh_vae.training.builders import build_optimizer
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.loop import use_threads

ROOT = Path(__file__).resolve().parents[1]
LARGE = 1 << 16
"""Elements from which a weight is updated on its own."""

EAGER, TORCH = "EagerAdam", "torch.optim.Adam, fused"
ROWS = ((MLP, "mlp", None, 1), (MLP, "mlp", None, 2), (CONV, "conv", LAPTOP_WIDTH, 1))


class EagerAdam(torch.optim.Adam):
    """Adam that updates a large weight while its gradient is still in the cache, and the others in `step`."""

    def __init__(self, weights: list[nn.Parameter], lr: float) -> None:
        super().__init__(weights, lr=lr, fused=True)
        for weight in weights:
            if weight.numel() >= LARGE:
                weight.register_post_accumulate_grad_hook(self.update_now)

    def update_now(self, weight: Tensor) -> None:
        self.update([weight])
        weight.grad = None

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        self.update([weight for weight in self.param_groups[0]["params"] if weight.grad is not None])

    @torch.no_grad()
    def update(self, weights: list[Tensor]) -> None:
        """Call the fused kernel of Adam directly.

        `torch.optim.Adam` takes 0.1 ms per call to reach it, and here a step calls it several times.
        """
        group = self.param_groups[0]
        for weight in weights:
            if not self.state[weight]:
                averages = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.state[weight] = {"step": torch.zeros(()), **averages}
        steps, first, second = (
            [self.state[weight][name] for weight in weights] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            weights,
            [weight.grad for weight in weights],
            first,
            second,
            [],
            steps,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )


def eager(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return an `EagerAdam` for the weights of a model."""
    return EagerAdam(list(model.parameters()), config.optimizer.learning_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    started = time.perf_counter()
    keep_freed_memory()
    rows: list[BenchRow] = []
    for model, network, width, threads in ROWS:
        use_threads(threads)
        config, pixels = step.config_of(network, width), step.images()
        contenders = [
            step.ours(config, pixels, make, name) for name, make in ((EAGER, eager), (TORCH, build_optimizer))
        ]
        times = in_turns(contenders, rounds=arguments.rounds, seconds=1.5 if network == "mlp" else 6.0)
        what = f"{model}, {threads} thread{'s' * (threads > 1)}"
        rows.append(row(what, times, TORCH, threads=threads))
        print(rows[-1], flush=True)
    result = record(
        "optimizer", rows, threads=max(threads for *_, threads in ROWS), rounds=arguments.rounds, started=started
    )
    write_record(result, ROOT / "results" / "bench-optimizer.json")


if __name__ == "__main__":
    main()
