"""The models `VAE` and `WAE`, their common base `Autoencoder`, and `AutoencoderOutput` (paper, Sec. 1.1 and A.1).

Both map images to latent codes and back. They differ in the encoder: stochastic for a VAE, deterministic for a WAE. The
losses are not part of the models.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from ..losses import Likelihood
from ..losses.elementwise import float_under_autocast
from .density import PRIORS, CodeDensity
from .distributions import LOG_VARIANCE_RANGE, DiagonalGaussian, NoiseSource, register_for_export, standard_normal
from .networks import NETWORKS, PAPER_SIZE, ImageShape, Size


class AutoencoderOutput(NamedTuple):
    """What the forward pass of a model returns.

    Attributes:
        x_hat: reconstructions, `(N, C, H, W)` in [0, 1].
        z: the latent codes that were decoded, `(N, latent_size)`.
        posterior: `q(z|x)` of a VAE; None for a WAE, whose encoder is deterministic.
    """

    x_hat: Tensor
    z: Tensor
    posterior: DiagonalGaussian | None


register_for_export(AutoencoderOutput)


def _storage() -> Any:
    """Return the module that stores models in folders and on the Hub.

    It lies above this package, which touches no files, so it is found by its name when a method needs it.
    """
    return import_module("logcosh_vae.export.pretrained")


class Autoencoder(nn.Module, ABC):
    """Common base of `VAE` and `WAE`: reconstruction, sampling and interpolation with an encoder and a decoder.

    Any encoder and decoder of matching sizes can be used; `from_network` builds those of the paper.

    Args:
        encoder: maps `(N, C, H, W)` to `(N, parameters_per_latent * latent_size)`.
        decoder: maps `(N, latent_size)` to `(N, C, H, W)` in [0, 1].
        latent_size: number of latent variables, `d` in the paper.

    Attributes:
        parameters_per_latent: encoder outputs per latent variable: 2 for a VAE (mean and log-variance), 1 for a WAE.
        family: name of the class in configs, `vae` or `wae`; None for other subclasses.
        likelihood: distribution of the pixels given the reconstruction, if its scale or shape was learned with the
            networks; else None.
        densities: densities that were fitted to the codes of training images, by name (`gaussian`, `mixture`);
            `from_pretrained` and `logcosh_vae.load` fill it.
        origin: content of the `config.json` that describes the networks and their training, as JSON values; None for
            other networks than the paper's. `save_pretrained` writes it.
        max_log_variance: largest log-variance of a VAE's posterior, that of `NETWORKS` for the paper's networks; larger
            outputs of the encoder count as this value.
        trains_in_bfloat16: use bfloat16 autocast in training mode. Weights, latent codes and images stay float32, and
            evaluation uses float32.
    """

    parameters_per_latent: ClassVar[int] = 1
    family: ClassVar[str | None] = None
    max_log_variance: float = LOG_VARIANCE_RANGE[1]
    trains_in_bfloat16: bool = False

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_size = latent_size
        self.likelihood: Likelihood | None = None
        self.densities: dict[str, CodeDensity] = {}
        self._loaded_densities: dict[str, CodeDensity] = {}
        self.origin: Mapping[str, Any] | None = None
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
        """Build a model with one of the paper's networks. Weights are drawn from torch's global generator.

        Args:
            name: `mlp` or `conv`, a key of `NETWORKS`.
            image_shape: channels, height and width of the images.
            latent_size: number of latent variables.
            size: hidden layers of the MLP, width of the convolutions; the paper's by default.

        Raises:
            ValueError: the network is unknown, a size is not positive, or the images are too small for `conv`.

        Example:
            >>> model = VAE.from_network("mlp", image_shape=(1, 28, 28), latent_size=8)
            >>> model.sample(4).shape
            torch.Size([4, 1, 28, 28])
        """
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; known networks: {', '.join(NETWORKS)}")
        network = NETWORKS[name]
        encoder = network.encoder(image_shape, cls.parameters_per_latent * latent_size, size)
        model = cls(encoder, network.decoder(image_shape, latent_size, size), latent_size)
        model.max_log_variance = network.max_log_variance
        if cls.family is None:
            return model
        sizes: dict[str, Any] = {"hidden": list(size.hidden)} if name == "mlp" else {"width": size.width}
        if cls.family == "vae" and name == "conv":
            sizes["max_log_variance"] = network.max_log_variance
        networks = {"family": cls.family, "network": name, "latent_size": latent_size, **sizes}
        model.origin = {"train": {"model": networks}, "image_shape": list(image_shape)}
        return model

    @classmethod
    def from_pretrained(
        cls,
        source: Any,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: Any = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a trained model from a folder, from the package, or from the Hugging Face Hub.

        Args:
            source: path of a folder that `save_pretrained` or a training run wrote; the name of a model that comes with
                the package; or a repository of the Hub, `OWNER/NAME`. A folder is preferred.
            revision: branch, tag or commit of the repository.
            token: access token of the Hub; by default the one that `hf auth login` stored.
            cache_dir: folder that downloads are kept in; by default the Hub's.
            local_files_only: use only what has been downloaded before.

        Returns:
            The model, in evaluation mode on the CPU, float32, with its `densities`.

        Raises:
            RunError: there is no such model, it is damaged, or it belongs to another class.
            MissingPackageError: a repository is named and `huggingface_hub` is not installed.

        Example:
            model = VAE.from_pretrained("models/digits")
            images = model.sample(16)
        """
        model: Self = _storage().load_pretrained(
            source, cls, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
        )
        return model

    def save_pretrained(self, folder: Any, **options: Any) -> None:
        """Write the model to a folder that `from_pretrained` reads.

        The folder gets `config.json`, `model.safetensors`, a model card (`README.md`) and, if the model has
        `densities`, `densities.safetensors`.

        Args:
            folder: its path; it is created, and must be empty unless `overwrite`.
            **options: `precision="float16"` or `"int8"` stores the weights in fewer bits, `overwrite=True` replaces a
                model in the folder, and `name`, `license` and `description` are shown on the card.

        Raises:
            RunError: the encoder and decoder are not networks of the paper, the folder holds other files, or weights
                are not finite.
        """
        _storage().save_pretrained(self, folder, **options)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Upload the model to the Hugging Face Hub, as `save_pretrained` writes it.

        Args:
            repository: `OWNER/NAME`; it is created if it is missing.
            **options: `private`, `revision`, `token` and `message` for the upload, and those of `save_pretrained`.

        Returns:
            The address of the repository.

        Raises:
            RunError: the model cannot be stored, or the upload failed.
            MissingPackageError: `huggingface_hub` is not installed.
        """
        address: str = _storage().push_to_hub(self, repository, **options)
        return address

    @abstractmethod
    def encode_mean(self, x: Tensor) -> Tensor:
        """Encode images without sampling.

        Args:
            x: images, `(N, C, H, W)` in [0, 1].

        Returns:
            Latent codes `(N, latent_size)`: the posterior means of a VAE, the encoder outputs of a WAE.
        """

    def code(self, x: Tensor) -> Tensor:
        """Deprecated name of `encode_mean`."""
        warnings.warn("code is now called encode_mean", DeprecationWarning, stacklevel=2)
        return self.encode_mean(x)

    @abstractmethod
    def forward(self, x: Tensor, generator: NoiseSource = None) -> AutoencoderOutput:
        """Encode images, sample latent codes if the encoder is stochastic, and decode them.

        Args:
            x: images, `(N, C, H, W)` in [0, 1].
            generator: source of the noise; None for torch's global generator.
        """

    def decode(self, z: Tensor) -> Tensor:
        """Decode latent codes `(N, latent_size)` to images `(N, C, H, W)` in [0, 1]."""
        return self._run(self.decoder, z)

    def compile_training(self, x: Tensor) -> None:
        """Compile both networks for training mode, with CUDA graphs on a GPU. Evaluation mode is not affected.

        This resets torch's compiler for the whole process; other compiled functions are recompiled when next called.

        Args:
            x: images of the shape used in training, `(N, C, H, W)`, for a trial forward and backward pass. Weights,
                batch statistics and random number generators are left unchanged.

        Raises:
            Exception: torch could not compile a network. The model then stays uncompiled and usable.
        """
        # networks of other sizes may have filled the compiler's cache, and torch would not compile these
        torch.compiler.reset()
        networks, modes = (self.encoder, self.decoder), {module: module.training for module in self.modules()}
        state = {name: value.clone() for name, value in self.state_dict().items()}
        try:
            self._compiled = {network: torch.compile(network, mode="reduce-overhead") for network in networks}
            self.train()
            with torch.enable_grad():
                # as in training, the decoder's input requires a gradient and is not a leaf
                z = torch.zeros(len(x), self.latent_size, device=x.device, requires_grad=True) + 0.0
                for network, inputs in zip(networks, (x, z), strict=True):
                    output = self._run(network, inputs)
                    if trainable := [weight for weight in network.parameters() if weight.requires_grad]:
                        torch.autograd.grad(output.sum(), trainable)
        except BaseException:
            self._compiled = {}
            raise
        finally:
            self.load_state_dict(state)
            for module, training in modes.items():
                module.training = training

    def _run(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Apply the encoder or decoder; in training mode, compiled and in bfloat16 where that is enabled.

        Under the caller's `torch.autocast`, the result is float32, as that of torch's own losses is.
        """
        output: Tensor
        if not self.training:
            output = network(inputs)
            return float_under_autocast(output)
        with torch.autocast(inputs.device.type, torch.bfloat16) if self.trains_in_bfloat16 else nullcontext():
            output = self._compiled.get(network, network)(inputs)
        return output.float() if self.trains_in_bfloat16 else float_under_autocast(output)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Encode images without sampling and decode them: `(N, C, H, W)` in [0, 1], before and after."""
        return self.decode(self.encode_mean(x))

    def keep_densities(self, densities: Mapping[str, CodeDensity]) -> None:
        """Take the densities that were loaded with the weights."""
        self.densities, self._loaded_densities = dict(densities), dict(densities)

    def densities_of(self, *, changed: bool) -> dict[str, CodeDensity]:
        """Return the densities that belong to the present weights.

        Args:
            changed: whether the weights were changed since they were loaded; densities that were loaded with them
                belong to the former ones.
        """
        loaded = self._loaded_densities
        return {name: each for name, each in self.densities.items() if not (changed and loaded.get(name) is each)}

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None, *, prior: str = "standard") -> Tensor:
        """Generate images by decoding draws from the prior, or from a density that was fitted to codes.

        Args:
            count: number of images.
            generator: source of the draws; None for torch's global generator.
            prior: `standard` for `N(0, I)`, or the name of one of `densities`.

        Returns:
            `(count, C, H, W)` in [0, 1], on the model's device, without a graph.

        Raises:
            ValueError: the model has no density of this name.
        """
        like = next(self.parameters())
        if prior == PRIORS[0]:
            return self.decode(standard_normal((count, self.latent_size), like=like, generator=generator))
        if prior not in self.densities:
            known = ", ".join((PRIORS[0], *self.densities))
            raise ValueError(f"this model has no density {prior!r}; it can draw from: {known}")
        return self.decode(self.densities[prior].sample(count, generator).to(like))

    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Interpolate linearly between the latent codes of two image batches (paper, appendix C).

        Args:
            first: images, `(N, C, H, W)` in [0, 1].
            second: images of the same shape.
            steps: number of images per pair, including the reconstructions of both ends; at least 2.

        Returns:
            `(N, steps, C, H, W)` in [0, 1].

        Raises:
            ValueError: `steps` is less than 2.

        Example:
            >>> first, second = torch.rand(2, 3, 1, 28, 28)
            >>> VAE.from_network("mlp").interpolate(first, second, steps=5).shape
            torch.Size([3, 5, 1, 28, 28])
        """
        if steps < 2:
            raise ValueError(f"steps must be at least 2; got {steps}")
        start, end = self.encode_mean(first), self.encode_mean(second)
        fraction = torch.linspace(0.0, 1.0, steps).to(start)[None, :, None]
        codes = torch.lerp(start[:, None], end[:, None], fraction)
        images: Tensor = self.decode(codes.flatten(0, 1)).unflatten(0, (first.shape[0], steps))
        return images


class VAE(Autoencoder):
    """Variational autoencoder with a diagonal Gaussian posterior (Kingma and Welling 2013; paper, Eq. 1).

    The encoder has `2 * latent_size` outputs: means, then log-variances. The reconstruction loss is not part of the
    model; `training.objective.Objective` combines any loss with the KL divergence.

    Example:
        >>> model = VAE.from_network("mlp", image_shape=(1, 28, 28), latent_size=8)
        >>> x_hat, z, posterior = model(torch.rand(2, 1, 28, 28))
        >>> x_hat.shape, z.shape, posterior.kl().shape
        (torch.Size([2, 1, 28, 28]), torch.Size([2, 8]), torch.Size([2]))
    """

    parameters_per_latent: ClassVar[int] = 2
    family: ClassVar[str | None] = "vae"

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Return the posterior `q(z|x)` of images `(N, C, H, W)` in [0, 1]."""
        return DiagonalGaussian.from_parameters(self._run(self.encoder, x), max_log_variance=self.max_log_variance)

    def encode_mean(self, x: Tensor) -> Tensor:
        """Return the posterior means, `(N, latent_size)`, of images `(N, C, H, W)` in [0, 1]."""
        return self.encode(x).mode()

    def forward(self, x: Tensor, generator: NoiseSource = None) -> AutoencoderOutput:
        """Encode images, draw one `z` per image from its posterior, and decode it.

        Args:
            x: images, `(N, C, H, W)` in [0, 1].
            generator: source of the noise; None for torch's global generator.
        """
        posterior = self.encode(x)
        z = posterior.sample(generator)
        return AutoencoderOutput(self.decode(z), z, posterior)


class WAE(Autoencoder):
    """Wasserstein autoencoder with a deterministic encoder (WAE-MMD, Tolstikhin et al. 2018; paper, A.1).

    `training.objective.Objective` adds the MMD between the latent codes of a batch and the prior.

    Example:
        >>> model = WAE.from_network("mlp", image_shape=(1, 28, 28), latent_size=8)
        >>> output = model(torch.rand(2, 1, 28, 28))
        >>> output.z.shape, output.posterior
        (torch.Size([2, 8]), None)
    """

    family: ClassVar[str | None] = "wae"

    def encode(self, x: Tensor) -> Tensor:
        """Return the latent codes, `(N, latent_size)`, of images `(N, C, H, W)` in [0, 1]."""
        return self._run(self.encoder, x)

    def encode_mean(self, x: Tensor) -> Tensor:
        """Return the same as `encode`, because the encoder is deterministic."""
        return self.encode(x)

    def forward(self, x: Tensor, generator: NoiseSource = None) -> AutoencoderOutput:  # noqa: ARG002
        """Encode and decode images.

        Args:
            x: images, `(N, C, H, W)` in [0, 1].
            generator: not used; accepted so that all models have the same interface.
        """
        z = self.encode(x)
        return AutoencoderOutput(self.decode(z), z, None)


MODELS: dict[str, type[VAE] | type[WAE]] = {"vae": VAE, "wae": WAE}
"""Models by family name, as in `--model FAMILY-NETWORK`."""
