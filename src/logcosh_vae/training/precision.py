"""Precisions in which the weights of a pretrained model are stored: single, half, and 8 bits.

With 8 bits, each row (the first dimension) of a matrix or a convolution is stored as integers from -127 to 127 and a
step of its own, the tensor `NAME.step`. Tensors with one dimension and the likelihood keep their precision. `reduced`
and `in_single_precision` convert the tensors of a model in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

PRECISIONS = {"float32": "single precision", "float16": "half precision", "int8": "8 bits"}
"""Names of the precisions, and what a model card calls them."""

LEVELS = 127
"""Largest integer with 8 bits."""

STEP = ".step"
"""Suffix of the name of the tensor that has the steps."""


def reduced(tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Convert the tensors of a model to a precision, except those of its likelihood.

    Args:
        tensors: by name, on any device.
        precision: one of `PRECISIONS`.

    Returns:
        Contiguous tensors on the CPU. With 8 bits no weight changes by more than 1/254 of the largest of its row.

    Raises:
        ValueError: there is no such precision, or a number is not finite in it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, got {precision!r}")
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kept = tensor.detach().cpu().contiguous()
        if kept.dtype == torch.float32 and not name.startswith("likelihood."):
            if precision == "float16":
                kept = kept.half()
            elif precision == "int8" and kept.ndim > 1:
                largest = kept.flatten(1).abs().amax(1).view(-1, *[1] * (kept.ndim - 1))
                step = largest / LEVELS
                stored[name + STEP] = step
                kept = (kept / step.where(step > 0, 1.0)).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        stored[name] = kept
    broken = next((name for name, tensor in stored.items() if not bool(tensor.isfinite().all())), None)
    if broken is not None:
        name = broken.removesuffix(STEP)
        suffix = " in half precision" if bool(tensors[name].isfinite().all()) else ""
        raise ValueError(f"{name} holds numbers that are not finite{suffix}")
    return stored


def in_single_precision(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return stored tensors as those of a model, in float32 where the model has float32.

    Tensors that do not belong to the model, or whose steps have another shape than one per row, are returned unchanged,
    so that `check_fits` names them.
    """
    wanted = {name for name, tensor in model.state_dict().items() if tensor.dtype == torch.float32}
    converted = dict(tensors)
    for name, tensor in tensors.items():
        if name not in wanted:
            continue
        if tensor.dtype == torch.float16:
            converted[name] = tensor.float()
        elif tensor.dtype == torch.int8 and _has_steps(tensor, step := tensors.get(name + STEP)):
            assert step is not None
            converted[name] = tensor.float() * step
            del converted[name + STEP]
    return converted


def _has_steps(tensor: Tensor, step: Tensor | None) -> bool:
    return (
        step is not None
        and step.dtype == torch.float32
        and tensor.ndim > 1
        and step.shape == (len(tensor), *[1] * (tensor.ndim - 1))
    )
