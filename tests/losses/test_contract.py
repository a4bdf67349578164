"""Behaviour that every registered loss guarantees, `LogCoshLoss`, and the surrogate of log-cosh."""

from __future__ import annotations

import copy
import doctest
import itertools
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, hessian, jvp, vmap

from logcosh_vae.losses import (
    LOSSES,
    LogCoshLoss,
    Loss,
    LossKind,
    l1,
    log_cosh,
    log_cosh_surrogate,
    make_loss,
    squared_l2,
)

A = 2.5
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LOSSES_UNDER_TEST = [make_loss(name, A if kind.takes_a else None) for name, kind in LOSSES.items()]
SMOOTH = [loss for loss in LOSSES_UNDER_TEST if math.isfinite(loss.curvature)]
every_loss = pytest.mark.parametrize("loss", LOSSES_UNDER_TEST, ids=lambda loss: loss.name)
smooth_loss = pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: loss.name)
# warnings raised inside torch: by forward-mode differentiation, and by its compiler for a custom autograd function
ignore_torch_jit_warning = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
ignore_empty_function_warning = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Use one thread: the tensors are tiny, and on a shared machine a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pair(*shape: int, dtype: torch.dtype = torch.float64, requires_grad: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    prediction, target = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return prediction.requires_grad_(requires_grad), target.requires_grad_(requires_grad)


def gradient(function: object, prediction: Tensor, target: Tensor) -> Tensor:
    prediction = prediction.detach().clone().requires_grad_()
    assert callable(function)
    (result,) = torch.autograd.grad(function(prediction, target).sum(), prediction)
    return result


@every_loss
@pytest.mark.parametrize("shapes", [((2, 3), (3,)), ((2, 1), (2, 3)), ((), (1,)), ((0,), (0, 1))])
def test_unequal_shapes_are_rejected_and_named(loss: Loss, shapes: tuple[tuple[int, ...], ...]) -> None:
    for function in (loss.value, loss.surrogate):
        with pytest.raises(ValueError, match="shape") as caught:
            function(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
        assert f"got {shapes[0]} and {shapes[1]}" in str(caught.value)


@every_loss
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_unsupported_dtypes_are_rejected_and_named(loss: Loss, dtype: torch.dtype) -> None:
    for function in (loss.value, loss.surrogate):
        with pytest.raises(TypeError, match=f"prediction .*{dtype}"):
            function(torch.zeros(2, dtype=dtype), torch.zeros(2))
        with pytest.raises(TypeError, match=f"target .*{dtype}"):
            function(torch.zeros(2), torch.zeros(2, dtype=dtype))
        with pytest.raises(TypeError, match=r"target .*float"):
            function(torch.zeros(()), 0.0)


@every_loss
@pytest.mark.parametrize(("first", "second"), list(itertools.product(FLOATS, FLOATS)))
def test_value_has_the_promoted_dtype_and_gradients_those_of_their_inputs(
    loss: Loss, first: torch.dtype, second: torch.dtype
) -> None:
    prediction, target = pair(4, 3)
    prediction, target = prediction.to(first).requires_grad_(), target.to(second).requires_grad_()
    value = loss.value(prediction, target)
    assert value.dtype == loss.surrogate(prediction, target).dtype == torch.promote_types(first, second)
    exact = loss.value(prediction.double(), target.double())
    torch.testing.assert_close(value.double(), exact, rtol=torch.finfo(value.dtype).eps, atol=1e-6)
    grads = torch.autograd.grad(value.sum(), (prediction, target))
    assert [g.dtype for g in grads] == [first, second]


@every_loss
def test_memory_layout_does_not_change_the_result_and_any_shape_is_accepted(loss: Loss) -> None:
    prediction, target = pair(6, 8)
    expected = loss.value(prediction, target)
    torch.testing.assert_close(loss.value(prediction.t(), target.t()), expected.t())
    torch.testing.assert_close(loss.value(prediction[::2, 1::3], target[::2, 1::3]), expected[::2, 1::3])
    torch.testing.assert_close(
        gradient(loss.value, prediction.t(), target.t()).t(), gradient(loss.value, prediction, target)
    )
    row = target[:1].expand(6, 8)
    torch.testing.assert_close(loss.value(prediction, row), loss.value(prediction, row.clone()))
    for shape in ((), (0,), (3, 0, 2), (1,)):
        value = loss.value(*pair(*shape))
        assert value.shape == shape
        assert gradient(loss.value, *pair(*shape)).shape == shape


@every_loss
@pytest.mark.parametrize("dtype", FLOATS)
def test_loss_is_symmetric_zero_at_equality_and_positive_elsewhere(loss: Loss, dtype: torch.dtype) -> None:
    prediction, target = pair(50, dtype=dtype)
    value = loss.value(prediction, target)
    assert torch.equal(value, loss.value(target, prediction))
    assert bool((value > 0).all())
    assert torch.equal(loss.value(target, target), torch.zeros_like(target))
    assert torch.equal(gradient(loss.value, target, target), torch.zeros_like(target))


@every_loss
def test_nan_propagates_and_an_infinite_residual_has_infinite_loss(loss: Loss) -> None:
    nan, inf = math.nan, math.inf
    value = loss.value(torch.tensor([nan, 1.0, nan, inf, -inf, 1.0]), torch.tensor([1.0, nan, nan, 1.0, 1.0, inf]))
    assert value[:3].isnan().all()
    assert value[3:].tolist() == [inf] * 3
    if loss in SMOOTH:  # L1 is excluded: torch's sign(nan) is 0
        assert gradient(loss.value, torch.tensor([nan]), torch.ones(1)).isnan().all()


@every_loss
def test_gradient_of_the_target_is_the_negated_gradient_of_the_prediction(loss: Loss) -> None:
    prediction, target = pair(5, 4, requires_grad=True)
    both = torch.autograd.grad(loss.value(prediction, target).sum(), (prediction, target))
    assert torch.equal(both[0], -both[1])
    for index, arguments in enumerate([(prediction, target.detach()), (prediction.detach(), target)]):
        (alone,) = torch.autograd.grad(loss.value(*arguments).sum(), arguments[index])
        assert torch.equal(alone, both[index])
    assert not loss.value(prediction.detach(), target.detach()).requires_grad


@smooth_loss
@ignore_torch_jit_warning
def test_first_and_second_derivatives_agree_with_finite_differences(loss: Loss) -> None:
    for needs in ((True, True), (True, False), (False, True)):
        inputs = tuple(x.requires_grad_(need) for x, need in zip(pair(3, 2), needs, strict=True))
        assert torch.autograd.gradcheck(loss.value, inputs, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(loss.value, inputs)


@every_loss
@ignore_torch_jit_warning
def test_function_transforms_agree_with_autograd(loss: Loss) -> None:
    prediction, target = pair(5, 3)
    value, expected_grad = loss.value(prediction, target), gradient(loss.value, prediction, target)
    torch.testing.assert_close(vmap(loss.value)(prediction, target), value)
    torch.testing.assert_close(vmap(loss.value, (0, None))(prediction, target[0])[0], value[0])
    torch.testing.assert_close(vmap(loss.value, (None, 0))(prediction[0], target)[0], value[0])

    def total(p: Tensor, q: Tensor) -> Tensor:
        return loss.value(p, q).sum()

    torch.testing.assert_close(grad(total)(prediction, target), expected_grad)
    torch.testing.assert_close(vmap(grad(total))(prediction, target), expected_grad)
    torch.testing.assert_close(vmap(grad(total, argnums=1), (0, None))(prediction, target[0])[0], -expected_grad[0])
    torch.testing.assert_close(jvp(loss.value, (prediction, target), (target, target))[1], torch.zeros_like(value))
    torch.testing.assert_close(
        jvp(lambda p: loss.value(p, target), (prediction,), (target,))[1], expected_grad * target
    )
    curvature = hessian(total)(target[0], target[0])
    if loss in SMOOTH:
        torch.testing.assert_close(curvature, loss.curvature * torch.eye(3, dtype=torch.float64))


@every_loss
@ignore_empty_function_warning
def test_loss_and_surrogate_compile_without_a_graph_break(loss: Loss) -> None:
    torch.compiler.reset()
    for function in (loss.value, loss.surrogate):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        for shape, dtype in (((4, 3), torch.float32), ((5, 3), torch.float32), ((4, 3), torch.bfloat16)):
            prediction, target = pair(*shape, dtype=dtype)
            torch.testing.assert_close(compiled(prediction, target), function(prediction, target))
            torch.testing.assert_close(gradient(compiled, prediction, target), gradient(function, prediction, target))


@ignore_empty_function_warning
@ignore_torch_jit_warning
@pytest.mark.parametrize("dynamic", [False, True])
def test_log_cosh_compiled_by_inductor_agrees_with_eager_mode(dynamic: bool) -> None:
    torch.compiler.reset()
    module = LogCoshLoss(A, reduction="none")
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic)
    for rows in (7, 33) if dynamic else (7,):
        prediction, target = pair(rows, 3, dtype=torch.float32)
        prediction[0] *= 1e-6
        target[0] *= 1e-6
        torch.testing.assert_close(compiled(prediction, target), module(prediction, target), rtol=1e-6, atol=0)
        torch.testing.assert_close(
            gradient(compiled, prediction, target), gradient(module, prediction, target), rtol=1e-6, atol=0
        )


@ignore_empty_function_warning
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions_compile_without_a_graph_break(reduction: str) -> None:
    torch.compiler.reset()
    module = LogCoshLoss(A, reduction)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for dtype in (torch.float32, torch.bfloat16):
        prediction, target = pair(4, 3, dtype=dtype)
        torch.testing.assert_close(compiled(prediction, target), module(prediction, target))
        torch.testing.assert_close(gradient(compiled, prediction, target), gradient(module, prediction, target))


@every_loss
def test_surrogate_has_the_gradient_of_the_loss(loss: Loss) -> None:
    prediction, target = pair(20, dtype=torch.float32)
    assert torch.equal(gradient(loss.surrogate, prediction, target), gradient(loss.value, prediction, target))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (0, 3), (20, 7), (3, 2, 5, 5)])
def test_grad_is_the_gradient_times_the_factor(loss: Loss, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    prediction, target = pair(*shape, dtype=dtype)
    obtained = loss.grad(prediction.clone().requires_grad_(), target, 0.25)
    assert obtained.dtype == dtype
    assert not obtained.requires_grad
    assert torch.equal(obtained, gradient(lambda *both: 0.25 * loss.value(*both), prediction, target))
    with torch.no_grad():
        assert torch.equal(loss.grad(prediction, target, 0.25), obtained)


def test_grad_has_the_dtype_of_the_prediction_and_rejects_another_shape() -> None:
    for loss in (make_loss("l2"), make_loss("log-cosh", A)):
        assert loss.grad(torch.rand(3), torch.rand(3, dtype=torch.float64)).dtype == torch.float32
        with pytest.raises(ValueError, match="same shape"):
            loss.grad(torch.rand(3), torch.rand(4))


@every_loss
def test_training_with_the_surrogate_gives_the_same_weights(loss: Loss) -> None:
    def trained_weights(function: object) -> Tensor:
        assert callable(function)
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6), nn.Sigmoid())
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        images = torch.rand(32, 6, generator=torch.Generator().manual_seed(2))
        for _ in range(50):
            optimizer.zero_grad()
            (function(net(images), images).sum() / len(images)).backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    torch.testing.assert_close(trained_weights(loss.surrogate), trained_weights(loss.value), rtol=1e-5, atol=1e-6)


@every_loss
@pytest.mark.parametrize("a", [1.0, 100.0])
def test_sum_of_a_float16_loss_or_surrogate_of_large_values_is_finite(loss: Loss, a: float) -> None:
    prediction, target = (torch.full((3,), value, dtype=torch.float16) for value in (60000.0, 59968.0))
    for function in (loss.value, loss.surrogate, lambda x, y: log_cosh_surrogate(x, y, a=a)):
        leaf = prediction.clone().requires_grad_()
        total = function(leaf, target).sum()
        total.backward()
        assert bool(total.isfinite())
        assert leaf.grad is not None
        assert bool((leaf.grad > 0).all())


def test_surrogate_gives_the_target_no_gradient() -> None:
    prediction, target = pair(3, requires_grad=True)
    make_loss("log-cosh", A).surrogate(prediction, target).sum().backward()
    assert prediction.grad is not None
    assert target.grad is None


def test_only_the_inputs_are_saved_for_the_backward_pass() -> None:
    prediction, target = pair(4, dtype=torch.float32, requires_grad=True)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        log_cosh(prediction, target, a=A)
    assert {x.data_ptr() for x in saved} == {prediction.data_ptr(), target.data_ptr()}


@pytest.mark.parametrize("a", [0, 0.0, -1.0, math.nan, math.inf, -math.inf, 10**400])
def test_a_out_of_range_is_rejected_and_named(a: float) -> None:
    for make in (
        lambda: log_cosh(torch.zeros(1), torch.zeros(1), a=a),
        lambda: LogCoshLoss(a),
        lambda: make_loss("log-cosh", a),
    ):
        with pytest.raises(ValueError, match="a must be a positive finite number, got " + repr(a)[:20]):
            make()


@pytest.mark.parametrize("a", [True, "1", None, 1j, torch.tensor(1.0)])
def test_a_that_is_not_a_real_number_is_rejected_and_named(a: object) -> None:
    with pytest.raises(TypeError, match="a must be a positive finite number, got "):
        LogCoshLoss(a)  # type: ignore[arg-type]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_module_reduces_like_a_torch_loss_and_has_no_state(reduction: str) -> None:
    module = LogCoshLoss(100, reduction=reduction)
    prediction, target = pair(4, 3)
    values = log_cosh(prediction, target, a=100.0)
    expected = {"mean": values.mean(), "sum": values.sum(), "none": values}[reduction]
    assert repr(module) == f"LogCoshLoss(a=100.0, reduction='{reduction}')"
    assert not module.state_dict()
    assert not list(module.parameters())
    for copied in (module, pickle.loads(pickle.dumps(module)), copy.deepcopy(module), module.half()):
        torch.testing.assert_close(copied(prediction, target), expected, rtol=0, atol=0)
    assert repr(LogCoshLoss()) == "LogCoshLoss(a=1.0, reduction='mean')"


def test_module_rejects_an_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="'average'"):
        LogCoshLoss(reduction="average")


def test_make_loss_binds_a_and_rejects_unknown_names_and_parameters() -> None:
    assert make_loss("log-cosh") == Loss("log-cosh", 1.0)
    assert [make_loss("l2").value(*pair(3)).tolist(), make_loss("l1").value(*pair(3)).tolist()] == [
        squared_l2(*pair(3)).tolist(),
        l1(*pair(3)).tolist(),
    ]
    assert [loss.curvature for loss in (make_loss("l2"), make_loss("l1"), make_loss("log-cosh", 7))] == [2, math.inf, 7]
    with pytest.raises(ValueError, match="unknown loss 'logcosh': did you mean 'log-cosh'"):
        make_loss("logcosh")
    with pytest.raises(ValueError, match="'l2' has no parameter a, got a=3"):
        make_loss("l2", 3.0)


@every_loss
def test_bound_loss_compares_hashes_and_pickles(loss: Loss) -> None:
    copied = pickle.loads(pickle.dumps(loss))
    assert copied == loss
    assert hash(copied) == hash(loss)
    assert torch.equal(copied.value(*pair(3)), loss.value(*pair(3)))


def test_a_loss_is_added_with_one_function_and_one_registry_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def fourth_power(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target) ** 4

    monkeypatch.setitem(LOSSES, "l4", LossKind(fourth_power, curvature=lambda _: 0.0))
    loss = make_loss("l4")
    assert torch.equal(loss.surrogate(*pair(3)), fourth_power(*pair(3)))
    torch.testing.assert_close(loss.grad(torch.tensor([2.0]), torch.tensor([0.0]), 0.5), torch.tensor([16.0]))


def test_examples_in_the_docs_hold() -> None:
    page = Path(__file__).parents[2] / "docs" / "losses.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 5
    assert result.failed == 0


def test_the_loss_alone_imports_nothing_but_torch() -> None:
    code = (
        "import sys, torch\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "from logcosh_vae import LogCoshLoss, l1, log_cosh, log_cosh_surrogate, squared_l2\n"
        "after = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(after - before - sys.stdlib_module_names))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["logcosh_vae"]


@every_loss
def test_losses_are_float32_under_autocast(loss: Loss) -> None:
    """As torch's own: a float16 sum of MNIST's pixels would be inf."""
    prediction, target = (torch.full((40_000,), value, dtype=torch.float16) for value in (4.0, -4.0))
    with torch.autocast("cpu", torch.float16):
        values = loss.value(prediction.requires_grad_(), target)
        reference = nn.functional.mse_loss(prediction, target, reduction="sum")
        total = values.sum()
    assert values.dtype == reference.dtype == torch.float32
    assert math.isfinite(float(total.detach()))
    total.backward()
    assert prediction.grad is not None
    assert prediction.grad.dtype == torch.float16


def test_the_module_is_float32_under_autocast() -> None:
    layer = nn.Linear(50, 400_000)
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        prediction, target = layer(torch.rand(50)), layer(torch.rand(50))
        assert prediction.dtype == torch.float16
        total = LogCoshLoss(100.0, "sum")(prediction, target)
    assert total.dtype == torch.float32
    expected = log_cosh(prediction.double(), target.double(), a=100.0).sum()
    torch.testing.assert_close(total.double(), expected, rtol=1e-3, atol=0.0)


class _Network(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.layer, self.loss = nn.Linear(3, 3), loss

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        value: Tensor = self.loss(self.layer(x), y)
        return value


@pytest.mark.parametrize("module", [nn.MSELoss(), LogCoshLoss(10.0), LogCoshLoss(10.0, "none")], ids=str)
def test_modules_can_be_traced_by_fx(module: nn.Module) -> None:
    network = _Network(module)
    traced = torch.fx.symbolic_trace(network)
    x, y = torch.rand(2, 5, 3)
    torch.testing.assert_close(traced(x, y), network(x, y))


@pytest.mark.parametrize("function", [squared_l2, l1, log_cosh], ids=lambda function: function.__name__)
def test_functions_can_be_traced_by_fx(function: Callable[..., Tensor]) -> None:
    class Traced(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return function(x * 2, y).mean()

    x, y = torch.rand(2, 5, 3)
    torch.testing.assert_close(torch.fx.symbolic_trace(Traced())(x, y), Traced()(x, y))


def test_a_tensor_subclass_keeps_its_class() -> None:
    class Image(Tensor):
        pass

    image = torch.rand(4).as_subclass(Image)
    value = log_cosh(image, torch.rand(4))
    assert type(value) is Image
