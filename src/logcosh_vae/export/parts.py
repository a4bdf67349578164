"""The parts of a model that can be exported, as functions of tensors with named inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..base.settings import validate_choice
from ..models.autoencoder import VAE, Autoencoder
from ..models.density import PRIORS
from ..restoration.network import RestorationNetwork
from ..training.loop import make_generator

PARTS = ("both", "encoder", "decoder")
"""Parts of an autoencoder: `both` maps images to reconstructions and codes."""


Shape = tuple[int | str, ...]
"""Sizes, with names for those that may vary."""


@dataclass(frozen=True)
class Part:
    """A function to export.

    Attributes:
        module: maps one tensor to one tensor or a tuple of them; in evaluation mode.
        shape: of an input; the dimensions with a name may have any size.
        input_name: name of the input.
        output_names: names of the outputs.
        draw: returns inputs of a shape, from a generator.
        trials: sizes of the named dimensions, with which the exported function is compared; the second is traced.
        notes: what inputs and outputs mean, a line for each.
        smallest: least size of named dimensions other than the batch.
    """

    module: nn.Module
    shape: Shape
    input_name: str
    output_names: tuple[str, ...]
    draw: Callable[[tuple[int, ...], torch.Generator], Tensor]
    trials: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]
    smallest: int = 1

    def example(self, trial: int) -> Tensor:
        """Return inputs with the sizes of a trial; the same at each call."""
        sizes = iter(self.trials[trial])
        shape = tuple(size if isinstance(size, int) else next(sizes) for size in self.shape)
        return self.draw(shape, make_generator(trial, "export"))

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)


class _Encoder(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if isinstance(self.model, VAE):
            posterior = self.model.encode(images)
            return posterior.mean, posterior.log_variance
        return self.model.encode_mean(images)


class _Decoder(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes)


class _Both(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.model.encode_mean(images)
        return self.model.decode(codes), codes


class _Restoration(nn.Module):
    """Computes what `RestorationNetwork` does, in operations that torch.export traces for any height and width.

    Padding and cropping select rows and columns by their index. `F.pad` and slices have special cases for sizes that
    need no padding, which the exported function would be limited to, or from which they would be excluded.
    """

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        factor, padded = self.network.downsample_factor, images
        for axis in (2, 3):
            size = images.shape[axis]
            whole = factor * ((size + factor - 1) // factor)
            padded = padded.index_select(axis, torch.arange(whole).clamp(max=size - 1))
        change = self.network.change(padded)
        for axis in (2, 3):
            change = change.index_select(axis, torch.arange(images.shape[axis]))
        return images + change


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def autoencoder_part(model: Autoencoder, image_shape: tuple[int, ...], part: str = "both") -> Part:
    """Return a part of an autoencoder, with a batch of any size.

    Args:
        model: on the CPU.
        image_shape: channels, height and width of its images.
        part: one of `PARTS`.

    Raises:
        ConfigError: the part is unknown.
    """
    validate_choice("part", part, PARTS)
    images: Shape = ("batch", *image_shape)
    codes: Shape = ("batch", model.latent_size)
    trials = ((1,), (2,), (5,))
    if part == "decoder":
        notes: tuple[str, ...] = (
            f"input: {_described('codes', codes)}, {_draws(model)} to generate",
            f"output: {_described('images', images)}, in [0, 1]",
        )
        return Part(_Decoder(model).eval(), codes, "codes", ("images",), _normal, trials, notes)
    first = f"input: {_described('images', images)}, in [0, 1]"
    if part == "encoder":
        names = ("mean", "log_variance") if isinstance(model, VAE) else ("codes",)
        notes = (first, *(f"output: {_described(name, codes)}" for name in names))
        return Part(_Encoder(model).eval(), images, "images", names, _uniform, trials, notes)
    notes = (
        first,
        f"output: {_described('reconstructions', images)}, in [0, 1]",
        f"output: {_described('codes', codes)}",
    )
    return Part(_Both(model).eval(), images, "images", ("reconstructions", "codes"), _uniform, trials, notes)


def _draws(model: Autoencoder) -> str:
    """Where codes come from whose images are good."""
    best = max(model.densities, key=PRIORS.index, default=None)
    if best is not None:
        return f"from the {best} that is stored with the model, or from N(0, I),"
    if model.likelihood is not None:
        return "from a density of its codes ('evaluate --prior mixture'), which are far from N(0, I),"
    return "from N(0, I)"


def restoration_part(network: RestorationNetwork) -> Part:
    """Return a restoration network as a function of images of any size larger than its `downsample_factor`."""
    shape: Shape = ("batch", 3, "height", "width")
    smallest = network.downsample_factor + 1
    notes = (
        f"input: {_described('images', shape)}, RGB in [0, 1], height and width at least {smallest}",
        f"output: {_described('restored', shape)}, which may leave [0, 1] slightly",
    )
    trials = ((1, 33, 50), (2, 64, 64), (1, smallest, 2 * smallest))
    module = _Restoration(network).eval()
    return Part(module, shape, "images", ("restored",), _uniform, trials, notes, smallest)


def _described(name: str, shape: Shape) -> str:
    return f"{name} ({', '.join(map(str, shape))})"
