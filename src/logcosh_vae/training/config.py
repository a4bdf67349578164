"""Configuration of a training run of an auto-encoder: frozen dataclasses.

A config is data (see `settings`). It is resolved (no default left open) and written before the first step, and its
digest names the run: the same digest on the same machine gives the same weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..base.errors import ConfigError
from ..base.settings import renamed, validate_choice
from ..data.sizes import FIXED_SIZE, PICTURE_SIZE
from ..losses import make_loss
from ..models.autoencoder import MODELS
from ..models.distributions import MMD_SCALES
from ..models.networks import HIDDEN, NETWORKS
from .defaults import BETAS, setting_of

MOST_THREADS = 1024
"""Far more than any machine's cores; a number out of all proportion would end the process."""

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """Which images.

    Attributes:
        name: a known set, or the path of a folder or zip file.
        limit: take the first images of each split only (quick checks).
        size: height and width, or one number for both, that pictures are brought to; not for MNIST.
        channels: 3, or 1 for grey; not for MNIST.
        strict: refuse a set with pictures that cannot be used, instead of leaving them out.
    """

    name: str = "mnist"
    limit: int | None = None
    size: tuple[int, ...] | None = None
    channels: int | None = None
    strict: bool | None = None


@dataclass(frozen=True)
class ModelConfig:
    """Family (`vae`, `wae`), network (`mlp`, `conv`) and sizes (paper, A.2 and A.3).

    `hidden` layers are the MLP's; `width` is a factor on the channels of convolutions.
    """

    family: str = "vae"
    network: str = "mlp"
    latent_size: int | None = None
    hidden: tuple[int, ...] | None = None
    width: float | None = None


@dataclass(frozen=True)
class ObjectiveConfig:
    """Reconstruction loss and its weight `lambda` (Eq. 8)."""

    loss: str = "log-cosh"
    a: float | None = None
    reconstruction_weight: float | None = renamed("weight", default=None)
    mmd_scales: tuple[float, ...] = MMD_SCALES


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam (paper, A.2), with the framework's defaults where the paper is silent.

    `betas` left open are the framework's for an MLP, and (0.5, 0.999) for convolutions (`defaults.BETAS`).
    `lr_milestones` are pairs `(epoch, factor)`: after that epoch the learning rate is multiplied by the factor (A.3).
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] | None = None
    eps: float = renamed("epsilon", default=1e-8)
    lr_milestones: tuple[tuple[float, float], ...] | None = renamed("drops", default=None)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights of a run, and what it records on the way.

    A value left at None is open: `resolve` fills it with the paper's for the image set and the family, if it has one.
    With `bfloat16` training multiplies in bfloat16 and sums in float32; left open, convolutions on a GPU do so.
    With `compiled` training runs networks compiled by torch; left open, none does.
    With `cuda_graph` a training step is recorded once and replayed; left open, runs of one process on a GPU do so.
    `threads` is part of it because sums are grouped by thread; two runs on a thread each beat one on two.
    At every `log_every`-th step the terms of the objective are recorded, also for the first `track_images` test images.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int | None = None
    batch_size: int = 100
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    bfloat16: bool | None = None
    compiled: bool | None = None
    cuda_graph: bool | None = None
    log_every: int = 50
    track_images: int = 250
    picture_every: int = 10

    @property
    def model_name(self) -> str:
        return f"{self.model.family}-{self.model.network}"


D = TypeVar("D", DataConfig, ModelConfig, ObjectiveConfig, OptimizerConfig, TrainConfig)


def required(value: T | None, key: str) -> T:
    """A value of a resolved config; `ConfigError` where it was left open."""
    if value is None:
        raise ConfigError(f"{key} is open: resolve() the config first")
    return value


def resolve(config: TrainConfig) -> TrainConfig:
    """Fill what is open and check every value; raises `ConfigError` naming the key.

    Example:
        >>> resolve(TrainConfig(DataConfig("celeba"), ModelConfig("wae", "conv"))).epochs
        55
    """
    family = validate_choice("model.family", config.model.family, MODELS)
    network = validate_choice("model.network", config.model.network, NETWORKS)
    paper = setting_of(config.data.name)
    model = _filled(config.model, latent_size=paper.latent_size)
    model = _filled(model, hidden=HIDDEN) if network == "mlp" else _filled(model, width=1.0)
    objective = _filled(config.objective, reconstruction_weight=paper.reconstruction_weight[family])
    if objective.loss == "log-cosh":
        objective = _filled(objective, a=paper.a[family])
    optimizer = _filled(config.optimizer, lr_milestones=paper.lr_milestones, betas=BETAS[network])
    data = config.data
    if data.name not in FIXED_SIZE:
        data = _filled(data, size=PICTURE_SIZE, channels=3)
    config = dataclasses.replace(config, data=data, model=model, objective=objective, optimizer=optimizer)
    on_gpu = config.device.startswith("cuda")
    config = _filled(config, epochs=paper.epochs[family])
    config = _filled(config, bfloat16=on_gpu and network == "conv", compiled=False)
    if on_gpu:  # elsewhere it stays open, which leaves the names of runs as they are
        config = _filled(config, cuda_graph=not config.compiled)
    _check(config)
    return config


def _filled(part: D, **values: Any) -> D:
    """`part` with those of its fields that are None set to `values`."""
    return dataclasses.replace(part, **{key: v for key, v in values.items() if getattr(part, key) is None})


def _check(config: TrainConfig) -> None:
    try:
        make_loss(config.objective.loss, config.objective.a)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"objective: {error}") from None
    model, weight, rate = config.model, config.objective.reconstruction_weight, config.optimizer.learning_rate
    for key, given, network in (("hidden", model.hidden, "mlp"), ("width", model.width, "conv")):
        if given is not None and model.network != network:
            raise ConfigError(f"model.{key} belongs to the network {network!r}; this is {model.network!r}")
    data = config.data
    if data.name in FIXED_SIZE and (data.size, data.channels) != (None, None):
        raise ConfigError(f"data.size and data.channels belong to pictures; {data.name} has a size of its own")
    on_gpu = config.device.startswith("cuda")
    rules: list[tuple[str, object, bool, str]] = [
        ("epochs", config.epochs, required(config.epochs, "epochs") >= 1, "at least 1"),
        ("batch_size", config.batch_size, config.batch_size >= 2, "at least 2"),
        ("cuda_graph", config.cuda_graph, on_gpu or not config.cuda_graph, "false or open unless the device is cuda"),
        ("cuda_graph", config.cuda_graph, not (config.cuda_graph and config.compiled), "false where compiled is true"),
        ("threads", config.threads, 1 <= config.threads <= MOST_THREADS, f"from 1 to {MOST_THREADS}"),
        ("log_every", config.log_every, config.log_every >= 1, "at least 1"),
        ("track_images", config.track_images, config.track_images >= 0, "at least 0"),
        ("picture_every", config.picture_every, config.picture_every >= 1, "at least 1"),
        ("seed", config.seed, 0 <= config.seed < 2**63, "from 0 to 2^63 - 1"),
        ("data.limit", config.data.limit, config.data.limit is None or config.data.limit >= 2, "at least 2"),
        (
            "data.size",
            data.size,
            len(data.size or (3,)) in (1, 2) and min(data.size or (3,)) >= 3,
            "1 or 2 sizes of at least 3",
        ),
        ("data.channels", data.channels, data.channels in (None, 1, 3), "1 or 3"),
        ("model.latent_size", model.latent_size, required(model.latent_size, "latent_size") >= 1, "at least 1"),
        ("model.hidden", model.hidden, all(h >= 1 for h in model.hidden or ()), "positive sizes"),
        ("model.width", model.width, model.width is None or 0 < model.width < float("inf"), "positive and finite"),
        (
            "objective.reconstruction_weight",
            weight,
            weight is not None and 0 < weight < float("inf"),
            "positive, finite",
        ),
        ("optimizer.learning_rate", rate, 0 < rate < float("inf"), "positive and finite"),
        ("optimizer.eps", config.optimizer.eps, config.optimizer.eps > 0, "positive"),
        (
            "optimizer.betas",
            config.optimizer.betas,
            all(0 <= b < 1 for b in config.optimizer.betas or ()),
            "in [0, 1)",
        ),
        (
            "optimizer.lr_milestones",
            config.optimizer.lr_milestones,
            all(len(pair) == 2 and 0 < pair[1] < float("inf") for pair in config.optimizer.lr_milestones or ()),
            "pairs of an epoch and a positive factor",
        ),
        (
            "objective.mmd_scales",
            config.objective.mmd_scales,
            len(config.objective.mmd_scales) > 0 and all(s > 0 for s in config.objective.mmd_scales),
            "one or more positive numbers",
        ),
    ]
    for key, value, holds, expected in rules:
        if not holds:
            raise ConfigError(f"{key} must be {expected}; got {value}")
