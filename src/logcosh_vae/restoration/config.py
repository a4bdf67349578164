"""Configuration of the training of a restoration network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..base.devices import find_device, resolve_auto, takes_bfloat16
from ..base.errors import ConfigError
from ..base.settings import renamed, validate_choice
from ..losses import LOSSES, make_loss
from ..losses.likelihood_base import LEARN
from ..training.defaults import RESTORATION_A, RESTORATION_WIDTHS
from .blending import SPARSE_TASKS
from .corruptions import CORRUPTIONS, HINTED, TRAINED_AS, Corruption
from .network import Architecture


@dataclass(frozen=True)
class RestorationConfig:
    """The settings that determine the weights of a restoration network.

    Attributes:
        data: path of a folder or zip file of pictures, or `text-removal` for the paper's.
        task: the corruption to undo, a key of `CORRUPTIONS`.
        loss: `l2`, `l1` or `log-cosh`.
        a: parameter of log-cosh; None for the default, for the other losses, and if the likelihood is learned.
        likelihood: what is learned of the likelihood of the loss, `scale` or `scale+shape`; None for nothing. If it is
            set, the mean negative log-likelihood of a pixel replaces the mean loss.
        widths, blocks, unshuffle, mask: those of `Architecture`; None for its defaults. A mask is learned from clean
            images, so it needs `clean_targets`, and a task that corrupts some pixels and leaves the others alone.
        hint: that of `Architecture`; None for its default. Part of the crops come with a hint in training, complete or
            with gaps, and pixels near text weigh more. A hint needs `captions` and `clean_targets`.
        captions: train on text as it is found on photographs (`Captions`) instead of the paper's; for the task `text`.
        tile_size: height and width of the tiles that pictures are cut into, in pixels.
        crop_size: height and width of the random crops of the tiles that a step is trained on.
        batch_size: crops per step.
        targets: corrupted copies that each restored crop is compared with. They are cheap compared to the network and
            reduce the noise of the gradient.
        clean_targets: compare with the clean image instead, which Noise2Noise does without; None for what the task
            needs.
        epochs: number of epochs.
        steps: optimisation steps per epoch.
        learning_rate: of Muon, for the inner kernels; it rises for 2% of the training and then falls along a cosine.
        adam_rate: learning rate of Adam, for the other parameters, with the same schedule.
        seed: seed of all random generators.
        threads: CPU threads to compute with.
        log_every: steps between two records of the training loss.
        bfloat16: multiply in bfloat16, which is about twice as fast on processors that support it; the default is
            whether the device does.
        val_images: tiles of held-out pictures to validate on after each epoch.
        device: `cpu`, `cuda` or `cuda:N`.
    """

    data: str
    task: str = "text"
    loss: str = "log-cosh"
    a: float | None = None
    likelihood: str | None = None
    widths: tuple[int, ...] = RESTORATION_WIDTHS
    blocks: int = 1
    unshuffle: int | None = None
    mask: bool | None = None
    hint: bool | None = None
    captions: bool = False
    tile_size: int = renamed("side", default=128)
    crop_size: int = renamed("patch", default=64)
    batch_size: int = 16
    targets: int = 4
    clean_targets: bool | None = None
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

    @property
    def architecture(self) -> Architecture:
        """The architecture of the network."""
        return Architecture(
            tuple(self.widths),
            self.blocks,
            1 if self.unshuffle is None else self.unshuffle,
            bool(self.mask),
            bool(self.hint),
        )

    @property
    def corruption(self) -> Corruption:
        """The corruption that the network learns to undo; it is evaluated on that of `CORRUPTIONS`."""
        if self.hint:
            return HINTED[self.task]
        return (TRAINED_AS if self.captions else CORRUPTIONS)[self.task]

    def with_architecture(self, architecture: Architecture) -> RestorationConfig:
        """Return a copy for a network of this architecture."""
        return replace(
            self,
            widths=architecture.widths,
            blocks=architecture.blocks,
            unshuffle=None if architecture.unshuffle == 1 else architecture.unshuffle,
            mask=architecture.mask or None,
            hint=architecture.hint or None,
        )


def resolve_restoration(config: RestorationConfig) -> RestorationConfig:
    """Return the config with the defaults of `a` and `bfloat16` filled in.

    Raises:
        ConfigError: a value cannot be used; the message names the key and the accepted values.
    """
    validate_choice("task", config.task, CORRUPTIONS)
    config = replace(config, device=resolve_auto(config.device))
    if config.likelihood is not None:
        _check_likelihood(config, config.likelihood)
    elif config.loss == "log-cosh" and config.a is None:
        config = replace(config, a=RESTORATION_A)
    if config.captions and config.task not in TRAINED_AS:
        raise ConfigError(f"captions can only be true for the task 'text'; task is {config.task!r}")
    if config.mask and not (config.clean_targets and config.task in SPARSE_TASKS):
        tasks = " and ".join(SPARSE_TASKS)
        raise ConfigError(f"mask can only be true with clean_targets=true, for the tasks {tasks}")
    if config.hint and not (config.clean_targets and config.captions):
        raise ConfigError("hint can only be true with captions=true and clean_targets=true")
    if config.bfloat16 is None:
        config = replace(config, bfloat16=takes_bfloat16(find_device(config.device)))
    try:
        make_loss(config.loss, config.a)
        config.architecture  # noqa: B018 - checks its values
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    rules = [
        ("tile_size", 16 <= config.tile_size <= 1024, "from 16 to 1024"),
        ("crop_size", 8 <= config.crop_size <= config.tile_size, f"from 8 to tile_size, {config.tile_size}"),
        ("batch_size", config.batch_size >= 1, "at least 1"),
        ("targets", 1 <= config.targets <= 1000, "from 1 to 1000"),
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


def _check_likelihood(config: RestorationConfig, learned: str) -> None:
    """Raise `ConfigError` if the likelihood of the loss has nothing of that kind to learn."""
    validate_choice("loss", config.loss, LOSSES)
    kind = LOSSES[config.loss].likelihood
    if kind is None:
        raise ConfigError(f"the loss {config.loss} has no likelihood to learn; leave likelihood out")
    validate_choice("likelihood", learned, LEARN[1 : 3 if kind.takes_shape else 2])
    if config.a is not None:
        raise ConfigError("a cannot be set if the likelihood is learned, because 1 / a is its scale")
