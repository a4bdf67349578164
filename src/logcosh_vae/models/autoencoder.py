"""VAE and WAE: an encoder, a decoder and a rule for the code between them (paper, Sec. 1.1 and A.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from .distributions import DiagonalGaussian, Source, standard_normal
from .networks import NETWORKS, PAPER_SIZE, ImageShape, Size


class AutoencoderOutput(NamedTuple):
    """All that an objective needs from one pass.

    Attributes:
        x_hat: reconstruction, `(N, C, H, W)` in [0, 1].
        z: the code that was decoded, `(N, d)`.
        posterior: `q(z|x)` of a VAE; None for a deterministic encoder.
    """

    x_hat: Tensor
    z: Tensor
    posterior: DiagonalGaussian | None


class Autoencoder(nn.Module, ABC):
    """What VAE and WAE share. Networks are given, not named, so any pair that fits can be used.

    Args:
        encoder: maps `(N, C, H, W)` to `(N, parameters_per_latent * latent_size)`.
        decoder: maps `(N, latent_size)` to `(N, C, H, W)` in [0, 1].
        latent_size: `d`.

    Attributes:
        trains_in_bfloat16: in training mode, multiply in bfloat16 and sum in float32; codes, images and weights stay
            float32.
    """

    parameters_per_latent: ClassVar[int] = 1
    trains_in_bfloat16: bool = False

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_size = latent_size
        self._compiled: dict[nn.Module, Callable[[Tensor], Tensor]] = {}

    @classmethod
    def from_network(
        cls,
        name: str = "mlp",
        *,
        image_shape: ImageShape = (1, 28, 28),
        latent_size: int = 8,
        size: Size = PAPER_SIZE,
    ) -> Self:
        """Build with one of the paper's networks; weights come from torch's global generator.

        Example:
            >>> model = VAE.from_network("mlp", image_shape=(1, 28, 28), latent_size=8)
            >>> model.sample(4).shape
            torch.Size([4, 1, 28, 28])
        """
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; known: {', '.join(NETWORKS)}")
        network = NETWORKS[name]
        encoder = network.encoder(image_shape, cls.parameters_per_latent * latent_size, size)
        return cls(encoder, network.decoder(image_shape, latent_size, size), latent_size)

    @abstractmethod
    def code(self, x: Tensor) -> Tensor:
        """The code of each image without noise, `(N, d)`: the posterior's mode, or the encoder's output."""

    @abstractmethod
    def forward(self, x: Tensor, generator: Source = None) -> AutoencoderOutput:
        """Encode, draw the code with `generator` where it is random, decode."""

    def decode(self, z: Tensor) -> Tensor:
        """Images `(N, C, H, W)` in [0, 1] of codes `(N, d)`."""
        return self._through(self.decoder, z)

    def compile_training(self, x: Tensor) -> None:
        """Compile both networks for training, on a GPU with CUDA graphs; other passes go on as they are.

        What torch has compiled before in this process it forgets, and compiles anew where it is used.

        Args:
            x: images of the size to train with, to try it on; weights, statistics and random numbers stay as they are.

        Raises:
            Exception: whatever torch raises where it cannot compile; nothing is compiled then.
        """
        torch.compiler.reset()  # else its cache may be full of networks of other sizes, and it would not compile these
        networks, modes = (self.encoder, self.decoder), {module: module.training for module in self.modules()}
        before = {name: value.clone() for name, value in self.state_dict().items()}
        try:
            self._compiled = {network: torch.compile(network, mode="reduce-overhead") for network in networks}
            self.train()
            with torch.enable_grad():
                code = torch.zeros(len(x), self.latent_size, device=x.device, requires_grad=True) + 0.0  # no leaf
                for network, values in zip(networks, (x, code), strict=True):
                    result = self._through(network, values)
                    if wanted := [weight for weight in network.parameters() if weight.requires_grad]:
                        torch.autograd.grad(result.sum(), wanted)
        except BaseException:
            self._compiled = {}
            raise
        finally:
            self.load_state_dict(before)
            for module, training in modes.items():
                module.training = training

    def _through(self, network: nn.Module, values: Tensor) -> Tensor:
        result: Tensor
        if not self.training:
            result = network(values)
            return result
        with torch.autocast(values.device.type, torch.bfloat16) if self.trains_in_bfloat16 else nullcontext():
            result = self._compiled.get(network, network)(values)
        return result.float() if self.trains_in_bfloat16 else result

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode without noise and decode: `(N, C, H, W)` in [0, 1] to the same."""
        return self.decode(self.code(x))

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Decode `count` draws of the prior `N(0, I)`: `(count, C, H, W)` in [0, 1]."""
        like = next(self.parameters())
        return self.decode(standard_normal((count, self.latent_size), like=like, generator=generator))

    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Decode points evenly spaced on the line between the codes of two image batches (paper, appendix C).

        Args:
            first: `(N, C, H, W)` in [0, 1]; second: the same shape.
            steps: number of points, both ends included, at least 2.

        Returns:
            `(N, steps, C, H, W)` in [0, 1].
        """
        if steps < 2:
            raise ValueError(f"steps must be at least 2; got {steps}")
        start, end = self.code(first), self.code(second)
        weight = torch.linspace(0.0, 1.0, steps).to(start)[None, :, None]
        codes = torch.lerp(start[:, None], end[:, None], weight)
        images: Tensor = self.decode(codes.flatten(0, 1)).unflatten(0, (first.shape[0], steps))
        return images


class VAE(Autoencoder):
    """Variational auto-encoder with a diagonal Gaussian posterior (Kingma and Welling 2013; paper, Eq. 1).

    The encoder's last layer has `2 d` outputs: mean and log-variance. The reconstruction loss is not part of the
    model: combine it with any loss in an `Objective`.
    """

    parameters_per_latent: ClassVar[int] = 2

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """`q(z|x)` for each image of `(N, C, H, W)`."""
        return DiagonalGaussian.from_parameters(self._through(self.encoder, x))

    def code(self, x: Tensor) -> Tensor:
        return self.encode(x).mode()

    def forward(self, x: Tensor, generator: Source = None) -> AutoencoderOutput:
        """Encode, draw `z` with `generator` (torch's own when None), decode."""
        posterior = self.encode(x)
        z = posterior.sample(generator)
        return AutoencoderOutput(self.decode(z), z, posterior)


class WAE(Autoencoder):
    """Wasserstein auto-encoder with a deterministic encoder (Tolstikhin et al. 2018; paper, A.1).

    Its codes are drawn to the prior by the MMD over a batch, which the `Objective` adds.
    """

    def encode(self, x: Tensor) -> Tensor:
        """Codes `(N, d)` of images `(N, C, H, W)`."""
        return self._through(self.encoder, x)

    def code(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def forward(self, x: Tensor, generator: Source = None) -> AutoencoderOutput:  # noqa: ARG002 - one interface
        """Encode and decode; `generator` is accepted so that all models are called alike."""
        z = self.encode(x)
        return AutoencoderOutput(self.decode(z), z, None)


MODELS: dict[str, type[VAE] | type[WAE]] = {"vae": VAE, "wae": WAE}
"""Model families by the name used in `--model FAMILY-NETWORK`."""
