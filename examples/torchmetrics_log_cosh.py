"""The log-cosh error as a metric of torchmetrics, exact over batches and devices.

    pip install torchmetrics
    python examples/torchmetrics_log_cosh.py

torchmetrics has a metric of this name without the parameter `a`. This one has it, sums in float64, and counts the
elements, so that the result does not depend on how they are divided into batches or among processes.
"""

import socket
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from logcosh_vae import log_cosh


class LogCoshError(Metric):
    """Mean of `log(cosh(a t)) / a` over all elements."""

    is_differentiable = True
    higher_is_better = False
    full_state_update = False

    def __init__(self, a: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.a = a
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.total += log_cosh(preds, target, a=self.a).sum(dtype=torch.float64)
        self.count += target.numel()

    def compute(self) -> Tensor:
        return self.total / self.count


def measure_part(rank: int, port: int, preds: Tensor, target: Tensor, results: Any) -> None:
    """Measure every second image as one of two processes."""
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metric = LogCoshError(a=100.0)
    for image, wanted in zip(preds[rank::2], target[rank::2], strict=True):
        metric.update(image, wanted)
    results.put(float(metric.compute()))
    dist.destroy_process_group()


def main() -> None:
    torch.manual_seed(0)
    preds, target = torch.rand(2, 7, 1, 28, 28)
    expected = float(log_cosh(preds.double(), target.double(), a=100.0).mean())
    whole = LogCoshError(a=100.0)
    whole.update(preds, target)

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    torch.multiprocessing.spawn(measure_part, (port, preds, target, results), nprocs=2)
    parts = [results.get(), results.get()]

    print(f"in float64 {expected:.9f}, in one batch {float(whole.compute()):.9f}, in two processes {parts[0]:.9f}")
    torch.testing.assert_close(
        torch.tensor([float(whole.compute()), *parts]), torch.full((3,), expected), rtol=1e-6, atol=0
    )


if __name__ == "__main__":
    main()
