"""`fit`: the one training loop, for autoencoders, feature classifiers and restoration networks."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..base.errors import TrainingError
from ..data.batches import Batch
from ..models.distributions import StaticNoise
from .cuda_graph import GraphedUpdate, on_own_stream
from .objective import Losses

Step = Callable[[Batch, Any, bool], Losses]
"""`step(batch, generator, compute_loss)`: run the model on a batch and add the gradient of its loss to the weights'.

It returns the detached losses, `loss` among them. Without `compute_loss` it may return nothing, and leave out whatever
the gradient does not need. The generator is on the CPU; a step that `fit` may record as a CUDA graph is given a
`StaticNoise` in its place."""


class Position(NamedTuple):
    """Where training stands: `step` of `steps` in `epoch` of `epochs`, counted from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """The fraction of all steps that is done, in (0, 1]."""
        return (self.epoch - 1 + self.step / self.steps) / self.epochs


@dataclass
class EpochReport:
    """What one epoch leaves: means of the losses over its logged steps, and the seconds spent in its steps."""

    epoch: int
    losses: dict[str, float]
    seconds: float


def constant(fraction: float) -> float:  # noqa: ARG001 - a schedule's signature
    """The same learning rate throughout."""
    return 1.0


@dataclass(frozen=True)
class Schedule:
    """How long to train and in which order: all that `fit` needs besides the model, the data and the optimizer.

    Attributes:
        epochs: the last epoch to reach.
        steps: steps in one epoch.
        seed: decides shuffling and noise. Each epoch has its own generators, so a resumed run needs no generator state.
        log_every: the losses are evaluated and logged every so many steps.
        learning_rate: factor on the optimizer's rate as a function of the fraction of training done, 0 to 1.
    """

    epochs: int
    steps: int
    seed: int = 0
    log_every: int = 50
    learning_rate: Callable[[float], float] = constant


def make_generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A CPU generator of its own for each purpose and epoch; any two are independent.

    Example:
        >>> first, again = make_generator(0, "noise"), make_generator(0, "noise")
        >>> torch.equal(torch.rand(2, generator=first), torch.rand(2, generator=again))
        True
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def use_threads(threads: int) -> None:
    """Set the number of threads, and flush denormals: Adam's averages of dead units decay into them."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def update(
    step: Step,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    generator: torch.Generator | StaticNoise,
    compute_loss: bool = False,
) -> Losses:
    """One step of training: gradients, then the optimizer. Returns what `step` returned."""
    optimizer.zero_grad(set_to_none=True)
    losses = step(batch, generator, compute_loss)
    optimizer.step()
    return losses


def fit(
    model: nn.Module,
    step: Step,
    batches: Callable[[torch.Generator], Iterable[Batch]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    first_epoch: int = 1,
    on_step: Callable[[Position], None] = lambda _: None,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
    cuda_graph: bool = False,
) -> None:
    """Train `model` in place from `first_epoch` to `schedule.epochs`.

    Args:
        model: put in training mode at the start of each epoch.
        step: see `Step`.
        batches: gives one epoch's batches in the order drawn from the generator.
        optimizer: over the model's parameters.
        schedule: see `Schedule`.
        first_epoch: counted from 1; one more than the epochs done so far.
        on_step: called after each logged step and at the end of an epoch.
        on_epoch: called after each epoch; the place for validation, pictures and saving.
        cuda_graph: record the steps between the logged ones once and replay them (`GraphedUpdate`); for a model on a
            GPU whose step draws its noise from the given source only.

    Raises:
        TrainingError: a logged loss is not finite, or the step cannot be recorded.
    """
    plain_update = partial(update, step, optimizer)
    fast_update = GraphedUpdate(plain_update, optimizer) if cuda_graph else plain_update
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
                if index % schedule.log_every and index < schedule.steps:
                    fast_update(batch, noise)
                else:
                    means.add(plain_update(batch, noise, compute_loss=True), position)
                    on_step(position)
            seconds = time.perf_counter() - started
            rates.scale(1.0)
            on_epoch(EpochReport(epoch, means.values(), seconds))


class _Rates:
    """The learning rates of an optimizer, scaled by one factor."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._groups = optimizer.param_groups
        self._base = [float(group["lr"]) for group in self._groups]
        self._factor = 1.0

    def scale(self, factor: float) -> None:
        """Set every rate to `factor` times its base; a tensor changes in place, where a recorded step reads it."""
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
        """Add the losses of one step; a `TrainingError` where one is not finite."""
        values = {name: float(value) for name, value in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise TrainingError(
                f"epoch {position.epoch}, step {position.step}: {shown}; lower the learning rate or check the images"
            )
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def values(self) -> dict[str, float]:
        return {name: value / self._count for name, value in self._sums.items()}
