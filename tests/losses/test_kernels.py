"""The compiled losses: where they serve they agree with torch's, and where they do not they step aside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from logcosh_vae.losses import LogCoshLoss, cpu_kernel, log_cosh, log_cosh_surrogate

pytestmark = pytest.mark.skipif(cpu_kernel.library() is None, reason="no C compiler was there at the install")
A = 7.5


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def both(prediction: Tensor, target: Tensor, factors: Tensor | None = None) -> list[Tensor]:
    """Value, gradient of the weighed sum, and the same of the gradient-only form."""
    results = []
    for function in (log_cosh, log_cosh_surrogate):
        leaf = prediction.detach().requires_grad_()
        value = function(leaf, target, a=A)
        total = value.sum() if factors is None else (value * factors).sum()
        results += [value.detach(), torch.autograd.grad(total, leaf)[0]]
    return results


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 9), max_size=5),
    layout=st.sampled_from(["as made", "channels last", "transposed", "every second"]),
    weighed=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_the_same_as_by_torch_in_every_layout(shape: list[int], layout: str, weighed: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, target, factors = (torch.randn(shape, generator=generator) for _ in range(3))
    if layout == "channels last" and len(shape) == 4:
        prediction, target = (x.to(memory_format=torch.channels_last) for x in (prediction, target))
    elif layout == "transposed" and len(shape) >= 2:
        prediction = prediction.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "every second" and shape:
        prediction, target = (
            torch.randn(x.shape, generator=generator).repeat_interleave(2, 0)[::2] for x in (prediction, target)
        )
    obtained = both(prediction, target, factors if weighed else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_kernel, "library", lambda: None)
        expected = both(prediction, target, factors if weighed else None)
    for one, other in zip(obtained, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


@pytest.mark.parametrize("count", [1, 7, cpu_kernel.A_THREAD_S, 3 * cpu_kernel.A_THREAD_S + 5])
def test_the_same_bits_on_any_number_of_threads(count: int, threads: Callable[[int], None]) -> None:
    prediction, target, factors = torch.randn(3, count)
    results = []
    for number in (1, 2, 5):
        threads(number)
        results.append((both(prediction, target), both(prediction, target, factors)))
    for plain, weighed in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(plain, results[0][0], strict=True))
        assert all(torch.equal(x, y) for x, y in zip(weighed, results[0][1], strict=True))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("count", [1, 1023, 1024, 5000, 3 * cpu_kernel.A_THREAD_S + 5])
def test_reductions_are_those_of_the_elements_on_any_number_of_threads(
    reduction: str, count: int, threads: Callable[[int], None]
) -> None:
    prediction, target = torch.randn(2, count)
    prediction.requires_grad_()
    module = LogCoshLoss(A, reduction)
    elements = log_cosh(prediction, target, a=A)
    exact = getattr(elements.double(), reduction)()
    (expected,) = torch.autograd.grad(getattr(elements, reduction)(), prediction)
    for number in (1, 2, 5):
        threads(number)
        value = module(prediction, target)
        torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=0)
        assert torch.equal(torch.autograd.grad(value, prediction)[0], expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reductions_keep_second_derivatives_forward_mode_and_transforms(reduction: str) -> None:
    prediction, target, direction = torch.randn(3, 2, 9)
    module = LogCoshLoss(A, reduction)

    def by_elements(p: Tensor, t: Tensor) -> Tensor:
        return getattr(log_cosh(p, t, a=A), reduction)()

    def everything(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        p, t = prediction.clone().requires_grad_(), target.clone().requires_grad_()
        grads = torch.autograd.grad(loss(p, t), (p, t), create_graph=True)
        second = torch.autograd.grad((grads[0] * direction).sum(), (p, t))
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(loss(forward_ad.make_dual(prediction, direction), target)).tangent
        assert tangent is not None
        of_each = torch.func.vmap(torch.func.grad(loss))(prediction, target)
        jacobian = torch.func.hessian(loss)(prediction[0], target[0])
        (batched,) = torch.autograd.grad(loss(p, t), p, torch.tensor([1.0, -2.0]), is_grads_batched=True)
        return [*grads, *second, tangent, of_each, jacobian, batched]

    for obtained, expected in zip(everything(module), everything(by_elements), strict=True):
        torch.testing.assert_close(obtained, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reductions_of_nothing_of_nan_and_beyond_float32_are_torch_s(reduction: str) -> None:
    loss = LogCoshLoss(A, reduction)
    huge = torch.full((5000,), 3e38)
    for prediction in (torch.ones(0, 3), huge, huge * 2, huge * 0, torch.tensor([1.0, math.nan])):
        elements = log_cosh(prediction, torch.zeros_like(prediction), a=A)
        value = loss(prediction, torch.zeros_like(prediction))
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, getattr(elements, reduction)(), equal_nan=True)


def test_it_serves_pixels_and_steps_aside_elsewhere() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    assert cpu_kernel.value(pixels, pixels, A) is not None
    assert cpu_kernel.grad(pixels, pixels, A, torch.ones(()).expand_as(pixels)) is not None
    assert cpu_kernel.total(pixels, pixels, A) is not None
    for other in (pixels.double(), pixels.half(), pixels.to("meta"), pixels.transpose(2, 3), pixels[:1]):
        assert cpu_kernel.value(pixels, other, A) is None
        assert cpu_kernel.total(pixels, other, A) is None
    seen = []
    torch.func.vmap(lambda x: seen.append(cpu_kernel.value(x, x, A)) or x)(pixels)
    assert seen == [None]


def test_float32_keeps_second_derivatives_and_transforms() -> None:
    t = torch.linspace(-1.0, 1.0, 9, requires_grad=True)
    (slope,) = torch.autograd.grad(log_cosh(t, torch.zeros(9), a=A).sum(), t, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), t)
    torch.testing.assert_close(curvature, A / torch.cosh(A * t.detach()) ** 2, rtol=1e-4, atol=1e-5)
    single = torch.func.vmap(torch.func.grad(lambda x: log_cosh(x, torch.zeros(()), a=A)))(t.detach())
    torch.testing.assert_close(single, slope.detach(), rtol=1e-6, atol=0)


def test_signs_that_memory_does_not_hold_count() -> None:
    prediction, target = torch.randn(2, 5)
    negative = torch._neg_view(prediction)
    torch.testing.assert_close(log_cosh(negative, target, a=A), log_cosh(-prediction, target, a=A))
    imaginary = torch.complex(torch.zeros(1), torch.tensor([0.7])).conj().imag
    torch.testing.assert_close(log_cosh(imaginary, target[:1], a=A), log_cosh(torch.tensor([-0.7]), target[:1], a=A))
    leaf = torch.tensor([2.0], requires_grad=True)
    value = log_cosh(leaf, torch.tensor([1.0]), a=1.0)
    (gradient,) = torch.autograd.grad((torch.complex(torch.zeros(1), value).conj() * 1j).real.sum(), leaf)
    torch.testing.assert_close(gradient, torch.tensor([1.0]).tanh())


def test_what_traces_or_fakes_operations_sees_them() -> None:
    prediction, target, other = torch.randn(3, 5)
    traced = make_fx(lambda p, t: log_cosh(p, t, a=A))(prediction, target)
    torch.testing.assert_close(traced(other, target), log_cosh(other, target, a=A))
    with FakeTensorMode(allow_non_fake_inputs=True):
        fakes = log_cosh(prediction, target, a=A), LogCoshLoss(A)(prediction, target)
    assert all(isinstance(fake, FakeTensor) for fake in fakes)
