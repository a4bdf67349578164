"""The compiled losses: where they serve they agree with torch's, and where they do not they step aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from logcosh_vae import compiled
from logcosh_vae.losses import log_cosh, log_cosh_gradient_only

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="no C compiler was there at the install")
A = 7.5


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def both(prediction: Tensor, target: Tensor, factors: Tensor | None = None) -> list[Tensor]:
    """Value, gradient of the weighed sum, and the same of the gradient-only form."""
    results = []
    for function in (log_cosh, log_cosh_gradient_only):
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
        patch.setattr(compiled, "library", lambda: None)
        expected = both(prediction, target, factors if weighed else None)
    for one, other in zip(obtained, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


@pytest.mark.parametrize("count", [1, 7, compiled.A_THREAD_S, 3 * compiled.A_THREAD_S + 5])
def test_the_same_bits_on_any_number_of_threads(count: int, threads: Callable[[int], None]) -> None:
    prediction, target, factors = torch.randn(3, count)
    results = []
    for number in (1, 2, 5):
        threads(number)
        results.append((both(prediction, target), both(prediction, target, factors)))
    for plain, weighed in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(plain, results[0][0], strict=True))
        assert all(torch.equal(x, y) for x, y in zip(weighed, results[0][1], strict=True))


def test_it_serves_pixels_and_steps_aside_elsewhere() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    assert compiled.value(pixels, pixels, A) is not None
    assert compiled.slope(pixels, pixels, A, torch.ones(()).expand_as(pixels)) is not None
    for other in (pixels.double(), pixels.half(), pixels.to("meta"), pixels.transpose(2, 3), pixels[:1]):
        assert compiled.value(pixels, other, A) is None
    seen = []
    torch.func.vmap(lambda x: seen.append(compiled.value(x, x, A)) or x)(pixels)
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
        fake = log_cosh(prediction, target, a=A)
    assert isinstance(fake, FakeTensor)
