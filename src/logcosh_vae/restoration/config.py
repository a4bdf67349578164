"""Configuration of a restoration network's training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..base.devices import find_device, resolve_auto, takes_bfloat16
from ..base.errors import ConfigError
from ..base.settings import renamed, validate_choice
from ..losses import make_loss
from ..training.defaults import RESTORATION_A, RESTORATION_WIDTHS
from .corruptions import CORRUPTIONS, TRAINED_AS
from .network import RestorationNetwork


@dataclass(frozen=True)
class RestorationConfig:
    """Everything that decides the weights of a restoration network.

    Attributes:
        data: folder or zip file of pictures; `text-removal` for the paper's.
        task: what to restore from, a key of `CORRUPTIONS`.
        loss, a: as for an auto-encoder.
        widths, blocks: of the network.
        tile_size: side of the tiles that pictures are cut into.
        crop_size: side of the part of a tile that is seen in a step.
        batch_size: crops in a step.
        captions: for text: train on text as it is found on people's pictures, see `Captions`, instead of the paper's.
        targets: corrupted copies that each restored crop is compared with; more of them cost little and say more.
        epochs, steps: of the schedule; `steps` of one epoch.
        learning_rate: of Muon, for the kernels, after a short rise, falling along a cosine.
        adam_rate: of Adam, for the rest, in the same way.
        bfloat16: multiply in bfloat16, which is twice as fast where the processor can; by default where it can.
        val_images: tiles of held_out-out pictures on which each epoch is measured.
    """

    data: str
    task: str = "text"
    loss: str = "log-cosh"
    a: float | None = None
    widths: tuple[int, ...] = RESTORATION_WIDTHS
    blocks: int = 1
    captions: bool = False
    tile_size: int = renamed("side", default=128)
    crop_size: int = renamed("patch", default=64)
    batch_size: int = 16
    targets: int = 4
    epochs: int = 20
    steps: int = 500
    learning_rate: float = 0.01
    adam_rate: float = 1e-3
    seed: int = 0
    threads: int = 1
    log_every: int = 50
    bfloat16: bool | None = None
    val_images: int = renamed("check_images", default=64)
    device: str = "cpu"


def resolve_restoration(config: RestorationConfig) -> RestorationConfig:
    """The config with `a` filled in and every value validation_tiles; `ConfigError` names the key."""
    validate_choice("task", config.task, CORRUPTIONS)
    config = replace(config, device=resolve_auto(config.device))
    if config.loss == "log-cosh" and config.a is None:
        config = replace(config, a=RESTORATION_A)
    if config.captions and config.task not in TRAINED_AS:
        raise ConfigError(f"captions belongs to the task 'text'; this is {config.task!r}")
    if config.bfloat16 is None:
        config = replace(config, bfloat16=takes_bfloat16(find_device(config.device)))
    try:
        make_loss(config.loss, config.a)
        RestorationNetwork(config.widths, config.blocks)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    rules = [
        ("tile_size", 16 <= config.tile_size <= 1024, "from 16 to 1024"),
        ("crop_size", 8 <= config.crop_size <= config.tile_size, f"from 8 to tile_size, {config.tile_size}"),
        ("batch_size", config.batch_size >= 1, "at least 1"),
        ("targets", config.targets >= 1, "at least 1"),
        ("epochs", config.epochs >= 1, "at least 1"),
        ("steps", config.steps >= 1, "at least 1"),
        ("learning_rate", 0 < config.learning_rate < math.inf, "positive and finite"),
        ("adam_rate", 0 < config.adam_rate < math.inf, "positive and finite"),
        ("seed", 0 <= config.seed < 2**63, "from 0 to 2^63 - 1"),
        ("threads", 1 <= config.threads <= 1024, "from 1 to 1024"),
        ("log_every", config.log_every >= 1, "at least 1"),
        ("val_images", config.val_images >= 1, "at least 1"),
    ]
    for key, holds, expected in rules:
        if not holds:
            raise ConfigError(f"{key} must be {expected}; got {getattr(config, key)}")
    return config
