"""The recorded training step, with a stand-in for the GPU's graph: what is put in place before each replay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from logcosh_vae.base.errors import TrainingError
from logcosh_vae.data.batches import Batch
from logcosh_vae.models.distributions import StaticNoise, standard_normal
from logcosh_vae.training import cuda_graph, loop
from logcosh_vae.training.loop import Schedule, fit, make_generator


class Graph:
    """Replays by calling again what was called while it was recorded."""

    recorded: Callable[[], object]

    def replay(self) -> None:
        self.recorded()


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Steps that were recorded; torch's own recorder is replaced."""
    graphs: list[Graph] = []

    @contextmanager
    def nothing() -> Iterator[None]:
        yield

    def record(graph: Graph, step: Callable[[], object]) -> None:
        graph.recorded = step
        graphs.append(graph)

    monkeypatch.setattr(cuda_graph, "record", record)
    monkeypatch.setattr(cuda_graph.torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(loop, "on_own_stream", nothing)
    return graphs


def _trained(*, graph: bool, batch_sizes: tuple[int, ...] = (4,) * 12) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    pixels = torch.rand(12, 3, generator=make_generator(0, "pixels"))

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> dict[str, torch.Tensor]:
        hidden = model[0](batch.images)
        noise = standard_normal(hidden.shape, like=hidden, generator=generator)
        prior = standard_normal((5, 3), like=hidden, generator=generator)
        value = (model[1](hidden + noise) - batch.images).square().mean() + (hidden.mean() - prior.mean()).square()
        value.backward()
        return {"loss": value.detach(), "extra": value.detach()} if compute_loss else {}

    def batches(generator: torch.Generator) -> Iterator[Batch]:
        for size in batch_sizes:
            yield Batch(pixels[torch.randint(len(pixels), (size,), generator=generator)], None)

    def falling(fraction: float) -> float:
        return 1.0 if fraction < 0.5 else 0.1

    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    schedule = Schedule(2, len(batch_sizes), log_every=5, learning_rate=falling)
    fit(model, step, batches, optimizer, schedule, cuda_graph=graph)
    return model.state_dict()


@pytest.mark.parametrize("batch_sizes", [(4,) * 12, (4, 4, 4, 4, 4, 2, 4, 2, 4, 4, 2, 4)])
def test_replayed_steps_train_what_steps_one_by_one_do(recordings: list[Graph], batch_sizes: tuple[int, ...]) -> None:
    alone = _trained(graph=False, batch_sizes=batch_sizes)
    replayed = _trained(graph=True, batch_sizes=batch_sizes)
    assert len(recordings) == 1, "the step is recorded once"
    torch.testing.assert_close(replayed, alone, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("recordings")
def test_a_step_that_cannot_be_recorded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graph, "record", refuse)
    with pytest.raises(TrainingError, match=r"not permitted.*cuda_graph=false"):
        _trained(graph=True)


def test_static_noise_gives_the_draws_of_the_generator_itself() -> None:
    noise, like = StaticNoise(), torch.zeros(1)
    for seed in range(3):
        noise.refill(make_generator(seed, "noise"))
        direct = make_generator(seed, "noise")
        for shape in ((4, 3), (2,)):
            expected = standard_normal(shape, like=like, generator=direct)
            assert torch.equal(standard_normal(shape, like=like, generator=noise), expected)
    noise.rewind()
    with pytest.raises(RuntimeError, match=r"shape \(1,\), but the first step drew \(4, 3\)"):
        noise.draw((1,), like=like)
