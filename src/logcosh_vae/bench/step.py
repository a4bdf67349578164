"""A training step of the MLP and of the convolutional VAE: ours, a straightforward loop, a peer's, and the limit.

The limit is the products alone: the matrix products or convolutions of the same step, forward and backward, on tensors
that are there already, in float32; on a GPU in the run's own precision, started together as a CUDA graph. No step can
be faster on the same kernels; on a CPU, products in bfloat16 are others.
"""

from __future__ import annotations

import itertools
import math
import queue
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ..base.devices import takes_bfloat16
from ..data.batches import Batch, training_batches
from ..models.networks import ImageShape
from ..training.builders import autoencoding_step, build_model, build_objective, build_optimizer
from ..training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, resolve
from ..training.cuda_graph import on_own_stream, record
from ..training.loop import Schedule, fit, make_generator
from .peer import peer
from .timing import Contender

SHAPE: ImageShape = (1, 28, 28)
IMAGES = 20_000
OURS, PLAIN, LIMIT = "logcosh-vae", "plain PyTorch loop", "products alone"
BFLOAT16 = f"{OURS}, bfloat16"


def config_of(
    network: str,
    width: float | None = None,
    loss: str = "log-cosh",
    batch_size: int = 100,
    device: str = "cpu",
    data: str = "mnist",
) -> TrainConfig:
    """The paper's VAE on MNIST or, with `data="celeba"`, on faces."""
    model = ModelConfig("vae", network, width=width)
    config = TrainConfig(DataConfig(data), model, ObjectiveConfig(loss), batch_size=batch_size, device=device)
    return resolve(config)


def images(shape: ImageShape = SHAPE, count: int = IMAGES) -> Tensor:
    """`(count, *shape)`, uint8; what a step costs does not depend on what it sees."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=make_generator(0, "benchmark"))


def _shape(pixels: Tensor) -> ImageShape:
    channels, height, width = pixels.shape[1:]
    return channels, height, width


def synchronize(device: torch.device | str) -> None:
    """Wait for what has been started on a GPU; nothing on a CPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


class _Turns:
    """Batches for one long `fit` on a thread of its own, which takes so many steps each time it is asked to.

    A step is then recorded as a CUDA graph once, as in a real run, and not in every turn.
    """

    def __init__(self, batches: Callable[[torch.Generator], Iterable[Batch]], device: str) -> None:
        self._batches, self._device = batches, device
        self._asked: queue.Queue[int | None] = queue.Queue()
        self._answers: queue.Queue[BaseException | None] = queue.Queue()

    def __call__(self, generator: torch.Generator) -> Iterator[Batch]:
        left = self._asked.get()
        while left is not None:
            for batch in self._batches(generator):
                yield batch
                left -= 1
                while left == 0:
                    synchronize(self._device)
                    self._answers.put(None)
                    left = self._asked.get()
                if left is None:
                    return

    def run(self, count: int) -> None:
        """Have `count` steps taken; returns when the device has done them."""
        self._asked.put(count)
        if (error := self._answers.get()) is not None:
            raise error

    def close(self) -> None:
        """End the training, and with it the thread."""
        self._asked.put(None)

    def carry(self, work: Callable[[], None]) -> None:
        """Start the thread; what goes wrong in `work` is raised where steps are asked for."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._answers.put(error)

        Thread(target=guarded, daemon=True).start()


def ours(
    config: TrainConfig,
    pixels: Tensor,
    make_optimizer: Callable[[TrainConfig, nn.Module], torch.optim.Optimizer] = build_optimizer,
    name: str | None = None,
) -> Contender:
    """The project's own loop, `fit`, with its own batches; the optimizer may be another."""
    pixels = pixels.to(config.device)
    model = build_model(config, _shape(pixels)).to(config.device)
    optimizer = make_optimizer(config, model)
    step = autoencoding_step(model, build_objective(config))
    name = name or (BFLOAT16 if config.bfloat16 else OURS)

    def batches(generator: torch.Generator) -> Iterator[Batch]:
        return training_batches(pixels, config.batch_size, generator)

    def train(source: Callable[[torch.Generator], Iterable[Batch]], steps: int) -> None:
        schedule = Schedule(1, steps, log_every=config.log_every)
        fit(model, step, source, optimizer, schedule, cuda_graph=bool(config.cuda_graph))

    if torch.device(config.device).type == "cuda":
        turns = _Turns(batches, config.device)
        turns.carry(lambda: train(turns, 1 << 40))
        return Contender(name, turns.run, unit=config.log_every, close=turns.close)

    def run(count: int) -> None:
        def so_many(generator: torch.Generator) -> Iterator[Batch]:
            endless = itertools.chain.from_iterable(batches(generator) for _ in itertools.count())
            return itertools.islice(endless, count)

        train(so_many, count)

    return Contender(name, run, unit=config.log_every)


class PlainVAE(nn.Module):
    """As a tutorial has it: mean and log-variance from two heads."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def plain(config: TrainConfig, pixels: Tensor) -> Contender:
    """A straightforward loop: `DataLoader`, Adam as it comes, the log-cosh of Keras, `.item()` at each step."""
    built = build_model(config, _shape(pixels)).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model = PlainVAE(built.encoder, built.decoder).to(config.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = TensorDataset(pixels.float() / 255.0)
    a = config.objective.a or 1.0

    def run(count: int) -> None:
        left = count
        model.train()
        total = 0.0
        while left:
            for (batch,) in DataLoader(data, config.batch_size, shuffle=True, drop_last=True):
                x = batch.to(config.device)
                x_hat, mean, log_variance = model(x)
                t = a * (x_hat - x)
                reconstruction = (t + F.softplus(-2.0 * t) - math.log(2.0)).sum() / a
                kl = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
                objective = (reconstruction + kl) / len(x)
                optimizer.zero_grad()
                objective.backward()
                optimizer.step()
                total += objective.item()
                left -= 1
                if not left:
                    break

    return Contender(PLAIN, run)


def products(config: TrainConfig, shape: ImageShape = SHAPE) -> list[Callable[[], object]]:
    """The matrix products or convolutions of a step, forward and backward, in the run's own precision on a GPU."""
    device = torch.device(config.device)
    half = bool(config.bfloat16) and device.type == "cuda"
    model = build_model(config, shape).to(device)
    model.trains_in_bfloat16 = False
    if half:
        model.to(torch.bfloat16)
    work: list[Callable[[], object]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        work.extend(_products(module, inputs[0].detach(), output.detach(), first=not work))

    handles = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    ]
    x = torch.rand(config.batch_size, *shape, device=device, dtype=torch.bfloat16 if half else torch.float32)
    with torch.no_grad():
        if config.model.network == "conv":
            x = x.to(memory_format=torch.channels_last)
        output = model.decoder(model.encoder(x)[:, : model.latent_size].contiguous())
        assert output.shape == x.shape
    for handle in handles:
        handle.remove()
    return work


def limit(config: TrainConfig, shape: ImageShape = SHAPE) -> Contender:
    """The step's products alone."""
    work = products(config, shape)

    @torch.no_grad()
    def once() -> None:
        for product in work:
            product()

    replay: Callable[[], None] = once
    if torch.device(config.device).type == "cuda":
        with on_own_stream():
            once()
            graph = torch.cuda.CUDAGraph()
            record(graph, once)
        replay = graph.replay

    def run(count: int) -> None:
        for _ in range(count):
            replay()
        synchronize(config.device)

    # a graph does not hold the tensors that it reads; the products do, so they must live as long as it is replayed
    return Contender(LIMIT, run, close=work.clear)


def _products(module: nn.Module, inputs: Tensor, output: Tensor, *, first: bool) -> list[Callable[[], object]]:
    """A layer's product forward, and those of its backward pass; the first layer's input needs no gradient."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    gradient = torch.rand_like(output)
    if isinstance(module, nn.Linear):
        forward, of_weight, of_inputs = torch.empty_like(output), torch.empty_like(weight), torch.empty_like(inputs)
        products: list[Callable[[], object]] = [
            lambda: torch.mm(inputs, weight.T, out=forward),
            lambda: torch.mm(gradient.T, inputs, out=of_weight),
        ]
        return products if first else [*products, lambda: torch.mm(gradient, weight, out=of_inputs)]
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    transposed = isinstance(module, nn.ConvTranspose2d)
    settings = (module.stride, module.padding, module.dilation, transposed, module.output_padding, module.groups)
    return [
        lambda: torch.ops.aten.convolution(inputs, weight, None, *settings),
        lambda: torch.ops.aten.convolution_backward(
            gradient, inputs, weight, None, *settings, [not first, True, False]
        ),
    ]


@contextmanager
def contenders(network: str, width: float | None = None) -> Iterator[list[Contender]]:
    """Ours (in bfloat16, too, where the processor has it), the limit, and the straightforward loop.

    The last is in a process as it comes: what we ask of ours is our doing.
    """
    config = config_of(network, width)
    settings = {"network": network, "threads": torch.get_num_threads()} | ({} if width is None else {"width": width})
    own = [ours(config, images())]
    if takes_bfloat16(torch.device("cpu")):
        own.append(ours(replace(config, bfloat16=True), images()))
    with peer(f"{sys.executable} -m logcosh_vae.bench.child --plain", settings) as other:
        yield [*own, other, limit(config)]
