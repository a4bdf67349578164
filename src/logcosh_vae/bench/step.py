"""Training steps of the VAE (MLP) and VAE (Conv): this package, a plain PyTorch loop, another program, and the limit.

The limit is the time of the products alone: the matrix products or convolutions of the same step, forward and backward,
on preallocated tensors. On a CPU they are in float32; on a GPU they are in the precision of the run and are launched
together as a CUDA graph. No step that uses the same kernels can be faster. A step in bfloat16 on a CPU uses other
kernels, so it can beat this limit.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

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
from .on_demand import OnDemandSteps
from .peer import peer
from .timing import Contender

SHAPE: ImageShape = (1, 28, 28)
"""MNIST's channels, height and width."""

IMAGES = 20_000
"""Images from which batches are drawn."""

OURS, PLAIN, LIMIT = "logcosh-vae", "plain PyTorch loop", "products alone"
BFLOAT16 = f"{OURS}, bfloat16"
"""Names in results."""


def config_of(
    network: str,
    width: float | None = None,
    loss: str = "log-cosh",
    batch_size: int = 100,
    device: str = "cpu",
    data: str = "mnist",
) -> TrainConfig:
    """Return the resolved config of the paper's VAE.

    Args:
        network: `mlp` or `conv`.
        width: factor on the channels of the convolutions.
        loss: name of the reconstruction loss.
        batch_size: images per step.
        device: torch device.
        data: image set whose settings are used, `mnist` or `celeba`.
    """
    model = ModelConfig("vae", network, width=width)
    config = TrainConfig(DataConfig(data), model, ObjectiveConfig(loss), batch_size=batch_size, device=device)
    return resolve(config)


def images(shape: ImageShape = SHAPE, count: int = IMAGES) -> Tensor:
    """Return random uint8 images, `(count, *shape)`; the cost of a step does not depend on their content."""
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=make_generator(0, "benchmark"))


def _shape(pixels: Tensor) -> ImageShape:
    channels, height, width = pixels.shape[1:]
    return channels, height, width


def synchronize(device: torch.device | str) -> None:
    """Wait until the GPU has finished; returns at once for a CPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def ours(
    config: TrainConfig,
    pixels: Tensor,
    make_optimizer: Callable[[TrainConfig, nn.Module], torch.optim.Optimizer] = build_optimizer,
    name: str | None = None,
) -> Contender:
    """Return training with this package's loop, `fit`, and its batches.

    Args:
        config: the config; its device and precision are used.
        pixels: uint8 images, `(N, C, H, W)`, from which batches are drawn.
        make_optimizer: creates the optimizer.
        name: name in results; by default that of the precision.
    """
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
        steps = OnDemandSteps(batches, lambda: synchronize(config.device))
        steps.start(lambda: train(steps, 1 << 40))  # more steps than are ever taken
        return Contender(name, steps.run, unit=config.log_every, close=steps.close)

    def run(count: int) -> None:
        def limited(generator: torch.Generator) -> Iterator[Batch]:
            endless = itertools.chain.from_iterable(batches(generator) for _ in itertools.count())
            return itertools.islice(endless, count)

        train(limited, count)

    return Contender(name, run, unit=config.log_every)


class PlainVAE(nn.Module):
    """A VAE as tutorials write it.

    The encoder returns mean and log-variance, `(N, 2 d)`; the decoder takes `(N, d)`.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction, the mean and the log-variance."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def plain(config: TrainConfig, pixels: Tensor) -> Contender:
    """Return training with a plain PyTorch loop.

    It uses `DataLoader`, Adam with its default options, the formula of Keras for log-cosh, and `.item()` in every step.
    """
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
                loss = (reconstruction + kl) / len(x)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
                left -= 1
                if not left:
                    break

    return Contender(PLAIN, run)


def products(config: TrainConfig, shape: ImageShape = SHAPE) -> list[Callable[[], object]]:
    """Return the matrix products or convolutions of a step, forward and backward, each as a function to call.

    They are in float32 on a CPU, and in the precision of the run on a GPU.
    """
    device = torch.device(config.device)
    in_bfloat16 = bool(config.bfloat16) and device.type == "cuda"
    model = build_model(config, shape).to(device)
    model.trains_in_bfloat16 = False
    if in_bfloat16:
        model.to(torch.bfloat16)
    found: list[Callable[[], object]] = []

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.extend(_products(module, inputs[0].detach(), output.detach(), first=not found))

    handles = [
        module.register_forward_hook(add)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    ]
    x = torch.rand(config.batch_size, *shape, device=device, dtype=torch.bfloat16 if in_bfloat16 else torch.float32)
    with torch.no_grad():
        if config.model.network == "conv":
            x = x.to(memory_format=torch.channels_last)
        output = model.decoder(model.encoder(x)[:, : model.latent_size].contiguous())
        assert output.shape == x.shape
    for handle in handles:
        handle.remove()
    return found


def limit(config: TrainConfig, shape: ImageShape = SHAPE) -> Contender:
    """Return the products of a step alone, on preallocated tensors; replayed as a CUDA graph on a GPU."""
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

    # the graph does not keep the tensors alive that it reads; the products do
    return Contender(LIMIT, run, close=work.clear)


def _products(module: nn.Module, inputs: Tensor, output: Tensor, *, first: bool) -> list[Callable[[], object]]:
    """Return the products of a layer's forward and backward pass.

    Args:
        module: a linear layer, a convolution or a transposed convolution.
        inputs: its input.
        output: its output.
        first: whether it is the first layer, whose input needs no gradient.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    grad = torch.rand_like(output)
    if isinstance(module, nn.Linear):
        forward, weight_grad, input_grad = torch.empty_like(output), torch.empty_like(weight), torch.empty_like(inputs)
        products: list[Callable[[], object]] = [
            lambda: torch.mm(inputs, weight.T, out=forward),
            lambda: torch.mm(grad.T, inputs, out=weight_grad),
        ]
        return products if first else [*products, lambda: torch.mm(grad, weight, out=input_grad)]
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    transposed = isinstance(module, nn.ConvTranspose2d)
    settings = (module.stride, module.padding, module.dilation, transposed, module.output_padding, module.groups)
    return [
        lambda: torch.ops.aten.convolution(inputs, weight, None, *settings),
        lambda: torch.ops.aten.convolution_backward(grad, inputs, weight, None, *settings, [not first, True, False]),
    ]


@contextmanager
def contenders(network: str, width: float | None = None) -> Iterator[list[Contender]]:
    """Yield the contenders of `bench step`: this package, the plain loop and the limit.

    This package is also timed in bfloat16 if the processor supports it. The plain loop runs in a process of its own,
    without this package's settings of memory and threads.

    Args:
        network: `mlp` or `conv`.
        width: factor on the channels of the convolutions.
    """
    config = config_of(network, width)
    settings = {"network": network, "threads": torch.get_num_threads()} | ({} if width is None else {"width": width})
    own = [ours(config, images())]
    if takes_bfloat16(torch.device("cpu")):
        own.append(ours(replace(config, bfloat16=True), images()))
    with peer(f"{sys.executable} -m logcosh_vae.bench.child --plain", settings) as other:
        yield [*own, other, limit(config)]
