"""The training loop, `fit`, which autoencoders, feature classifiers and restoration networks share.

The module also defines the interface of a training step (`Step`), the learning-rate schedule, the seeded generators
and the reports that callbacks receive.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ..base.errors import TrainingError
from ..models.distributions import StaticNoise
from .cuda_graph import GraphedUpdate, on_own_stream
from .objective import Losses

B = TypeVar("B")

Step = Callable[[B, Any, bool], Losses]
"""`step(batch, generator, compute_loss)` runs the model on a batch and accumulates gradients in its parameters.

It returns detached losses by name, including `loss`. Without `compute_loss` it may return an empty dict and skip
everything that the gradient does not need. The generator is on the CPU; a step that is recorded as a CUDA graph gets a
`StaticNoise` instead."""


class Position(NamedTuple):
    """Progress of a training run: `step` of `steps` in `epoch` of `epochs`, both counted from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """Fraction of all steps that are done, in (0, 1]."""
        return (self.epoch - 1 + self.step / self.steps) / self.epochs


@dataclass
class EpochReport:
    """Results of one epoch: the mean of each loss over the logged steps, and the seconds spent in training steps."""

    epoch: int
    losses: dict[str, float]
    seconds: float


def constant(fraction: float) -> float:  # noqa: ARG001 - a schedule's signature
    """A schedule with a constant learning rate: 1 for every fraction of training."""
    return 1.0


@dataclass(frozen=True)
class Schedule:
    """Length, seed, logging interval and learning rate of a training run.

    Attributes:
        epochs: number of the last epoch.
        steps: steps per epoch.
        seed: seed of shuffling and noise. Each epoch has its own generators, so resuming needs no generator state.
        log_every: number of steps between evaluations of the losses.
        learning_rate: maps the fraction of training done, in (0, 1], to a factor on the optimizer's learning rates.
        prepare: called with the same fraction before each step, for whatever else changes during training.
    """

    epochs: int
    steps: int
    seed: int = 0
    log_every: int = 50
    learning_rate: Callable[[float], float] = constant
    prepare: Callable[[float], None] = lambda _: None


def make_generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a CPU generator whose state depends on seed, purpose and epoch; different arguments are independent.

    Example:
        >>> first, again = make_generator(0, "noise"), make_generator(0, "noise")
        >>> torch.equal(torch.rand(2, generator=first), torch.rand(2, generator=again))
        True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def use_threads(threads: int) -> None:
    """Set the number of threads and flush denormals, because Adam's averages of dead units decay into that range."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def update(
    step: Step[B],
    optimizer: torch.optim.Optimizer,
    batch: B,
    generator: torch.Generator | StaticNoise,
    compute_loss: bool = False,
) -> Losses:
    """Compute the gradients of one batch and step the optimizer; returns the result of `step`."""
    optimizer.zero_grad(set_to_none=True)
    losses = step(batch, generator, compute_loss)
    optimizer.step()
    return losses


def fit(
    model: nn.Module,
    step: Step[B],
    batches: Callable[[torch.Generator], Iterable[B]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    first_epoch: int = 1,
    on_step: Callable[[Position], None] = lambda _: None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
    cuda_graph: bool = False,
) -> None:
    """Train `model` in place, from `first_epoch` to `schedule.epochs`.

    Args:
        model: set to training mode at the start of each epoch.
        step: computes losses and gradients; see `Step`.
        batches: yields the batches of one epoch, in an order drawn from the generator it is given.
        optimizer: optimizer over the model's parameters.
        schedule: length, seed, logging interval and learning rate.
        first_epoch: number of the first epoch, counted from 1.
        on_step: called after each logged step; the last step of an epoch is always logged.
        on_epoch: called after each epoch; validation, pictures and saving belong here.
        cuda_graph: record the steps that are not logged as a CUDA graph and replay it (`GraphedUpdate`). The batches
            must be of the class `Batch` and the model on a GPU, and `step` must draw noise from the given source only.

    Raises:
        TrainingError: a logged loss is not finite, or the step cannot be recorded.
    """
    plain_update = partial(update, step, optimizer)
    graphed: Callable[[Any, Any], object] | None = GraphedUpdate(plain_update, optimizer) if cuda_graph else None
    fast_update = graphed or plain_update
    rates = _Rates(optimizer)
    with on_own_stream() if cuda_graph else nullcontext():
        for epoch in range(first_epoch, schedule.epochs + 1):
            noise = make_generator(schedule.seed, "noise", epoch)
            means = _Means()
            started = time.perf_counter()
            model.train()
            for index, batch in enumerate(batches(make_generator(schedule.seed, "shuffle", epoch)), start=1):
                position = Position(epoch, schedule.epochs, index, schedule.steps)
                rates.scale(schedule.learning_rate(position.fraction))
                schedule.prepare(position.fraction)
                if index % schedule.log_every and index < schedule.steps:
                    fast_update(batch, noise)
                else:
                    means.add(plain_update(batch, noise, compute_loss=True), position)
                    on_step(position)
            seconds = time.perf_counter() - started
            rates.scale(1.0)
            on_epoch(EpochReport(epoch, means.values(), seconds))


class _Rates:
    """Scales all learning rates of an optimizer by a common factor."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._groups = optimizer.param_groups
        self._base = [float(group["lr"]) for group in self._groups]
        self._factor = 1.0

    def scale(self, factor: float) -> None:
        """Set every rate to `factor` times its initial value, in place where it is a tensor that a CUDA graph reads."""
        if factor == self._factor:
            return
        self._factor = factor
        for group, base in zip(self._groups, self._base, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(base * factor)
            else:
                group["lr"] = base * factor


class _Means:
    """Running means of the logged losses of an epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, losses: Losses, position: Position) -> None:
        """Add the losses of one step.

        Raises:
            TrainingError: a loss is not finite.
        """
        values = {name: float(value) for name, value in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise TrainingError(
                f"training diverged in epoch {position.epoch}, step {position.step}: {shown}; "
                "lower the learning rate or check the images"
            )
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def values(self) -> dict[str, float]:
        """Return the mean of each loss."""
        return {name: value / self._count for name, value in self._sums.items()}
