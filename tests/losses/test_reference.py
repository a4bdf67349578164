"""Accuracy of the losses: compared with mpmath at 100 or more digits, and with formulas published elsewhere."""

from __future__ import annotations

import itertools
import math
import runpy
from pathlib import Path

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from logcosh_vae.losses import autograd, cpu_kernel, l1, log_cosh, log_cosh_surrogate, squared_l2


@pytest.fixture(params=["C kernel", "torch operations"], autouse=True)
def _implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch operations":
        monkeypatch.setattr(cpu_kernel, "library", lambda: None)
    elif cpu_kernel.library() is None:
        pytest.skip("the package was installed without a C compiler")


TOLERANCE = {torch.float32: 5e-7, torch.float64: 1e-15}
DECADES = [10.0**k for k in range(-3, 5)]


def exact_value(prediction: float, target: float, a: float) -> mpmath.mpf:
    with mpmath.workdps(700):  # the exact difference of two float64 numbers can have 633 digits
        t = mpmath.mpf(prediction) - mpmath.mpf(target)
        digits = 100 - 2 * min(0, int(mpmath.log10(abs(a * t)))) if t else 100
        with mpmath.workdps(digits):
            return mpmath.log(mpmath.cosh(a * t)) / a


def exact_grad(prediction: float, target: float, a: float) -> mpmath.mpf:
    with mpmath.workdps(700):
        t = mpmath.mpf(prediction) - mpmath.mpf(target)
    with mpmath.workdps(50):
        return mpmath.tanh(a * t)


def relative_error(obtained: float, exact: mpmath.mpf) -> float:
    with mpmath.workdps(50):
        return float(abs(obtained - exact) / abs(exact)) if exact else abs(obtained)


def value_and_grad(prediction: Tensor, target: Tensor, a: float) -> tuple[Tensor, Tensor]:
    prediction = prediction.clone().requires_grad_()
    value = log_cosh(prediction, target, a=a)
    (grad,) = torch.autograd.grad(value.sum(), prediction)
    return value.detach(), grad


def assert_exact(prediction: Tensor, target: Tensor, a: float) -> None:
    tolerance = TOLERANCE[prediction.dtype]
    value, grad = value_and_grad(prediction, target, a)
    for p, q, f, g in zip(*(x.tolist() for x in (prediction, target, value, grad)), strict=True):
        assert relative_error(f, exact_value(p, q, a)) <= tolerance, (p, q, a, f)
        assert relative_error(g, exact_grad(p, q, a)) <= tolerance, (p, q, a, g)


def residuals(dtype: torch.dtype, a: float, exponents: Tensor) -> Tensor:
    """Residuals `t` of both signs with `|a t| = 10**exponents`."""
    x = 10.0**exponents
    return (torch.cat([x, -x]) / a).to(dtype)


@pytest.mark.parametrize("a", DECADES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_log_cosh_is_accurate_over_thirty_decades_of_the_residual(dtype: torch.dtype, a: float) -> None:
    t = residuals(dtype, a, torch.linspace(-15, 15, 151, dtype=torch.float64))
    assert_exact(t, torch.zeros_like(t), a)
    generator = torch.Generator().manual_seed(0)
    target = (t.double() * torch.randn(t.shape, generator=generator, dtype=torch.float64)).to(dtype)
    assert_exact(t + target, target, a)


@pytest.mark.parametrize("a", [1e-3, 0.0371, 1.0, 100.0, 9999.7])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_log_cosh_is_accurate_where_the_two_formulas_meet(dtype: torch.dtype, a: float) -> None:
    x = torch.cat([torch.linspace(0.05, 3, 150, dtype=torch.float64), 1.25 + 1e-3 * torch.linspace(-1, 1, 50)])
    t = (x / a).to(dtype)
    # with a stride of 2, too: torch uses other kernels for memory that is not contiguous
    assert_exact(t, torch.zeros_like(t), a)
    assert_exact(-t[::2], torch.zeros_like(t)[::2], a)
    assert_exact(0.3 * t, 1.3 * t, a)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    dtype=st.sampled_from(list(TOLERANCE)),
    a=st.floats(math.log(1e-3), math.log(1e4)).map(math.exp),
    x=st.tuples(st.floats(-15, 15), st.sampled_from([-1.0, 1.0])).map(lambda pair: pair[1] * 10.0 ** pair[0]),
    shift=st.floats(-4, 4),
)
@example(dtype=torch.float32, a=100.0, x=0.0, shift=1.0)
def test_log_cosh_is_accurate_at_random_inputs(dtype: torch.dtype, a: float, x: float, shift: float) -> None:
    t = torch.tensor([x / a], dtype=torch.float64)
    target = (shift * t).to(dtype)
    assert_exact((t + target.double()).to(dtype), target, a)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_finite_inputs_give_finite_results_unless_the_value_overflows(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    scales = [5e-324, 1e-310, 1e-308, 1e-300, 1e-200, 1e-45, 1e-38, 1e-30, 1.0, 1e30, 1e38, 1e45, 1e200, 1.7e308]
    points = [0.0, info.smallest_normal / 4, info.smallest_normal, 1e-30, 1e-8, 1.0, 1e15, info.max / 3, info.max]
    pairs = [(s * p, r * q) for p, q in itertools.product(points, [0.0, info.max]) for s in (1, -1) for r in (1, -1)]
    prediction, target = torch.tensor(pairs, dtype=dtype).unbind(1)
    for a in scales:
        value, grad = value_and_grad(prediction, target, a)
        assert not grad.isnan().any()
        for p, q, f, g in zip(*(x.tolist() for x in (prediction, target, value, grad)), strict=True):
            exact, exact_derivative = exact_value(p, q, a), exact_grad(p, q, a)
            assert math.isfinite(f) or exact > info.max * (1 - TOLERANCE[dtype]), (p, q, a)
            if 0 < a * abs(p - q) < torch.finfo(torch.float64).smallest_normal:
                continue  # a t is subnormal and has few digits itself
            if exact <= info.smallest_normal:
                assert 0 <= f <= 2 * info.smallest_normal, (p, q, a)
            elif exact < info.max * (1 - TOLERANCE[dtype]):
                assert relative_error(f, exact) <= TOLERANCE[dtype], (p, q, a)
            else:
                assert f >= info.max * (1 - TOLERANCE[dtype]), (p, q, a)
            if abs(exact_derivative) > info.smallest_normal:
                assert relative_error(g, exact_derivative) <= TOLERANCE[dtype], (p, q, a)


@pytest.mark.parametrize("a", [1e-305, 0.01, 1.0, 100.0, 1e35])
@pytest.mark.parametrize(("dtype", "digits", "least"), [(torch.float16, 11, 2.0**-24), (torch.bfloat16, 8, 2.0**-133)])
def test_float16_and_bfloat16_are_rounded_once(dtype: torch.dtype, digits: int, least: float, a: float) -> None:
    patterns = torch.arange(0, 0x7F80 if dtype == torch.bfloat16 else 0x7C00, 67, dtype=torch.int16)
    t = patterns.view(dtype)
    value, grad = value_and_grad(t, torch.zeros_like(t), a)
    for exact, obtained in ((exact_value, value), (exact_grad, grad)):
        reference = torch.tensor([float(exact(p, 0.0, a)) for p in t.tolist()], dtype=torch.float64)
        _, exponent = torch.frexp(reference)
        ulp = torch.ldexp(torch.ones_like(reference), exponent - digits).clamp(min=least)
        error = (obtained.double() - reference).abs()
        assert bool((error <= 0.5 * ulp + 5e-7 * reference).all())


def test_second_derivative_is_a_sech_squared() -> None:
    a = 2.5
    t = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(log_cosh(t, torch.zeros_like(t), a=a).sum(), t, create_graph=True)
    (curvature,) = torch.autograd.grad(grad.sum(), t)
    exact = torch.tensor([float(a * mpmath.sech(a * x) ** 2) for x in t.tolist()], dtype=torch.float64)
    torch.testing.assert_close(curvature, exact, rtol=0, atol=4e-16 * a)


def test_bounds_of_proposition_1_hold() -> None:
    t = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    zero = torch.zeros_like(t)
    for a in DECADES:
        f = log_cosh(t, zero, a=a)
        absolute = l1(t, zero)
        slack = 1e-15 * absolute
        assert bool(((f <= absolute + slack) & (f >= absolute - math.log(2) / a - slack)).all())
        assert bool((f <= a / 2 * squared_l2(t, zero) * (1 + 1e-15)).all())


def test_coefficients_are_those_computed_by_the_script() -> None:
    script = Path(__file__).parents[2] / "tools" / "log_cosh_coefficients.py"
    computed = runpy.run_path(str(script))
    assert computed["BRANCH"] == autograd._BRANCH
    assert computed["CENTRE"] == autograd._CENTRE
    code = (Path(str(autograd.__file__)).parent / "log_cosh.c").read_text()
    for name, polynomial in computed["POLYNOMIALS"].items():
        coefficients = polynomial.coefficients()[0]
        if name in ("_SINGLE", "_DOUBLE"):
            assert getattr(autograd, name) == tuple(coefficients)
        if name != "_DOUBLE":
            assert all(f"{abs(coefficient)!r}f" in code for coefficient in coefficients), name


# Published formulas, as their authors write them.


def keras_formula(t: Tensor) -> Tensor:
    """Keras. The equivalent formula of optax and MLX is `logaddexp(t, -t) - log(2)`."""
    return t + F.softplus(-2.0 * t) - math.log(2.0)


def pytorch_vae_formula(t: Tensor, a: float) -> Tensor:
    """AntixK/PyTorch-VAE, elementwise."""
    return (1.0 / a) * (a * t + torch.log(1.0 + torch.exp(-2.0 * a * t)) - math.log(2.0))


def torchmetrics_formula(t: Tensor) -> Tensor:
    from torchmetrics.functional.regression import log_cosh_error

    return torch.stack([log_cosh_error(x.reshape(1), torch.zeros(1, dtype=t.dtype)) for x in t])


def test_log_cosh_agrees_with_published_formulas_where_those_are_accurate() -> None:
    t = torch.cat([torch.linspace(-20, -1, 40), torch.linspace(1, 20, 40)]).double()
    ours = log_cosh(t, torch.zeros_like(t))
    for formula_value in (torch.logaddexp(t, -t) - math.log(2.0), pytorch_vae_formula(t, 1.0), torchmetrics_formula(t)):
        torch.testing.assert_close(ours, formula_value, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours, keras_formula(t), rtol=1e-9, atol=0)  # torch's softplus(x) returns x above 20
    scaled = log_cosh(t / 10, torch.zeros_like(t), a=10.0)
    torch.testing.assert_close(scaled, pytorch_vae_formula(t / 10, 10.0), rtol=1e-12, atol=0)
    torch.testing.assert_close(scaled, ours / 10, rtol=1e-14, atol=0)


def test_published_formulas_fail_near_zero_and_for_large_residuals_where_log_cosh_is_accurate() -> None:
    near = torch.tensor([1e-4, -1e-4])
    for formula_value in (keras_formula(near), pytorch_vae_formula(near, 1.0), torchmetrics_formula(near)):
        assert bool((formula_value <= 0).all())  # the true value is 5e-9
    torch.testing.assert_close(log_cosh(near, torch.zeros(2)), torch.full((2,), 5e-9), rtol=5e-7, atol=0)

    far = torch.tensor([-100.0, 100.0])
    exact = torch.tensor([float(exact_value(x, 0.0, 1.0)) for x in far.tolist()])
    assert torchmetrics_formula(far).tolist() == [math.inf, math.inf]
    assert pytorch_vae_formula(torch.tensor([-0.5]), 100.0).tolist() == [math.inf]  # with its default a
    torch.testing.assert_close(keras_formula(far), exact, rtol=5e-7, atol=0)
    torch.testing.assert_close(log_cosh(far, torch.zeros(2)), exact, rtol=5e-7, atol=0)


def test_surrogate_gradient_is_accurate_near_zero_where_the_papers_sigmoid_cancels() -> None:
    t = torch.tensor([1e-6], requires_grad=True)
    log_cosh_surrogate(t, torch.zeros(1)).sum().backward()
    assert t.grad is not None
    assert relative_error(t.grad.item(), exact_grad(t.item(), 0.0, 1.0)) < 5e-7
    sigmoid = 2 * torch.sigmoid(2 * t.detach()) - 1
    assert relative_error(sigmoid.item(), exact_grad(t.item(), 0.0, 1.0)) > 1e-2
