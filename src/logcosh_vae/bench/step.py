"""A training step of the MLP and of the convolutional VAE: ours, a straightforward loop, a peer's, and the limit.

The limit is the products alone: the matrix products or convolutions of the same step, forward and backward, on tensors
that are there already, in float32. No step can be faster on the same kernels; products in bfloat16 are others.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ..build import autoencoding_step, build_model, build_objective, build_optimizer
from ..config import ModelConfig, ObjectiveConfig, TrainConfig, resolve
from ..data.batches import training_batches
from ..devices import takes_bfloat16
from ..networks import ImageShape
from ..training import Schedule, fit, stream
from .peer import peer
from .timing import Contender

SHAPE: ImageShape = (1, 28, 28)
IMAGES = 20_000
OURS, PLAIN, LIMIT = "logcosh-vae", "plain PyTorch loop", "products alone"
BFLOAT16 = f"{OURS}, bfloat16"


def config_of(network: str, width: float | None = None, loss: str = "log-cosh", batch_size: int = 100) -> TrainConfig:
    """The paper's VAE on MNIST."""
    model = ModelConfig("vae", network, width=width)
    return resolve(replace(TrainConfig(), model=model, objective=ObjectiveConfig(loss), batch_size=batch_size))


def images() -> Tensor:
    """`(IMAGES, 1, 28, 28)`, uint8; what a step costs does not depend on what it sees."""
    return torch.randint(256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=stream(0, "benchmark"))


def ours(
    config: TrainConfig,
    pixels: Tensor,
    make_optimizer: Callable[[TrainConfig, nn.Module], torch.optim.Optimizer] = build_optimizer,
    name: str | None = None,
) -> Contender:
    """The project's own loop, `fit`, with its own batches; the optimizer may be another."""
    model = build_model(config, SHAPE)
    optimizer = make_optimizer(config, model)
    step = autoencoding_step(model, build_objective(config))

    def run(count: int) -> None:
        def batches(generator: torch.Generator):  # type: ignore[no-untyped-def]
            left = count
            while left:
                for batch in training_batches(pixels, config.batch_size, generator):
                    yield batch
                    left -= 1
                    if not left:
                        break

        fit(model, step, batches, optimizer, Schedule(1, count, log_every=config.log_every))

    return Contender(name or (BFLOAT16 if config.bfloat16 else OURS), run, unit=config.log_every)


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
    built = build_model(config, SHAPE).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model = PlainVAE(built.encoder, built.decoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = TensorDataset(pixels.float() / 255.0)
    a = config.objective.a or 1.0

    def run(count: int) -> None:
        left = count
        model.train()
        total = 0.0
        while left:
            for (x,) in DataLoader(data, config.batch_size, shuffle=True, drop_last=True):
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


def limit(config: TrainConfig) -> Contender:
    """The step's products alone."""
    model = build_model(config, SHAPE)
    work: list[Callable[[], object]] = []
    channels_last = config.model.network == "conv"

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        work.extend(_products(module, inputs[0].detach(), output.detach(), first=not work))

    handles = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    ]
    x = torch.rand(config.batch_size, *SHAPE)
    with torch.no_grad():
        model(x.to(memory_format=torch.channels_last) if channels_last else x)
    for handle in handles:
        handle.remove()

    @torch.no_grad()
    def run(count: int) -> None:
        for _ in range(count):
            for product in work:
                product()

    return Contender(LIMIT, run)


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
