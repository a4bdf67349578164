"""The file of a run folder or pretrained model with the densities that were fitted to the codes of its images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ..base.errors import RunError
from ..base.files import one_line, read_regular, write_bytes
from ..models.density import CodeDensity
from .run_folder import DENSITY_FILE, RunFolder
from .weights_file import LARGEST_BYTES, digest_of, digest_of_model, metadata_of, with_sorted_header

SEED = 0
"""Seed that the densities of a run are fitted with unless another is asked for."""


def save_densities(densities: Mapping[str, CodeDensity], path: Path, **origin: str) -> None:
    """Write fitted densities to a safetensors file of plain arrays, such as `mixture.means`.

    Args:
        densities: by name, keys of `PRIORS`.
        path: the file; it is replaced.
        origin: what the densities were fitted to, for `load_densities` to compare.
    """
    write_bytes(path, densities_content(densities, **origin))


def densities_content(densities: Mapping[str, CodeDensity], **origin: str) -> bytes:
    """Return the file that `save_densities` writes."""
    tensors = {
        f"{name}.{key}": getattr(density, key).contiguous()
        for name, density in densities.items()
        for key in ("weights", "means", "factors")
    }
    held_out = {name: density.held_out for name, density in densities.items()}
    metadata = {**origin, "digest": digest_of(tensors), "held_out": json.dumps(held_out)}
    return with_sorted_header(safetensors.torch.save(tensors, metadata))


def load_densities(path: Path, latent_size: int | None = None) -> tuple[dict[str, CodeDensity], dict[str, str]]:
    """Read the densities of a file and what they were fitted to.

    Args:
        path: the file.
        latent_size: number of latent variables `d` that the densities must have; None for any.

    Raises:
        RunError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        content = read_regular(path, LARGEST_BYTES, follow=True)
        tensors, origin = safetensors.torch.load(content), metadata_of(content)
        if origin.pop("digest") != digest_of(tensors):
            raise ValueError("wrong checksum")
        held_out = json.loads(origin.pop("held_out"))
        densities = {name: _density(tensors, name, scores, latent_size) for name, scores in held_out.items()}
    except OSError:
        raise
    except Exception as error:  # a damaged file raises many types
        raise RunError(f"{path} is damaged ({one_line(error)}): remove it, and it is fitted anew") from None
    return densities, origin


def _density(tensors: Mapping[str, Tensor], name: str, scores: Sequence[Any], latent_size: int | None) -> CodeDensity:
    """Return the density `name` from the arrays of a file.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: they are missing or not those of a mixture.
    """
    weights, means, factors = (tensors[f"{name}.{key}"] for key in ("weights", "means", "factors"))
    components, d = len(weights), means.shape[-1] if latent_size is None else latent_size
    shapes: dict[str, tuple[int, ...]] = {
        "weights": (components,),
        "means": (components, d),
        "factors": (components, d, d),
    }
    for (key, shape), array in zip(shapes.items(), (weights, means, factors), strict=True):
        if array.dtype != torch.float64 or tuple(array.shape) != shape or not bool(array.isfinite().all()):
            found = f"{array.dtype} of shape {tuple(array.shape)}"
            raise ValueError(f"{name}.{key} must be finite float64 of shape {shape}; it is {found}")
    if components < 1 or bool((weights < 0).any()) or abs(float(weights.sum()) - 1) >= 1e-6:
        raise ValueError(f"{name}.weights are no probabilities")
    if bool((factors.diagonal(dim1=1, dim2=2) <= 0).any()) or bool(factors.triu(1).any()):
        raise ValueError(f"{name}.factors are no Cholesky factors")
    held_out = tuple((int(count), float(score)) for count, score in scores)
    if not all(count >= 1 and math.isfinite(score) for count, score in held_out):
        raise ValueError(f"the likelihoods of held-out codes of {name} are not finite")
    return CodeDensity(weights, means, factors, held_out)


def stored_densities(folder: RunFolder, model: nn.Module, latent_size: int) -> dict[str, CodeDensity]:
    """Return the densities in a folder that belong to its model and to the images that it was trained on.

    Args:
        folder: of a run or of a pretrained model.
        model: its model.
        latent_size: number of latent variables of the model.

    Raises:
        RunError: the file of a pretrained model is damaged; that of a run is ignored then, and fitted again.
    """
    path = folder.path / DENSITY_FILE
    if not path.is_file():
        return {}
    try:
        densities, origin = load_densities(path, latent_size)
        if origin != density_origin(folder.config(), digest_of_model(model)):
            return {}
    except (RunError, OSError) as error:
        if folder.is_pretrained and isinstance(error, OSError):
            raise RunError(f"{path} cannot be read: {error.strerror}") from None
        if folder.is_pretrained:
            raise
        return {}
    return densities


def density_origin(config: Mapping[str, object], digest: str) -> dict[str, str]:
    """Return what the densities of a model are fitted to, as their file states it.

    Args:
        config: content of the model's `config.json`.
        digest: of the model's weights in single precision.
    """
    images = config.get("images")
    fingerprint = images.get("train") if isinstance(images, Mapping) else None
    return {"weights": digest, "images": str(fingerprint or ""), "seed": str(SEED)}
