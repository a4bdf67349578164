"""The CPU kernels: they agree with torch operations where they apply, and return None elsewhere."""

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

pytestmark = pytest.mark.skipif(cpu_kernel.library() is None, reason="the package was installed without a C compiler")
A = 7.5


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def values_and_grads(prediction: Tensor, target: Tensor, output_grad: Tensor | None = None) -> list[Tensor]:
    """Value and gradient of the loss, then of its surrogate; `output_grad` weights the elements."""
    results = []
    for function in (log_cosh, log_cosh_surrogate):
        leaf = prediction.detach().requires_grad_()
        value = function(leaf, target, a=A)
        total = value.sum() if output_grad is None else (value * output_grad).sum()
        results += [value.detach(), torch.autograd.grad(total, leaf)[0]]
    return results


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 9), max_size=5),
    layout=st.sampled_from(["contiguous", "channels last", "transposed", "strided"]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_kernels_agree_with_torch_operations_in_every_layout(
    shape: list[int], layout: str, weighted: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, target, output_grad = (torch.randn(shape, generator=generator) for _ in range(3))
    if layout == "channels last" and len(shape) == 4:
        prediction, target = (x.to(memory_format=torch.channels_last) for x in (prediction, target))
    elif layout == "transposed" and len(shape) >= 2:
        prediction = prediction.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "strided" and shape:
        prediction, target = (
            torch.randn(x.shape, generator=generator).repeat_interleave(2, 0)[::2] for x in (prediction, target)
        )
    obtained = values_and_grads(prediction, target, output_grad if weighted else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_kernel, "library", lambda: None)
        expected = values_and_grads(prediction, target, output_grad if weighted else None)
    for result, reference in zip(obtained, expected, strict=True):
        torch.testing.assert_close(result, reference, rtol=1e-6, atol=0)


@pytest.mark.parametrize("count", [1, 7, cpu_kernel.ELEMENTS_PER_THREAD, 3 * cpu_kernel.ELEMENTS_PER_THREAD + 5])
def test_results_are_bitwise_equal_for_any_number_of_threads(count: int, threads: Callable[[int], None]) -> None:
    prediction, target, output_grad = torch.randn(3, count)
    results = []
    for number in (1, 2, 5):
        threads(number)
        results.append((values_and_grads(prediction, target), values_and_grads(prediction, target, output_grad)))
    for plain, weighted in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(plain, results[0][0], strict=True))
        assert all(torch.equal(x, y) for x, y in zip(weighted, results[0][1], strict=True))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("count", [1, 1023, 1024, 5000, 3 * cpu_kernel.ELEMENTS_PER_THREAD + 5])
def test_reductions_agree_with_the_elementwise_loss_for_any_number_of_threads(
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


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")  # raised inside torch
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reductions_support_second_derivatives_forward_mode_and_transforms(reduction: str) -> None:
    prediction, target, direction = torch.randn(3, 2, 9)
    module = LogCoshLoss(A, reduction)

    def elementwise_then_reduced(p: Tensor, t: Tensor) -> Tensor:
        return getattr(log_cosh(p, t, a=A), reduction)()

    def derivatives(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        p, t = prediction.clone().requires_grad_(), target.clone().requires_grad_()
        grads = torch.autograd.grad(loss(p, t), (p, t), create_graph=True)
        second = torch.autograd.grad((grads[0] * direction).sum(), (p, t))
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(loss(forward_ad.make_dual(prediction, direction), target)).tangent
        assert tangent is not None
        per_row = torch.func.vmap(torch.func.grad(loss))(prediction, target)
        hessian = torch.func.hessian(loss)(prediction[0], target[0])
        (batched,) = torch.autograd.grad(loss(p, t), p, torch.tensor([1.0, -2.0]), is_grads_batched=True)
        return [*grads, *second, tangent, per_row, hessian, batched]

    for obtained, expected in zip(derivatives(module), derivatives(elementwise_then_reduced), strict=True):
        torch.testing.assert_close(obtained, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reductions_of_empty_nan_and_overflowing_inputs_agree_with_torch(reduction: str) -> None:
    loss = LogCoshLoss(A, reduction)
    huge = torch.full((5000,), 3e38)
    for prediction in (torch.ones(0, 3), huge, huge * 2, huge * 0, torch.tensor([1.0, math.nan])):
        elements = log_cosh(prediction, torch.zeros_like(prediction), a=A)
        value = loss(prediction, torch.zeros_like(prediction))
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, getattr(elements, reduction)(), equal_nan=True)


def test_kernels_apply_to_dense_float32_and_return_none_elsewhere() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    assert cpu_kernel.value(pixels, pixels, A) is not None
    assert cpu_kernel.grad(pixels, pixels, A, torch.ones(()).expand_as(pixels)) is not None
    assert cpu_kernel.total(pixels, pixels, A) is not None
    for other in (pixels.double(), pixels.half(), pixels.to("meta"), pixels.transpose(2, 3), pixels[:1]):
        assert cpu_kernel.value(pixels, other, A) is None
        assert cpu_kernel.total(pixels, other, A) is None
    results = []
    torch.func.vmap(lambda x: results.append(cpu_kernel.value(x, x, A)) or x)(pixels)
    assert results == [None]


def test_float32_supports_second_derivatives_and_transforms() -> None:
    t = torch.linspace(-1.0, 1.0, 9, requires_grad=True)
    (grad,) = torch.autograd.grad(log_cosh(t, torch.zeros(9), a=A).sum(), t, create_graph=True)
    (curvature,) = torch.autograd.grad(grad.sum(), t)
    torch.testing.assert_close(curvature, A / torch.cosh(A * t.detach()) ** 2, rtol=1e-4, atol=1e-5)
    single = torch.func.vmap(torch.func.grad(lambda x: log_cosh(x, torch.zeros(()), a=A)))(t.detach())
    torch.testing.assert_close(single, grad.detach(), rtol=1e-6, atol=0)


def test_lazily_negated_and_conjugated_inputs_give_correct_results() -> None:
    prediction, target = torch.randn(2, 5)
    negative = torch._neg_view(prediction)
    torch.testing.assert_close(log_cosh(negative, target, a=A), log_cosh(-prediction, target, a=A))
    imaginary = torch.complex(torch.zeros(1), torch.tensor([0.7])).conj().imag
    torch.testing.assert_close(log_cosh(imaginary, target[:1], a=A), log_cosh(torch.tensor([-0.7]), target[:1], a=A))
    leaf = torch.tensor([2.0], requires_grad=True)
    value = log_cosh(leaf, torch.tensor([1.0]), a=1.0)
    (gradient,) = torch.autograd.grad((torch.complex(torch.zeros(1), value).conj() * 1j).real.sum(), leaf)
    torch.testing.assert_close(gradient, torch.tensor([1.0]).tanh())


def test_tracing_and_fake_tensors_see_torch_operations() -> None:
    prediction, target, other = torch.randn(3, 5)
    traced = make_fx(lambda p, t: log_cosh(p, t, a=A))(prediction, target)
    torch.testing.assert_close(traced(other, target), log_cosh(other, target, a=A))
    with FakeTensorMode(allow_non_fake_inputs=True):
        fakes = log_cosh(prediction, target, a=A), LogCoshLoss(A)(prediction, target)
    assert all(isinstance(fake, FakeTensor) for fake in fakes)
