"""Measure the accuracy of log-cosh and of the published formulas against 60-digit arithmetic.

    python benchmarks/loss_accuracy.py

Takes a few seconds on one core. Writes `results/loss-accuracy.json`, and updates the tables in docs/losses.md and
docs/images/figure1.png.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import mpmath
import torch
from torch import Tensor
from torch.nn import functional as F

from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import write_text
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.losses import l1, log_cosh, squared_l2

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "loss-accuracy.json"
PAGE = ROOT / "docs" / "losses.md"
FIGURE = ROOT / "docs" / "images" / "figure1.png"
BEGIN, END = "<!-- begin: loss-accuracy -->", "<!-- end: loss-accuracy -->"

REGIONS = {"near": (-8, -2), "middle": (-2, 1), "far": (1, 3)}
"""Decades of `|a t|` in which the published formulas are measured, as powers of ten."""

EXTENDED = {"near": (-15, -2), "middle": (-2, 1), "far": (1, 15)}
"""The wider decades in which `log_cosh` is measured."""

POINTS = 600
"""Residuals per region."""

A_VALUES = [10.0**k for k in range(-3, 5)]
"""Values of `a` at which `log_cosh` is measured."""

OURS = "`logcosh_vae.log_cosh`"
SIGMOID = "`2 sigmoid(2x) - 1`"
PUBLISHED: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "`log((e^x + e^-x) / 2)`": ("torchmetrics", lambda x: torch.log((torch.exp(x) + torch.exp(-x)) / 2)),
    "`x + log(1 + e^-2x) - log 2`": (
        "PyTorch-VAE",
        lambda x: x + torch.log(1.0 + torch.exp(-2 * x)) - math.log(2.0),
    ),
    "`x + softplus(-2x) - log 2`": ("Keras", lambda x: x + F.softplus(-2.0 * x) - math.log(2.0)),
    "`logaddexp(x, -x) - log 2`": ("optax, MLX", lambda x: torch.logaddexp(x, -x) - math.log(2.0)),
    SIGMOID: ("the paper's gradient-only form", lambda x: x * (2 * torch.sigmoid(2 * x) - 1).detach()),
}
"""Formulas as their authors write them, as functions of `x = a t`, with where they are used; measured at `a = 1`."""

Pair = tuple[float, float]
"""Largest relative error of the value and of the gradient."""


def at_residual(function: Callable[[Tensor], Tensor], prediction: Tensor, target: Tensor) -> Tensor:
    """Apply a function of the residual to prediction and target."""
    return function(prediction - target)


def exact(prediction: float, target: float, a: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Return `log(cosh(a t)) / a` and `tanh(a t)` of the unrounded residual in 60-digit arithmetic."""
    x = a * (mpmath.mpf(prediction) - mpmath.mpf(target))
    return mpmath.log(mpmath.cosh(x)) / a, mpmath.tanh(x)


def worst(obtained: Tensor, truth: list[mpmath.mpf]) -> float:
    """Return the largest relative error, or inf if a value is not finite."""
    if not obtained.isfinite().all():
        return math.inf
    return max(float(abs(o - e) / abs(e)) for o, e in zip(obtained.tolist(), truth, strict=True))


def pairs(decades: tuple[int, int], a: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return `POINTS` predictions and targets with `|a t|` spread over `decades`; half of the targets are 0."""
    generator = torch.Generator().manual_seed(0)
    low, high = decades
    t = 10.0 ** (low + (high - low) * torch.rand(POINTS, generator=generator, dtype=torch.float64)) / a
    t[::2] *= -1
    target = (t * torch.randn(POINTS, generator=generator, dtype=torch.float64)).to(dtype)
    target[: POINTS // 2] = 0
    return (t + target.double()).to(dtype), target


def errors(
    function: Callable[[Tensor, Tensor], Tensor], a: float, decades: tuple[int, int], dtype: torch.dtype
) -> Pair:
    """Return the largest relative error of a loss and of its gradient by autograd."""
    prediction, target = pairs(decades, a, dtype)
    truth = [exact(p, q, a) for p, q in zip(prediction.tolist(), target.tolist(), strict=True)]
    prediction.requires_grad_()
    value = function(prediction, target)
    (grad,) = torch.autograd.grad(value.sum(), prediction)
    return worst(value.detach(), [v for v, _ in truth]), worst(grad, [g for _, g in truth])


def measure() -> list[dict[str, Any]]:
    """Return one row per formula, dtype and quantity; an error that is not finite is None."""
    rows = []

    def add(form: str, source: str, scales: list[float], dtype: torch.dtype, found: dict[str, Pair]) -> None:
        for index, quantity in enumerate(("value", "gradient")):
            if form == SIGMOID and quantity == "value":
                continue  # its value is not meant to be right
            finite = {name: pair[index] if math.isfinite(pair[index]) else None for name, pair in found.items()}
            row = {"form": form, "source": source, "dtype": str(dtype).removeprefix("torch."), "quantity": quantity}
            rows.append({**row, "a": scales, "max_relative_error": finite})

    for dtype in (torch.float32, torch.float64):
        ours: dict[str, Pair] = {}
        for region, decades in EXTENDED.items():
            found = [errors(partial(log_cosh, a=a), a, decades, dtype) for a in A_VALUES]
            ours[region] = max(v for v, _ in found), max(g for _, g in found)
        add(OURS, "this project", A_VALUES, dtype, ours)
        for form, (source, function) in PUBLISHED.items():
            theirs = partial(at_residual, function)
            add(form, source, [1.0], dtype, {name: errors(theirs, 1.0, of, dtype) for name, of in REGIONS.items()})
    return rows


def cell(error: float | None) -> str:
    """Two digits; an error of 1 means that no digit is right."""
    if error is None:
        return "**inf or NaN**"
    return "**no digit**" if error >= 0.5 else f"{error:.1e}"


def tables(rows: list[dict[str, Any]]) -> str:
    """Return the tables of value and gradient in Markdown."""
    parts = []
    for quantity, title in (("value", "Value"), ("gradient", "Gradient (by autograd)")):
        parts.append(
            f"| {title} | used by | float32: near 0 | middle | far out | float64: near 0 | middle | far out |\n"
            "|---|---|---|---|---|---|---|---|\n"
        )
        chosen = [row for row in rows if row["quantity"] == quantity]
        for form in dict.fromkeys(row["form"] for row in chosen):
            both = [row for row in chosen if row["form"] == form]
            cells = [cell(row["max_relative_error"][region]) for row in both for region in REGIONS]
            parts.append(f"| {form} | {both[0]['source']} | {' | '.join(cells)} |\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n")


def draw(path: Path) -> None:
    """Draw figure 1 of the paper with the gradients beside it, and save it as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    t = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    zero = torch.zeros_like(t)
    # the palette of Okabe and Ito; line styles distinguish the curves without colour too
    curves = [
        ("squared L2", squared_l2, "#000000", (0, (1, 1.2))),
        ("L1", l1, "#7f7f7f", (0, (5, 2))),
        *(
            (f"log-cosh, a = {a}", lambda p, q, a=a: log_cosh(p, q, a=a), colour, "-")
            for a, colour in ((1, "#56B4E9"), (3, "#009E73"), (10, "#E69F00"), (100, "#D55E00"))
        ),
    ]
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.1), dpi=200, layout="constrained")
    for name, function, colour, style in curves:
        x = t.clone().requires_grad_()
        value = function(x, zero)
        (grad,) = torch.autograd.grad(value.sum(), x)
        # the plain losses on top, so that a = 100 does not hide L1
        order = 3 if style != "-" else 2
        left.plot(t, value.detach(), color=colour, linestyle=style, linewidth=2, label=name, zorder=order)
        right.plot(t, grad, color=colour, linestyle=style, linewidth=2, zorder=order)
    left.set(title="loss f(t; a)", xlabel="residual t", xlim=(-1, 1), ylim=(0, 1))
    right.set(title="gradient", xlabel="residual t", xlim=(-1, 1), ylim=(-2, 2))
    for axes in (left, right):
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    torch.set_num_threads(1)
    mpmath.mp.dps = 60
    started = time.perf_counter()
    rows = measure()
    environment = describe()
    environment = replace(environment, versions={**environment.versions, "mpmath": metadata.version("mpmath")})
    write_results(
        StudyResults(
            experiment="loss-accuracy",
            rows=tuple(rows),
            environment=environment,
            seconds=round(time.perf_counter() - started, 1),
            more={"decades_of_at": {"published": REGIONS, OURS.strip("`"): EXTENDED}, "points_a_region": POINTS},
        ),
        RESULT,
    )
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(PAGE, f"{before}{BEGIN}\n{tables(rows)}\n{END}{after}")
    draw(FIGURE)
    print(tables(rows))


if __name__ == "__main__":
    main()
