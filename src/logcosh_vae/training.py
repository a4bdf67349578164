"""`fit`: the one training loop, for auto-encoders, the feature classifier and whatever else has a step."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from .data.batches import Batch
from .objectives import Slopes, Terms

Step = Callable[[Batch, torch.Generator, bool], Terms | Slopes]
"""`step(batch, generator, exact)` gives named scalars, `objective` among them. Where `exact` is false only its
gradient counts, so a step may leave out the value and every other term, or give slopes instead."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stood and what to change."""


class Position(NamedTuple):
    """Where training stands: `step` of `steps` in `epoch` of `epochs`, counted from 1."""

    epoch: int
    epochs: int
    step: int
    steps: int

    @property
    def share(self) -> float:
        """Of all steps, the share done."""
        return (self.epoch - 1 + self.step / self.steps) / self.epochs


@dataclass
class EpochReport:
    """What one epoch leaves: means of the terms over its logged steps, and the seconds spent in its steps."""

    epoch: int
    terms: dict[str, float]
    seconds: float


def constant(share: float) -> float:  # noqa: ARG001 - a schedule's signature
    """The same learning rate throughout."""
    return 1.0


@dataclass(frozen=True)
class Schedule:
    """How long and in which order: all that `fit` needs besides the model, the data and the optimizer.

    Attributes:
        epochs: the last epoch to reach.
        steps: of one epoch.
        seed: of shuffling and noise; each epoch has its own streams, so a resumed run needs no generator state.
        log_every: the terms are evaluated exactly in every such step.
        learning_rate: factor on the optimizer's rate as a function of the share of training done, 0 to 1.
    """

    epochs: int
    steps: int
    seed: int = 0
    log_every: int = 50
    learning_rate: Callable[[float], float] = constant


def stream(seed: int, name: str, epoch: int = 0) -> torch.Generator:
    """A CPU generator of its own for each use and epoch; any two are independent.

    Example:
        >>> torch.equal(torch.rand(2, generator=stream(0, "a")), torch.rand(2, generator=stream(0, "a")))
        True
    """
    digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def use_threads(threads: int) -> None:
    """Fix the number of threads, and flush denormals: Adam's averages of dead units decay into them."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def fit(
    model: nn.Module,
    step: Step,
    batches: Callable[[torch.Generator], Iterable[Batch]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    first_epoch: int = 1,
    on_step: Callable[[Position], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> None:
    """Train `model` in place from `first_epoch` to `schedule.epochs`.

    Args:
        model: put in training mode at each epoch's start.
        step: see `Step`.
        batches: gives one epoch's batches in the order drawn from the generator.
        optimizer: over the model's parameters.
        schedule: see `Schedule`.
        first_epoch: one more than the epochs done so far, counted from 1.
        on_step: called after each logged step and at the end of an epoch.
        on_epoch: called after each epoch; the place for validation, pictures and saving.

    Raises:
        TrainingError: a logged term is not finite.
    """
    base_rates = [group["lr"] for group in optimizer.param_groups]
    for epoch in range(first_epoch, schedule.epochs + 1):
        noise = stream(schedule.seed, "noise", epoch)
        sums: dict[str, float] = {}
        logged = 0
        model.train()
        started = time.perf_counter()
        for index, batch in enumerate(batches(stream(schedule.seed, "shuffle", epoch)), start=1):
            position = Position(epoch, schedule.epochs, index, schedule.steps)
            factor = schedule.learning_rate(position.share)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            exact = index % schedule.log_every == 0 or index == schedule.steps
            terms = step(batch, noise, exact)
            optimizer.zero_grad(set_to_none=True)
            (terms if isinstance(terms, Slopes) else terms["objective"]).backward()
            optimizer.step()
            if exact:
                assert not isinstance(terms, Slopes), "an exact step gives terms"
                _add(sums, terms, position)
                logged += 1
                if on_step is not None:
                    on_step(position)
        seconds = time.perf_counter() - started
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate
        if on_epoch is not None:
            on_epoch(EpochReport(epoch, {name: value / logged for name, value in sums.items()}, seconds))


def _add(sums: dict[str, float], terms: Terms, position: Position) -> None:
    values = {name: float(term.detach()) for name, term in terms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise TrainingError(
            f"epoch {position.epoch}, step {position.step}: {shown}; lower the learning rate or check the images"
        )
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
