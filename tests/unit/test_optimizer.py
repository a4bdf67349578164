"""The optimizer of auto-encoders against torch's own."""

from __future__ import annotations

import gc
import io

import pytest
import torch
from torch import nn

from logcosh_vae.build import build_optimizer
from logcosh_vae.config import TrainConfig, resolve
from logcosh_vae.optimizer import LARGE, EagerAdam
from logcosh_vae.processes import Processes
from logcosh_vae.training import stream


def network() -> nn.Module:
    """Weights on either side of `LARGE`, one of them channels last."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(64, 72, 4), nn.Flatten(), nn.Linear(72, 3), nn.Linear(3, LARGE))
    return layers.to(memory_format=torch.channels_last)


def go_on(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.param_groups[0]["lr"] = 1e-3 / (1 + step)
        optimizer.zero_grad(set_to_none=True)
        model(torch.randn(2, 64, 4, 4, generator=stream(step, "x"))).square().mean().backward()
        optimizer.step()


def torchs(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def eager(model: nn.Module) -> torch.optim.Optimizer:
    return EagerAdam(list(model.parameters()))


@pytest.mark.parametrize("after", [torchs, eager])
def test_weights_moved_at_once_are_those_of_torch_s_adam_which_can_go_on_from_them(after: object) -> None:
    assert callable(after)
    expected = network()
    optimizer = torchs(expected)
    go_on(expected, optimizer, range(6))
    model = network()
    first = eager(model)
    go_on(model, first, range(3))
    assert [weight.grad is None for weight in model.parameters()] == [True, False, False, False, True, True]
    file = io.BytesIO()
    torch.save([model.state_dict(), first.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed = network()
    resumed.load_state_dict(weights)
    second = after(resumed)
    second.load_state_dict(state)
    go_on(resumed, second, range(3, 6))
    for weight, should_be in zip(resumed.parameters(), expected.parameters(), strict=True):
        assert torch.equal(weight, should_be)
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(second.state[weight][name], optimizer.state[should_be][name])


def test_an_eager_step_takes_no_closure_and_serves_one_process_on_the_cpu_alone() -> None:
    with pytest.raises(ValueError, match="closure"):
        eager(network()).step(lambda: 0.0)
    config = resolve(TrainConfig())
    assert isinstance(build_optimizer(config, network()), EagerAdam)
    assert type(build_optimizer(config, network(), Processes(0, 2))) is torch.optim.Adam
    assert type(build_optimizer(config, nn.Linear(2, 2, device="meta"))) is torch.optim.Adam


def test_an_eager_optimizer_moves_what_can_be_moved_and_only_while_somebody_has_it() -> None:
    model = network()
    large = model[0].weight
    before = large.detach().clone()
    optimizer = eager(model)
    del optimizer
    gc.collect()
    model(torch.ones(2, 64, 4, 4)).sum().backward()
    assert torch.equal(large, before)
    assert large.grad is not None
    first, second = eager(model), eager(model)
    with pytest.raises(RuntimeError, match="another optimizer"):
        go_on(model, second, range(1))
    del first, second
    frozen = network()
    frozen[0].requires_grad_(False)
    go_on(frozen, eager(frozen), range(1))
    assert torch.equal(frozen[0].weight, before)
    with pytest.raises(ValueError, match="one group"):
        EagerAdam([{"params": [layer.weight]} for layer in (model[0], model[2])])
