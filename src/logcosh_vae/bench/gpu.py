"""What a GPU can do, and how much of it training and the loss use: the rows of `bench-gpu`, one at a time.

Ceilings are measured on the card itself: the bandwidth of a copy, and the rates of large matrix products. Every other
row states the share of them that it reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..base.records import to_json
from ..models.networks import ImageShape
from ..training.config import TrainConfig
from . import loss, step
from .timing import Contender, in_turns, row, spread

COPY, BFLOAT16, TF32, FLOAT32 = "copy", "bfloat16 product", "TF32 product", "float32 product"
COMPILED_FORMULA = "log-cosh as in Keras, torch.compile"
KERNELS = "kernels of a step, VAE (Conv), 28x28, batch 100"
CUDNN_CHOICE = f"{step.BFLOAT16}, cuDNN's algorithms tried first"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        copied: bytes of the tensor that is copied.
        side: of the matrices that are multiplied.
        batch_sizes: of the training steps.
        width: factor on the convolutions' channels.
        elements: sizes of the losses' tensors.
        images: that batches are taken from.
        rounds: turns of each contender; seconds: of a turn.
    """

    copied: int = 1 << 32
    side: int = 8192
    batch_sizes: tuple[int, ...] = (100, 800)
    width: float = 1.0
    elements: tuple[int, ...] = (10**5, 10**6, 10**7, 10**8, 10**9)
    images: int = 8_000
    rounds: int = 5
    seconds: float = 0.15


SMOKE = Scale(1 << 20, 64, (20,), 1 / 32, (1_000,), 200, rounds=1, seconds=0.01)
"""For a check that all of it runs, on any machine."""

Rates = dict[str, float]
"""Ceilings by name: bytes a second for `copy`, floating-point operations a second for the products."""

Measure = Callable[[Rates], dict[str, Any]]
"""Makes a row, given the ceilings."""


def _copying(scale: Scale, device: str) -> Contender:
    source = torch.empty(scale.copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def run(count: int) -> None:
        for _ in range(count):
            target.copy_(source)
        step.synchronize(device)

    return Contender(COPY, run)


def _multiplying(name: str, scale: Scale, device: str, dtype: torch.dtype, *, tf32: bool) -> Contender:
    # random values: of zeros the card draws less power and runs faster
    first, second = (torch.randn(scale.side, scale.side, device=device).to(dtype) for _ in range(2))
    result = torch.empty_like(first)

    def run(count: int) -> None:
        with _tf32(tf32):
            for _ in range(count):
                torch.mm(first, second, out=result)
        step.synchronize(device)

    return Contender(name, run)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def ceilings(scale: Scale, device: str) -> dict[str, Any]:
    """The row of the ceilings; `rates` in bytes or operations a second."""
    contenders = [
        _copying(scale, device),
        _multiplying(BFLOAT16, scale, device, torch.bfloat16, tf32=False),
        _multiplying(TF32, scale, device, torch.float32, tf32=True),
        _multiplying(FLOAT32, scale, device, torch.float32, tf32=False),
    ]
    times = in_turns(contenders, rounds=scale.rounds, seconds=scale.seconds)
    work = {COPY: 2.0 * scale.copied} | dict.fromkeys((BFLOAT16, TF32, FLOAT32), 2.0 * scale.side**3)
    rates = {name: work[name] / spread(values).median for name, values in times.items()}
    result: dict[str, Any] = to_json(
        {"what": "ceilings", "seconds": {name: spread(v) for name, v in times.items()}, "rates": rates}
    )
    return result


@contextmanager
def _cudnn_tries() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def flops_of_step(config: TrainConfig, shape: ImageShape) -> int:
    """Floating-point operations of a step's products; multiplication and addition count as two.

    They are counted on one image and scaled: every product grows with the batch. Making the products runs a forward
    pass, which the counter must not see.
    """
    work = step.products(replace(config, batch_size=1), shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for product in work:
            product()
    return int(counter.get_total_flops()) * config.batch_size


def training_step(
    network: str, shape: ImageShape, batch_size: int, scale: Scale, device: str, rates: Rates
) -> dict[str, Any]:
    """A row: a training step of the VAE beside the plain loop and its products alone, and its share of the ceiling."""
    data = "mnist" if shape[0] == 1 else "celeba"
    width = scale.width if network == "conv" else None
    config = step.config_of(network, width, batch_size=batch_size, device=device, data=data)
    pixels = step.images(shape, scale.images)
    contenders = [step.ours(config, pixels), step.plain(config, pixels), step.limit(config, shape)]
    if network == "conv" and torch.device(device).type == "cuda":
        other = step.ours(replace(config, seed=1), pixels)

        def run(count: int) -> None:
            with _cudnn_tries():
                other.run(count)

        contenders.append(Contender(CUDNN_CHOICE, run, other.unit, other.close))
    try:
        times = in_turns(contenders, rounds=scale.rounds, seconds=2 * scale.seconds)
    finally:
        for contender in contenders:
            contender.close()
    flops = flops_of_step(config, shape)
    ceiling = BFLOAT16 if config.bfloat16 else FLOAT32
    rate = {name: flops / spread(values).median for name, values in times.items()}
    name = f"VAE ({'MLP' if network == 'mlp' else 'Conv'}), {shape[1]}x{shape[2]}, batch {batch_size}"
    result: dict[str, Any] = to_json(
        row(
            name,
            times,
            step.LIMIT,
            flops=flops,
            rate=rate,
            ceiling=ceiling,
            share={name: value / rates[ceiling] for name, value in rate.items()},
        )
    )
    return result


_compiled: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}


def _compiled_formula(prediction: Tensor, target: Tensor) -> Tensor:
    """Log-cosh as tutorials write it, fused by torch; compiled once for all sizes."""

    def formula(prediction: Tensor, target: Tensor) -> Tensor:
        x = loss.A * (prediction - target)
        return (x + F.softplus(-2.0 * x) - math.log(2.0)).sum() / loss.A

    if "formula" not in _compiled:
        torch._inductor.config.compile_threads = 1  # else it starts a process a core, each of which imports torch
        _compiled["formula"] = torch.compile(formula, dynamic=True)
    return _compiled["formula"](prediction, target)


def losses(elements: int, scale: Scale, device: str, rates: Rates, *, compiled: bool) -> dict[str, Any]:
    """A row: losses forward and backward, beside `mse_loss`, and their share of the bandwidth.

    The share counts the fewest bytes that a loss could move: prediction and target read once, the gradient written.
    """
    contenders = loss.contenders(elements, device, {COMPILED_FORMULA: _compiled_formula} if compiled else {})
    if compiled:
        shown = {loss.OURS, loss.GRADIENT_ONLY, loss.MSE, COMPILED_FORMULA}
        contenders = [contender for contender in contenders if contender.name in shown]
    times = in_turns(contenders, rounds=scale.rounds, seconds=scale.seconds / 2)
    fewest = 3 * 4 * elements
    share = {name: fewest / spread(values).median / rates[COPY] for name, values in times.items()}
    name = f"{elements:,} elements" + (", torch.compile too" if compiled else "")
    result: dict[str, Any] = to_json(row(name, times, loss.MSE, elements=elements, share=share))
    return result


def kernels(scale: Scale, device: str, steps: int = 100) -> dict[str, Any]:
    """A row: where the time of a convolutional step goes, in microseconds a step by kernel, the longest first."""
    config = step.config_of("conv", scale.width, device=device)
    contender = step.ours(config, step.images((1, 28, 28), scale.images))
    contender.run(contender.unit)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True) as profiler:
        contender.run(steps)
    contender.close()
    times = {event.key: event.self_device_time_total / steps for event in profiler.key_averages()}
    longest = sorted(times.items(), key=lambda item: -item[1])[:30]
    return {"what": KERNELS, "microseconds": {name[:120]: round(value, 2) for name, value in longest}}


def measures(scale: Scale, device: str) -> dict[str, Measure]:
    """All rows by their name (`what`), in the order to measure them; the ceilings are the first."""
    rows: dict[str, Measure] = {"ceilings": lambda _: ceilings(scale, device)}
    networks: tuple[tuple[str, str, ImageShape], ...] = (
        ("MLP", "mlp", (1, 28, 28)),
        ("Conv", "conv", (1, 28, 28)),
        ("Conv", "conv", (3, 64, 64)),
    )
    for name, network, shape in networks:
        for batch_size in scale.batch_sizes:
            what = f"VAE ({name}), {shape[1]}x{shape[2]}, batch {batch_size}"
            rows[what] = lambda rates, n=network, s=shape, b=batch_size: training_step(n, s, b, scale, device, rates)  # type: ignore[misc]
    for elements in scale.elements:
        rows[f"{elements:,} elements"] = lambda rates, e=elements: losses(e, scale, device, rates, compiled=False)  # type: ignore[misc]
    if torch.device(device).type == "cuda":
        rows[KERNELS] = lambda _: kernels(scale, device)
    return rows


def compiled_measures(scale: Scale, device: str) -> dict[str, Measure]:
    """Rows of the loss beside torch.compile of the published formula, by their name."""

    def measure(elements: int) -> Measure:
        return lambda rates: losses(elements, scale, device, rates, compiled=True)

    return {f"{elements:,} elements, torch.compile too": measure(elements) for elements in scale.elements}
