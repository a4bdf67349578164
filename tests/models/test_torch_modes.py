"""Every public loss and model works in torch's modes, beside `nn.MSELoss` and a network of torch.nn.

A mode takes a module and its inputs and computes the result in another way: traced, exported, compiled, copied, on
other devices, and so on. The result must be that of a plain call.
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from logcosh_vae import LogCoshLoss, l1, log_cosh, log_cosh_surrogate, squared_l2
from logcosh_vae.losses import GaussianLikelihood, LaplaceLikelihood, LogCoshDistribution, LogCoshLikelihood
from logcosh_vae.losses.likelihood_base import LEARN, Likelihood
from logcosh_vae.models import MODELS, VAE
from logcosh_vae.models.distributions import kl_divergence, mmd
from logcosh_vae.models.networks import NETWORKS, Size

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch, about its own modes
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),  # dynamo's
]


class Applied(nn.Module):
    """A function of prediction and target as a module."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target)


class Reconstruct(nn.Module):
    """The reconstructions of a model, which do not depend on noise."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        images: Tensor = self.model.reconstruct(x)
        return images


class Total(nn.Module):
    """The `nll_total` of a likelihood, which training minimises."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.likelihood.nll_total(prediction, target)


class GaussianNll(nn.Module):
    """`nn.GaussianNLLLoss` with a variance of 0.01 for all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = nn.GaussianNLLLoss()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        value: Tensor = self.loss(prediction, target, 0.01)
        return value


class Distributed(nn.Module):
    """The negative log-density of `LogCoshDistribution` around the prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shape = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.5))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return -LogCoshDistribution(prediction, self.scale, self.shape, validate_args=False).log_prob(target)


LIKELIHOODS: dict[str, Likelihood] = {
    **{
        f"{cls.__name__} {learn}": cls(0.1, learn)
        for cls in (GaussianLikelihood, LaplaceLikelihood)
        for learn in ("none", "scale")
    },
    **{f"LogCoshLikelihood {learn}": LogCoshLikelihood(0.1, 0.5, learn) for learn in LEARN},
    "LogCoshLikelihood pixel": LogCoshLikelihood(0.1, 0.5, "scale+shape", "pixel", image_shape=(1, 1, 5)),
}

LOSSES: dict[str, nn.Module] = {
    "GaussianNLLLoss": GaussianNll(),
    **LIKELIHOODS,
    **{f"{name} total": Total(likelihood) for name, likelihood in LIKELIHOODS.items()},
    "LogCoshDistribution": Distributed(),
    "MSELoss": nn.MSELoss(),
    "MSELoss none": nn.MSELoss(reduction="none"),
    **{f"LogCoshLoss {reduction}": LogCoshLoss(10.0, reduction) for reduction in ("mean", "sum", "none")},
    **{function.__name__: Applied(function) for function in (log_cosh, log_cosh_surrogate, l1, squared_l2)},
}


def _models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    models: dict[str, nn.Module] = {
        "torch.nn": nn.Sequential(nn.Flatten(), nn.Linear(784, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28)))
    }
    for family, cls in MODELS.items():
        for network in NETWORKS:
            models[f"{family}-{network}"] = Reconstruct(cls.from_network(network, size=Size((32,), 1 / 32)))
    return {name: model.eval() for name, model in models.items()}


MODULES = LOSSES | _models()


def inputs_of(name: str, rows: int = 6) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(rows)
    if name in LOSSES:
        shape = (rows, 1, 1, 5) if "pixel" in name else (rows, 5)
        prediction, target = torch.rand(2, *shape, generator=generator)
        return prediction, target
    return (torch.rand(rows, 1, 28, 28, generator=generator),)


def _saved(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def _checkpointed(module: nn.Module, *inputs: Tensor) -> Tensor:
    leaf = inputs[0].clone().requires_grad_()
    result: Tensor = checkpoint(module, leaf, *inputs[1:], use_reentrant=False)
    result.sum().backward()
    assert leaf.grad is not None
    return result.detach()


def _inferred(module: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = module(*inputs)
    return result


def _forked(module: nn.Module, *inputs: Tensor) -> Tensor:
    """The result of a child process that is forked after the parent has used the module."""
    module(*inputs)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(module(*inputs).detach().tolist()))
    child.start()
    assert ours.poll(60), "the child process hangs"
    values = ours.recv()
    child.join(60)
    return torch.tensor(values)


MODES: dict[str, Callable[..., Tensor]] = {
    "deep copy": lambda module, *inputs: copy.deepcopy(module)(*inputs),
    "pickle": lambda module, *inputs: pickle.loads(pickle.dumps(module))(*inputs),
    "torch.save": lambda module, *inputs: _saved(module)(*inputs),
    "fx": lambda module, *inputs: torch.fx.symbolic_trace(module)(*inputs),
    "jit.trace": lambda module, *inputs: torch.jit.trace(module, inputs)(*inputs),
    "make_fx": lambda module, *inputs: torch.fx.experimental.proxy_tensor.make_fx(module)(*inputs)(*inputs),
    "inference mode": _inferred,
    "checkpoint": _checkpointed,
    "functional call": lambda module, *inputs: functional_call(module, dict(module.named_parameters()), inputs),
    "DataParallel": lambda module, *inputs: nn.DataParallel(module)(*inputs),
    "half precision parameters and back": lambda module, *inputs: copy.deepcopy(module).double().float()(*inputs),
    "fork": _forked,
}

every_module = pytest.mark.parametrize("name", MODULES)
every_loss = pytest.mark.parametrize("name", LOSSES)

UNSUPPORTED_BY_TORCH = ("GaussianNLLLoss",)
"""Losses of torch that neither work in `vmap` nor are float32 under autocast."""


@every_module
@pytest.mark.parametrize("mode", MODES)
def test_result_is_the_same_in_every_mode(name: str, mode: str) -> None:
    if mode == "fork" and (not hasattr(os, "fork") or sys.platform == "darwin"):
        pytest.skip("this system does not fork")
    module, inputs = MODULES[name], inputs_of(name)
    torch.testing.assert_close(MODES[mode](module, *inputs), module(*inputs))


@every_module
def test_derivatives_of_function_transforms_are_those_of_autograd(name: str) -> None:
    module, (first, *others) = MODULES[name], inputs_of(name)
    leaf = first.clone().requires_grad_()
    module(leaf, *others).sum().backward()

    def total(values: Tensor, *more: Tensor) -> Tensor:
        result: Tensor = module(values, *more).sum()
        return result

    torch.testing.assert_close(grad(total)(first, *others), leaf.grad)
    direction = torch.rand_like(first)
    _, tangent = jvp(lambda values: total(values, *others), (first,), (direction,))
    torch.testing.assert_close(tangent, (leaf.grad * direction).sum(), rtol=1e-4, atol=1e-5)
    if name in UNSUPPORTED_BY_TORCH:
        return
    rows = [values[:, None] for values in (first, *others)]
    each = [module(*row) for row in zip(*rows, strict=True)]
    torch.testing.assert_close(vmap(module)(*rows), torch.stack(each))
    assert vmap(grad(total))(*rows).shape == rows[0].shape


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_second_derivatives_of_the_total_are_those_of_the_sum(name: str) -> None:
    likelihood = copy.deepcopy(LIKELIHOODS[name]).double()
    prediction, target = (values[:2].double() for values in inputs_of(name))
    inputs = [prediction.requires_grad_(), target.requires_grad_(), *likelihood.parameters()]

    def second_derivatives(total: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        first = torch.autograd.grad(total(prediction, target), inputs, create_graph=True)
        penalty = sum((grad.square().sum() for grad in first), torch.zeros(()))
        return [*first, *torch.autograd.grad(penalty, inputs)]

    expected = second_derivatives(lambda *pair: likelihood.nll(*pair).sum())
    torch.testing.assert_close(second_derivatives(likelihood.nll_total), expected)
    hessian = torch.autograd.functional.hessian(likelihood.nll_total, (prediction, target), vectorize=True)
    torch.testing.assert_close(torch.func.hessian(likelihood.nll_total)(prediction, target), hessian[0][0])


@every_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_meta_device_gives_shapes_and_dtypes(name: str, dtype: torch.dtype) -> None:
    module, inputs = MODULES[name], inputs_of(name)
    expected = module(*inputs)
    result = copy.deepcopy(module).to("meta", dtype)(*(values.to("meta", dtype) for values in inputs))
    assert (result.device.type, result.shape, result.dtype) == ("meta", expected.shape, dtype)


@every_module
def test_export_with_a_dynamic_batch(name: str) -> None:
    module, inputs = MODULES[name], inputs_of(name)
    batch = torch.export.Dim("batch", min=2)
    shapes: Any = tuple({0: batch} for _ in inputs)
    file = io.BytesIO()
    torch.export.save(torch.export.export(module, inputs, dynamic_shapes=shapes), file)
    file.seek(0)
    exported = torch.export.load(file).module()
    for rows in (6, 3, 28):
        more = inputs_of(name, rows)
        torch.testing.assert_close(exported(*more), module(*more))


def check_compiled(module: nn.Module, name: str, backend: str) -> None:
    """Check values and gradients of a compiled module for batches of several sizes, so that shapes are dynamic."""
    torch.compiler.reset()
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    for rows in (6, 4, 28):
        first, *others = inputs_of(name, rows)
        results = []
        for function in (module, compiled):
            leaf = first.clone().requires_grad_()
            value = function(leaf, *others)
            value.sum().backward()
            results.append((value.detach(), leaf.grad))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["LogCoshLoss mean", "log_cosh_surrogate", "LogCoshLikelihood scale+shape total", "vae-mlp"]
)
def test_compiled_module_takes_batches_of_any_size(name: str) -> None:
    check_compiled(MODULES[name], name, "aot_eager")


@pytest.mark.slow
@every_module
def test_module_compiled_by_inductor_takes_batches_of_any_size(name: str) -> None:
    check_compiled(MODULES[name], name, "inductor")


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("training", [False, True])
def test_whole_model_is_compiled_exported_and_traced_with_its_noise(family: str, training: bool) -> None:
    torch.manual_seed(0)
    model = MODELS[family].from_network("mlp", size=Size((32,))).train(training)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager")
    for rows in (6, 4, 28):
        x = torch.rand(rows, 1, 28, 28)
        assert compiled(x).x_hat.shape == x.shape
        noise = [torch.Generator().manual_seed(1) for _ in range(2)]
        torch.testing.assert_close(compiled(x, noise[0]).x_hat, model(x, noise[1]).x_hat)
    file = io.BytesIO()
    dynamic = {"x": {0: torch.export.Dim("batch", min=2)}}
    torch.export.save(torch.export.export(model, (torch.rand(6, 1, 28, 28),), dynamic_shapes=dynamic), file)
    file.seek(0)
    exported, traced = torch.export.load(file).module(), torch.fx.symbolic_trace(model)
    x = torch.rand(9, 1, 28, 28)
    for function in (exported, traced):
        first, second = function(x), function(x)
        assert first.x_hat.shape == x.shape
        assert torch.equal(first.z, second.z) is (family == "wae"), "the noise of a VAE must not be constant"


def test_models_of_an_ensemble_are_computed_together() -> None:
    models = [VAE.from_network("mlp", size=Size((32,))).eval() for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    base, x = Reconstruct(copy.deepcopy(models[0]).to("meta")), inputs_of("vae-mlp")[0]
    parameters, buffers = ({f"model.{key}": value for key, value in group.items()} for group in (parameters, buffers))
    together = vmap(lambda p, b: functional_call(base, (p, b), (x,)))(parameters, buffers)
    torch.testing.assert_close(together, torch.stack([model.reconstruct(x) for model in models]))


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in UNSUPPORTED_BY_TORCH])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_are_float32_under_autocast_in_other_modes_too(name: str, dtype: torch.dtype) -> None:
    torch.compiler.reset()
    module, inputs = MODULES[name], tuple(values.to(dtype) for values in inputs_of(name))
    with torch.autocast("cpu", dtype):
        assert module(*inputs).dtype == torch.float32
        assert vmap(module)(*inputs).dtype == torch.float32
        assert jvp(lambda values: module(values, inputs[1]), inputs[:1], inputs[:1])[1].dtype == torch.float32
        assert torch.fx.symbolic_trace(module)(*inputs).dtype == torch.float32
        assert torch.compile(module, backend="eager", fullgraph=True)(*inputs).dtype == torch.float32


@pytest.mark.parametrize("family", MODELS)
def test_codes_divergences_and_images_are_float32_under_autocast(family: str) -> None:
    torch.manual_seed(0)
    model, x = MODELS[family].from_network("mlp", size=Size((32,))), torch.rand(64, 1, 28, 28)
    with torch.autocast("cpu", torch.float16):
        output = model(x)
        mean, log_variance = torch.zeros(2, 64, 8, dtype=torch.float16)
        kl = kl_divergence(mean, log_variance + 15.0)
        divergence = mmd(mean + 100.0, mean)
    assert {output.x_hat.dtype, output.z.dtype, kl.dtype, divergence.dtype} == {torch.float32}
    torch.testing.assert_close(kl, kl_divergence(mean.float(), log_variance.float() + 15.0))
    torch.testing.assert_close(divergence, mmd(mean.float() + 100.0, mean.float()))
