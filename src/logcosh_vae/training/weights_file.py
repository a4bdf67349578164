"""The final weights of a run: `weights.safetensors`, whose metadata has a digest, the number of epochs and the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn
from torch import uint8 as byte

from ..base.errors import RunError
from ..base.files import one_line, open_regular, read_regular, write_bytes

EXTRA_BYTES = 1 << 26
"""How much larger than its tensors a file of weights or a state may be."""

LARGEST_BYTES = 1 << 34
"""Largest file of weights that is read where the size of the network is not known, in bytes."""


@dataclass(frozen=True)
class SavedWeights:
    """Weights that were read from a file.

    Attributes:
        tensors: by name.
        digest: see `digest_of`.
        epochs: number of epochs that they were trained for; None in files of earlier versions.
        run: identifier of the run that wrote them; None in files of earlier versions.
    """

    tensors: Mapping[str, Tensor]
    digest: str
    epochs: int | None
    run: str | None = None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (hexadecimal) of named CPU tensors: their names, types, shapes and values."""
    content = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().flatten().view(byte).numpy().tobytes())
    return content.hexdigest()


def digest_of_model(model: nn.Module) -> str:
    """Return `digest_of` the parameters and buffers of a model."""
    return digest_of(_tensors_of(model))


def _tensors_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}


def _epochs_digest(digest: str, epochs: str) -> str:
    return hashlib.sha256(f"{digest} {epochs}".encode()).hexdigest()[:16]


def write_weights(path: Path, model: nn.Module, epochs: int | None, run: str | None = None) -> str:
    """Write the weights of a model that the run `run` has trained for `epochs` epochs; returns their digest.

    Raises:
        OSError: the file cannot be written.
    """
    content, digest = weights_content(_tensors_of(model), epochs, run)
    write_bytes(path, content)
    return digest


def weights_content(tensors: Mapping[str, Tensor], epochs: int | None, run: str | None = None) -> tuple[bytes, str]:
    """Return the file of contiguous CPU tensors that `write_weights` writes, and their digest."""
    digest = digest_of(tensors)
    metadata = {"digest": digest}
    if epochs is not None:
        metadata |= {"epochs": str(epochs), "epochs_digest": _epochs_digest(digest, str(epochs))}
    if run is not None:
        metadata["run"] = run
    return with_sorted_header(safetensors.torch.save(dict(tensors), metadata)), digest


def stated_digest(path: Path) -> str | None:
    """Return the digest that the header of a file of weights states; None if it cannot be read."""
    try:
        with open_regular(path, follow=True) as file:
            size = file.read(8)
            content = size + file.read(min(int.from_bytes(size, "little"), EXTRA_BYTES))
        return metadata_of(content).get("digest")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def metadata_of(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file that `safetensors` has accepted or will be given."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__") or {})


def with_sorted_header(content: bytes) -> bytes:
    """Return a safetensors file with the keys of its header in order; safetensors writes metadata in random order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the tensors
    return len(header).to_bytes(8, "little") + header + content[end:]


class DamagedWeightsError(RunError):
    """A file of weights is missing, or does not have the checksum that it states."""


class _ChecksumError(ValueError):
    pass


def read_weights(path: Path, limit: int = LARGEST_BYTES) -> SavedWeights:
    """Read a file of weights once, and verify it.

    Args:
        path: the file.
        limit: largest size in bytes.

    Raises:
        DamagedWeightsError: a checksum is wrong; the message does not say what to do, which depends on the folder.
        RunError: it cannot be read, is damaged, or holds numbers that are not finite; the message names it.
    """
    try:
        content = read_regular(path, limit, follow=True)
        tensors = safetensors.torch.load(content)
        metadata = metadata_of(content)
        digest, epochs = digest_of(tensors), metadata.get("epochs")
        if metadata.get("digest") not in (None, digest):  # runs of early versions have no digest
            raise _ChecksumError("wrong checksum")
        if epochs is not None and metadata.get("epochs_digest") != _epochs_digest(digest, epochs):
            raise _ChecksumError("wrong checksum of its metadata")
        broken = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
        if broken is not None:
            raise ValueError(f"{broken} holds numbers that are not finite; train again with a lower learning rate")
        return SavedWeights(tensors, digest, None if epochs is None else int(epochs), metadata.get("run"))
    except OSError as error:
        raise RunError(f"{path} cannot be loaded: {error.strerror}") from error
    except _ChecksumError as error:
        raise DamagedWeightsError(f"{path} cannot be loaded: {error}") from error
    except Exception as error:  # safetensors raises its own and Python's types for damaged files
        raise RunError(f"{path} cannot be loaded: {one_line(error)}") from error


def tensor_bytes(model: nn.Module) -> int:
    """Return the size in bytes of all parameters and buffers."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def check_fits(tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Check that tensors have the names, shapes and types of a model's; `load_state_dict` would convert types.

    Raises:
        ValueError: they do not; the message names the first difference.
    """
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise ValueError(f"{name} is missing")
        if name not in expected:
            raise ValueError(f"{name} does not belong to this network")
        found, wanted = tensors[name], expected[name]
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"{name} is {found.dtype} {tuple(found.shape)}, but the network has "
                f"{wanted.dtype} {tuple(wanted.shape)}"
            )
