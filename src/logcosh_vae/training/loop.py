"""`fit`: the one training loop, for auto-encoders, the feature classifier and whatever else has a step."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
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
from .objective import Slopes, Terms

Step = Callable[[Batch, Any, bool], Terms | Slopes]
"""`step(batch, generator, exact)` gives named scalars, `objective` among them. Where `exact` is false only its
gradient counts, so a step may leave out the value and every other term, or give slopes instead. The generator is on the
CPU; a step that `fit` may record as a CUDA graph takes a `StaticNoise` in its place."""


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


def update(
    step: Step,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    generator: torch.Generator | StaticNoise,
    exact: bool = False,
) -> Terms | Slopes:
    """One step of training: forward, backward, and the optimizer's; what `step` gave."""
    terms = step(batch, generator, exact)
    optimizer.zero_grad(set_to_none=True)
    (terms if isinstance(terms, Slopes) else terms["objective"]).backward()
    optimizer.step()
    return terms


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
    cuda_graph: bool = False,
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
        cuda_graph: record the steps between the logged ones once and replay them (`GraphedUpdate`); for a model on a
            GPU whose step draws its noise from the given source only.

    Raises:
        TrainingError: a logged term is not finite, or the step cannot be recorded.
    """
    base_rates = [float(group["lr"]) for group in optimizer.param_groups]
    plain = partial(update, step, optimizer)
    take = GraphedUpdate(plain, optimizer) if cuda_graph else plain
    with on_own_stream() if cuda_graph else nullcontext():
        for epoch in range(first_epoch, schedule.epochs + 1):
            noise = stream(schedule.seed, "noise", epoch)
            sums: dict[str, float] = {}
            logged = 0
            factor_set = 1.0
            model.train()
            started = time.perf_counter()
            for index, batch in enumerate(batches(stream(schedule.seed, "shuffle", epoch)), start=1):
                position = Position(epoch, schedule.epochs, index, schedule.steps)
                if (factor := schedule.learning_rate(position.share)) != factor_set:
                    _set_rates(optimizer, base_rates, factor)
                    factor_set = factor
                exact = index % schedule.log_every == 0 or index == schedule.steps
                if not exact:
                    take(batch, noise)
                    continue
                terms = plain(batch, noise, exact=True)
                assert not isinstance(terms, Slopes), "an exact step gives terms"
                _add(sums, terms, position)
                del terms  # and with it the graph: a step that is recorded must not meet nodes of another stream
                logged += 1
                if on_step is not None:
                    on_step(position)
            seconds = time.perf_counter() - started
            _set_rates(optimizer, base_rates, 1.0)
            if on_epoch is not None:
                on_epoch(EpochReport(epoch, {name: value / logged for name, value in sums.items()}, seconds))


def _set_rates(optimizer: torch.optim.Optimizer, base_rates: Sequence[float], factor: float) -> None:
    """Set each group's learning rate; one in a tensor is changed in place, where a recorded step reads it."""
    for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * factor)
        else:
            group["lr"] = rate * factor


def _add(sums: dict[str, float], terms: Terms, position: Position) -> None:
    values = {name: float(term.detach()) for name, term in terms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise TrainingError(
            f"epoch {position.epoch}, step {position.step}: {shown}; lower the learning rate or check the images"
        )
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
