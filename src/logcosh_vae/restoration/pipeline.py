"""Restore a picture in memory: the public entry point for Python programs.

    network, task = load_network("captions")
    clean = restore_picture(network, pixels, task=task, boxes=[(40, 900, 600, 80)])

`picture_files` does the same for files and folders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.devices import find_device
from ..base.errors import ConfigError
from ..base.settings import validate_choice
from .augmentation import FlipEnsemble
from .blending import DILATION_SIZE, SPARSE_TASKS, restore_changed
from .corruptions import CORRUPTIONS
from .network import RestorationNetwork
from .pretrained import PRETRAINED_TASKS, load_pretrained
from .region import Box, Region, restore_region
from .tiling import Progress, restore
from .training import load_restoration

__all__ = ["Box", "Pixels", "Progress", "check_options", "load_network", "restore_picture"]

Pixels = NDArray[np.unsignedinteger]
"""`(H, W, 3)`, uint8 or uint16."""


def load_network(
    model: Path | str | None = None, *, task: str | None = None, device: str = "cpu"
) -> tuple[RestorationNetwork, str]:
    """Load a restoration network and the task it was trained for.

    Args:
        model: a run folder, or the name of a network that comes with the package: `text` or `captions`. The default is
            the network of the package for `task`.
        task: the task that the network has to be for; None accepts any, and means `text` if there is no `model`.
        device: `cpu`, `cuda` or `cuda:N`.

    Returns:
        The network, in evaluation mode on the device, and its task, a key of `CORRUPTIONS`.

    Raises:
        ConfigError: the network is for another task, or the device does not exist.
        RunError: there is no such network, or it cannot be loaded.
    """
    if task is not None:
        validate_choice("task", task, CORRUPTIONS)
    if model is None:
        network, trained_for = load_pretrained(task or "text")[0], task or "text"
    elif str(model) in PRETRAINED_TASKS and not Path(model).exists():
        network, trained_for = load_pretrained(str(model))[0], PRETRAINED_TASKS[str(model)]
    else:
        network, config = load_restoration(model)
        trained_for = config.task
    if task not in (None, trained_for):
        raise ConfigError(f"task {task}: the network in {model} is for {trained_for}; choose another network or task")
    return network.to(find_device(device)), trained_for


def check_options(task: str, *, scale: float = 1.0, careful: bool = False) -> None:
    """Check that a network for `task` can be used with these options of `restore_picture`.

    Raises:
        ConfigError: it cannot.
    """
    validate_choice("task", task, CORRUPTIONS)
    if not 0.0 < scale <= 1.0:
        raise ConfigError(f"scale must be above 0 and at most 1; got {scale:g}")
    if scale != 1.0 and task != "text":
        raise ConfigError(f"scale can only be used for text; this network is for {task}")
    if careful and task == "demosaic":
        raise ConfigError("careful cannot be used for demosaic: a mirrored Bayer mosaic has another pattern")


def restore_picture(
    network: RestorationNetwork,
    pixels: Pixels,
    *,
    task: str = "text",
    boxes: Sequence[Box] = (),
    mask: NDArray[np.bool_] | None = None,
    scale: float = 1.0,
    careful: bool = False,
    progress: Progress | None = None,
) -> Pixels:
    """Restore a picture.

    For the tasks `text` and `impulse`, pixels that the network does not change clearly keep their exact values. The
    networks for the other tasks change every pixel.

    Args:
        network: in evaluation mode, on its device.
        pixels: `(H, W, 3)`, uint8 or uint16.
        task: what the network was trained for; `load_network` returns it.
        boxes: change only these parts: left, top, width and height in pixels.
        mask: `(H, W)`, change only where it is true. With boxes, change what lies in either.
        scale: for text taller than 40 pixels: in (0, 1), restore a copy of this scale and enlarge the changes.
        careful: use test-time augmentation, the mean over four mirror images, at four times the cost.
        progress: called after each tile with the number of tiles that are done and the total.

    Returns:
        The shape and type of `pixels`.

    Raises:
        ValueError: the pixels have another shape or type.
        ConfigError: the task is unknown, the scale is not in (0, 1], or an option does not suit the task.
        ImageValuesError: the network computes numbers that are not finite.
        RegionError: the boxes and the mask hold no pixel of the picture, or the mask has another size.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels must be (H, W, 3), uint8 or uint16; got {pixels.shape}, {pixels.dtype}")
    check_options(task, scale=scale, careful=careful)
    model = FlipEnsemble(network) if careful else network

    def restore_part(part: Pixels) -> Pixels:
        if task in SPARSE_TASKS:
            return restore_changed(model, part, scale, progress=progress)
        return restore(model, part, progress=progress)

    if not boxes and mask is None:
        return restore_part(pixels)
    margin = math.ceil((network.receptive_field_radius + DILATION_SIZE) / scale)
    return restore_region(pixels, Region(boxes, mask), restore_part, margin, network.downsample_factor)
