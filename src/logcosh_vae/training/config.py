"""Configuration of an autoencoder's training run, as frozen dataclasses.

`logcosh_vae.base.settings` reads, writes and overrides configs. A value of None means "not set"; `resolve` replaces it
by the default for the data set and the model, and validates the config. The resolved config is written before the first
step, and its digest is part of the run's name: on the same machine, the same digest gives the same weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..base.devices import resolve_auto
from ..base.errors import ConfigError
from ..base.settings import renamed, validate_choice
from ..data.sizes import FIXED_SIZE, PICTURE_SIZE
from ..losses import LOSSES, make_loss
from ..losses.likelihood import SHAPE_RANGE
from ..losses.likelihood_base import LEARN, PER
from ..models.autoencoder import MODELS
from ..models.distributions import LOG_VARIANCE_RANGE, MMD_SCALES
from ..models.networks import CONV_MAX_LOG_VARIANCE, HIDDEN, NETWORKS
from .defaults import AUTO, BETAS, RECOMMENDED, defaults_for

MAX_THREADS = 1024
"""More than the cores of any machine; a much larger number of threads would crash the process."""

FIXED = "fixed"
"""The likelihood whose scale and shape are not learned: that of the loss with its weight."""

LEARNED = LEARN[1:]
"""What a likelihood can learn, as `objective.likelihood` names it."""

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """The images to train on.

    Attributes:
        name: name of a known data set, or path of a folder or zip file of images.
        limit: number of images per split, from the first one; None for all.
        size: height and width to which images are resized, or one number for both. Not for data sets with a fixed size.
        channels: 3 for colour, 1 for grey. Not for data sets with a fixed size.
        strict: whether an unusable image is an error; otherwise it is left out.
        tiles: whether images are cut into squares of `size` at their own resolution, instead of being resized.
    """

    name: str = "mnist"
    limit: int | None = None
    size: tuple[int, ...] | None = None
    channels: int | None = None
    strict: bool | None = None
    tiles: bool | None = None


@dataclass(frozen=True)
class ModelConfig:
    """Model family, network and sizes (paper, A.2 and A.3).

    Attributes:
        family: `vae` or `wae`.
        network: `mlp` or `conv`.
        latent_size: dimension `d` of the latent space.
        hidden: sizes of the hidden layers; `mlp` only.
        width: factor on the numbers of channels; `conv` only.
        max_log_variance: largest log-variance of the posterior; VAE only. By default that of `models.networks` for the
            network.
    """

    family: str = "vae"
    network: str = "mlp"
    latent_size: int | None = None
    hidden: tuple[int, ...] | None = None
    width: float | None = None
    max_log_variance: float | None = None


@dataclass(frozen=True)
class ObjectiveConfig:
    """The training objective (paper, Eq. 8).

    Attributes:
        loss: name of the reconstruction loss: `l2`, `l1` or `log-cosh`; or `auto` for the loss and the likelihood of
            `defaults.RECOMMENDED`, by which `resolve` replaces it.
        a: parameter of the log-cosh loss; None for other losses, and if it is learned.
        reconstruction_weight: `lambda` of Eq. 8. Formerly `weight`. If the likelihood is learned, it multiplies the
            negative log-likelihood.
        mmd_scales: scales of the MMD's kernels; WAE only.
        likelihood: what is learned of the likelihood that belongs to the loss: `scale` or `scale+shape`; None (or
            `fixed`) for nothing, as in the paper. See `losses.likelihood`.
        shape: shape `k` of a learned log-cosh likelihood; its initial value if it is learned, too.
        per: what shares a learned scale: `image set`, `channel` or `pixel`.
        warmup: number of epochs over which the weight of the KL divergence, or of the MMD, grows from 0 to 1.
        free_bits: smallest KL divergence that counts for a latent variable of an image, in nats; VAE only.
    """

    loss: str = "log-cosh"
    a: float | None = None
    reconstruction_weight: float | None = renamed("weight", default=None)
    mmd_scales: tuple[float, ...] = MMD_SCALES
    likelihood: str | None = None
    shape: float | None = None
    per: str | None = None
    warmup: float | None = None
    free_bits: float | None = None


@dataclass(frozen=True)
class OptimizerConfig:
    """The Adam optimizer (paper, A.2), with torch's defaults for what the paper does not state.

    Attributes:
        learning_rate: initial learning rate.
        betas: decay rates of Adam's averages; by default those of `defaults.BETAS` for the network.
        eps: Adam's `eps`. Formerly `epsilon`.
        lr_milestones: pairs `(epoch, factor)`; after that epoch the learning rate is multiplied by the factor (A.3).
            Formerly `drops`.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] | None = None
    eps: float = renamed("epsilon", default=1e-8)
    lr_milestones: tuple[tuple[float, float], ...] | None = renamed("drops", default=None)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines the weights of a run, and what the run records.

    Attributes:
        data: the images.
        model: the model.
        objective: the training objective.
        optimizer: the optimizer.
        epochs: number of training epochs.
        batch_size: images per batch, of all processes together.
        seed: seed of the initial weights, of shuffling and of noise.
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto` for the first available of `cuda`, `mps` and `cpu`.
        threads: CPU threads. Part of the config because the order of floating-point sums depends on it.
        bfloat16: multiply in bfloat16 and sum in float32; by default for convolutional networks on a CUDA GPU.
        compiled: train networks compiled by `torch.compile`; false by default.
        cuda_graph: record the training step as a CUDA graph and replay it; by default on a CUDA GPU unless `compiled`.
        log_every: number of steps between recordings of the losses.
        track_images: number of test images whose losses are recorded at the same steps; 0 for none.
        picture_every: number of epochs between pictures of samples.
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
        """Family and network as the option `--model` names them, for example `vae-mlp`."""
        return f"{self.model.family}-{self.model.network}"


D = TypeVar("D", DataConfig, ModelConfig, ObjectiveConfig, OptimizerConfig, TrainConfig)


def required(value: T | None, key: str) -> T:
    """Return `value`, the value of `key` in a resolved config.

    Raises:
        ConfigError: the value is None, because the config was not resolved.
    """
    if value is None:
        raise ConfigError(f"{key} is not set; call resolve() on the config first")
    return value


def resolve(config: TrainConfig) -> TrainConfig:
    """Replace values that are not set by their defaults and validate every value.

    The device `auto` is replaced by the one it stands for on this machine, so that names of runs do not depend on how
    the device was chosen.

    Returns:
        The resolved config. Resolving it again returns an equal config.

    Raises:
        ConfigError: a value is invalid; the message names its key.

    Example:
        >>> resolve(TrainConfig(DataConfig("celeba"), ModelConfig("wae", "conv"))).epochs
        55
    """
    family = validate_choice("model.family", config.model.family, MODELS)
    network = validate_choice("model.network", config.model.network, NETWORKS)
    paper = defaults_for(config.data.name)
    model = _filled(config.model, latent_size=paper.latent_size)
    model = _filled(model, hidden=HIDDEN) if network == "mlp" else _filled(model, width=1.0)
    if (family, network) == ("vae", "conv"):  # for the MLP it stays None, as in runs that are older than the setting
        model = _filled(model, max_log_variance=CONV_MAX_LOG_VARIANCE)
    optimizer = _filled(config.optimizer, lr_milestones=paper.lr_milestones, betas=BETAS[network])
    data = config.data
    if data.name not in FIXED_SIZE:
        data = _filled(data, size=PICTURE_SIZE, channels=3)
    objective = _resolved_objective(config.objective, family, data)
    config = dataclasses.replace(config, data=data, model=model, objective=objective, optimizer=optimizer)
    config = dataclasses.replace(config, device=resolve_auto(config.device))
    on_gpu = config.device.startswith("cuda")
    config = _filled(config, epochs=paper.epochs[family])
    config = _filled(config, bfloat16=on_gpu and network == "conv", compiled=False)
    if on_gpu:  # on other devices it stays None, because a value would change the digests of existing runs
        config = _filled(config, cuda_graph=not config.compiled)
    _check(config)
    return config


def _resolved_objective(objective: ObjectiveConfig, family: str, data: DataConfig) -> ObjectiveConfig:
    """Fill in the objective's defaults.

    A learned likelihood has the weight 1 in a VAE, whose objective is then the negative evidence lower bound. The
    MMD of a WAE is no probability, so nothing determines the weight between them; by default the negative
    log-likelihood is averaged over the pixels, which is close to the weights that the paper uses.
    """
    if objective.loss == AUTO:
        objective = _recommended(objective)
    if objective.likelihood == FIXED:
        objective = dataclasses.replace(objective, likelihood=None)  # as in runs that are older than the option
    if objective.likelihood is None:
        paper = defaults_for(data.name)
        objective = _filled(objective, reconstruction_weight=paper.reconstruction_weight[family])
        return _filled(objective, a=paper.a[family]) if objective.loss == "log-cosh" else objective
    size = data.size or (28, 28)
    pixels = (data.channels or 1) * size[0] * size[-1]
    objective = _filled(objective, reconstruction_weight=1.0 if family == "vae" else 1 / pixels, per=PER[0])
    return _filled(objective, shape=1.0) if objective.loss == "log-cosh" else objective


def _recommended(objective: ObjectiveConfig) -> ObjectiveConfig:
    """Return the recommended objective; other options of `objective` stay.

    Raises:
        ConfigError: `objective` has a likelihood or `a` of its own.
    """
    for key, value in (("likelihood", objective.likelihood), ("a", objective.a)):
        if value is not None:
            raise ConfigError(
                f"objective.{key} is part of what objective.loss={AUTO} chooses: leave it out, or name the loss"
            )
    return dataclasses.replace(objective, loss=RECOMMENDED.loss, likelihood=RECOMMENDED.likelihood)


def as_trained(config: TrainConfig) -> TrainConfig:
    """Return the config of a run, with the limit of log-variances that was used before it could be set."""
    if config.model_name != "vae-conv" or config.model.max_log_variance is not None:
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, max_log_variance=LOG_VARIANCE_RANGE[1]))


def _filled(part: D, **values: Any) -> D:
    """Return `part` with `values` for those of its fields that are None or equal.

    Equal values can be written differently: a file gives 30.0 where a default is 30. The text of a config, and with it
    the digests of runs, must not depend on that.
    """
    return dataclasses.replace(part, **{key: v for key, v in values.items() if getattr(part, key) in (None, v)})


def _check(config: TrainConfig) -> None:
    """Raise `ConfigError` for the first invalid value of a resolved config."""
    try:
        make_loss(config.objective.loss, config.objective.a)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"objective: {error}") from None
    _check_likelihood(config.objective)
    model, weight, rate = config.model, config.objective.reconstruction_weight, config.optimizer.learning_rate
    for key, given, network in (("hidden", model.hidden, "mlp"), ("width", model.width, "conv")):
        if given is not None and model.network != network:
            raise ConfigError(f"model.{key} applies to model.network={network!r} only; this one is {model.network!r}")
    limit, warmup, free_bits = model.max_log_variance, config.objective.warmup, config.objective.free_bits
    data = config.data
    if data.name in FIXED_SIZE and (data.size, data.channels, data.tiles) != (None, None, None):
        raise ConfigError(
            f"data.size, data.channels and data.tiles cannot be set for {data.name}, whose images have a fixed size"
        )
    on_gpu = config.device.startswith("cuda")
    rules: list[tuple[str, object, bool, str]] = [
        ("epochs", config.epochs, required(config.epochs, "epochs") >= 1, "at least 1"),
        ("batch_size", config.batch_size, config.batch_size >= 2, "at least 2"),
        ("cuda_graph", config.cuda_graph, on_gpu or not config.cuda_graph, "false or null unless the device is cuda"),
        ("cuda_graph", config.cuda_graph, not (config.cuda_graph and config.compiled), "false where compiled is true"),
        ("threads", config.threads, 1 <= config.threads <= MAX_THREADS, f"from 1 to {MAX_THREADS}"),
        ("log_every", config.log_every, config.log_every >= 1, "at least 1"),
        ("track_images", config.track_images, config.track_images >= 0, "at least 0"),
        ("picture_every", config.picture_every, config.picture_every >= 1, "at least 1"),
        ("seed", config.seed, 0 <= config.seed < 2**63, "from 0 to 2^63 - 1"),
        ("data.limit", config.data.limit, config.data.limit is None or config.data.limit >= 2, "at least 2"),
        (
            "data.size",
            data.size,
            data.size is None or (len(data.size) in (1, 2) and min(data.size) >= 3),
            "one or two numbers of at least 3",
        ),
        ("data.channels", data.channels, data.channels in (None, 1, 3), "1 or 3"),
        ("model.latent_size", model.latent_size, required(model.latent_size, "latent_size") >= 1, "at least 1"),
        ("model.hidden", model.hidden, all(h >= 1 for h in model.hidden or ()), "positive numbers"),
        ("model.width", model.width, model.width is None or 0 < model.width < float("inf"), "positive and finite"),
        ("model.max_log_variance", limit, limit is None or model.family == "vae", "left out for a WAE"),
        (
            "model.max_log_variance",
            limit,
            limit is None or 0 < limit <= LOG_VARIANCE_RANGE[1],
            f"positive and at most {LOG_VARIANCE_RANGE[1]:g}",
        ),
        (
            "objective.reconstruction_weight",
            weight,
            weight is not None and 0 < weight < float("inf"),
            "positive and finite",
        ),
        ("objective.warmup", warmup, warmup is None or 0 < warmup < float("inf"), "a positive number of epochs"),
        ("objective.free_bits", free_bits, free_bits is None or 0 < free_bits < float("inf"), "positive and finite"),
        ("objective.free_bits", free_bits, free_bits is None or model.family == "vae", "left out for a WAE"),
        ("optimizer.learning_rate", rate, 0 < rate < float("inf"), "positive and finite"),
        ("optimizer.eps", config.optimizer.eps, 0 < config.optimizer.eps < float("inf"), "positive and finite"),
        (
            "optimizer.betas",
            config.optimizer.betas,
            all(0 <= b < 1 for b in config.optimizer.betas or ()),
            "in [0, 1)",
        ),
        (
            "optimizer.lr_milestones",
            config.optimizer.lr_milestones,
            all(
                len(pair) == 2 and 0 <= pair[0] < float("inf") and 0 < pair[1] < float("inf")
                for pair in config.optimizer.lr_milestones or ()
            ),
            "pairs of an epoch and a positive factor, both finite",
        ),
        (
            "objective.mmd_scales",
            config.objective.mmd_scales,
            len(config.objective.mmd_scales) > 0 and all(0 < s < float("inf") for s in config.objective.mmd_scales),
            "one or more positive and finite numbers",
        ),
    ]
    for key, value, holds, expected in rules:
        if not holds:
            raise ConfigError(f"{key} must be {expected}; got {value}")


def _check_likelihood(objective: ObjectiveConfig) -> None:
    """Raise `ConfigError` if the settings of a learned likelihood contradict each other."""
    if objective.likelihood is None:
        for key, value in (("shape", objective.shape), ("per", objective.per)):
            if value is not None:
                raise ConfigError(f"objective.{key} applies to a learned likelihood only; set objective.likelihood")
        return
    validate_choice("objective.likelihood", objective.likelihood, (FIXED, *LEARNED))
    validate_choice("objective.per", required(objective.per, "objective.per"), PER)
    kind = LOSSES[objective.loss].likelihood
    if kind is None:
        raise ConfigError(f"the loss {objective.loss} has no likelihood: set objective.likelihood=fixed")
    if objective.likelihood not in LEARNED[: 2 if kind.takes_shape else 1]:
        raise ConfigError(f"the likelihood of {objective.loss} has no shape to learn: set objective.likelihood=scale")
    if objective.a is not None:
        raise ConfigError("objective.a is the inverse of the scale, which is learned: leave a out")
    if objective.shape is not None and not kind.takes_shape:
        raise ConfigError(f"objective.shape: the likelihood of {objective.loss} has none; leave it out")
    if objective.shape is not None and not SHAPE_RANGE[0] < objective.shape < SHAPE_RANGE[1]:
        low, high = SHAPE_RANGE
        raise ConfigError(f"objective.shape must be between {low:g} and {high:g}; got {objective.shape:g}")
