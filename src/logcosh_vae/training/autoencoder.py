"""Train an autoencoder from a config into a run folder, and load the trained model from the folder.

`train` and `load` are the entry points. The module also names runs (`run_name`) and validates models during training.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base import image_grid
from ..base.devices import find_device
from ..base.errors import ConfigError, RunError
from ..base.extras import require
from ..base.file_names import fitting_name
from ..base.files import one_line
from ..base.settings import digest, from_dict, renamed_keys, to_dict
from ..base.text import counted
from ..base.versions import DATA, TRAINING
from ..data import ImageSet, load_images
from ..data.batches import Batch, evaluation_batches, to_unit, training_batches
from ..data.sources import Progress
from ..models.autoencoder import VAE, WAE
from ..models.distributions import LOG_VARIANCE_RANGE
from ..models.footprint import state_bytes
from ..models.networks import ImageShape
from .builders import (
    autoencoding_step,
    build_model,
    build_objective,
    build_optimizer,
    build_schedule,
    pixel_std,
)
from .config import TrainConfig, as_trained, required, resolve
from .density_file import stored_densities
from .distributed import Processes, local_device, process_group
from .limits import check_holds, check_network, check_training_memory, shape_of
from .loop import make_generator
from .model_names import comes_with_package, find_model
from .objective import Objective
from .pretrained_config import STATE, check_pretrained
from .run_folder import RunFolder
from .run_identity import RunIdentity
from .session import Callbacks, RunPlan, TrainingSetup, run_training
from .weights_file import DamagedWeightsError, SavedWeights, digest_of_model

PICTURE_IMAGES = 64
"""Number of samples in the picture of an epoch."""


def split(config: TrainConfig, name: str, root: Path | None = None, **options: Any) -> ImageSet:
    """Load one split of the images that a config names, reduced to `data.limit` images.

    Args:
        config: resolved.
        name: `train` or `test`.
        root: data root; None for the default one.
        **options: passed to `load_images`.

    Raises:
        DataError: the images are missing or cannot be read.
    """
    data = config.data
    images = load_images(
        data.name,
        name,
        size=data.size,
        channels=data.channels,
        tiles=bool(data.tiles),
        strict=bool(data.strict),
        root=root,
        **options,
    )
    return images if data.limit is None else images.first(data.limit)


def run_config(config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """Return the content of `config.json`: everything that determines the weights, as JSON values."""
    return {
        "kind": "auto-encoder",
        "train": to_dict(config),
        "image_shape": list(train.images.shape[1:]),
        "images": {"train": train.fingerprint, "test": test.fingerprint},
        "numerics": {"training": TRAINING, "data": DATA},
        "torch": torch.__version__,
    }


def run_name(config: TrainConfig, images: Mapping[str, str]) -> str:
    """Return a readable name that is unique for the config, the images and the versions of data, training and torch.

    Runs with the same name therefore have the same weights on the same machine.

    Args:
        config: resolved.
        images: fingerprints of the splits; see `fingerprints`.
    """
    objective = config.objective
    loss = objective.loss if objective.a is None else f"{objective.loss}-a{objective.a:g}"
    loss = loss if objective.likelihood is None else f"{loss}-{objective.likelihood}"
    parts = ("", config.model_name, loss, f"e{config.epochs}", f"s{config.seed}")
    contents = [images[name] for name in ("train", "test")]
    ending = "_".join([*parts, digest(config, f"training {TRAINING}, data {DATA}", *contents, torch.__version__)])
    return fitting_name(Path(config.data.name).stem, ending)


def fingerprints(config: TrainConfig, root: Path | None = None) -> dict[str, str]:
    """Return the fingerprints of the config's images as they are on disk now, by split (`train`, `test`)."""
    return {name: split(config, name, root).fingerprint for name in ("train", "test")}


@torch.no_grad()
def validate(model: VAE | WAE, objective: Objective, images: Tensor, config: TrainConfig) -> dict[str, float]:
    """Compute all losses of the objective, averaged over `images`; sets the model to evaluation mode.

    Args:
        model: on the same device as `images`.
        objective: its losses are evaluated in batches of `config.batch_size`.
        images: `(N, C, H, W)`, uint8.
        config: supplies the batch size and the seed. The noise is the same at each call.

    Returns:
        The losses by name.
    """
    model.eval()
    generator = make_generator(config.seed, "validation")
    dtype = torch.float32 if images.device.type == "mps" else torch.float64  # MPS has no float64
    means: dict[str, Tensor] = {}  # on the device, so that the CPU waits for it only once
    # batches of at least 3, so that the last one has at least 2 images: the MMD needs two
    for batch in evaluation_batches(images, max(3, config.batch_size)):
        losses = objective(model(batch.images, generator), batch.images, generator)
        fraction = len(batch.images) / len(images)
        for name, loss in losses.items():
            means[name] = means.get(name, torch.zeros((), dtype=dtype, device=loss.device)) + loss.to(dtype) * fraction
    return {name: float(value) for name, value in means.items()}


def _learned_values(model: VAE | WAE) -> dict[str, float]:
    """Return scale and shape of a learned likelihood, for the record of an epoch; empty for a fixed loss."""
    return {} if model.likelihood is None else model.likelihood.averages()


@torch.no_grad()
def save_samples(model: VAE | WAE, path: Path, seed: int) -> None:
    """Write a PNG picture with samples; a seed always gives the same codes, so that epochs can be compared."""
    model.eval()
    samples = model.sample(PICTURE_IMAGES, make_generator(seed, "picture"))
    image_grid.save(image_grid.grid(samples, columns=math.isqrt(PICTURE_IMAGES)), path)


def check_images(config: TrainConfig, train: ImageSet, test: ImageSet) -> None:
    """Check a resolved config against its images, so that nothing fails once training has begun.

    Raises:
        ConfigError: there are too few images, or the network cannot process them.
    """
    train_count, test_count = len(train.images), len(test.images)
    _, channels, height, width = train.images.shape
    if test.images.shape[1:] != train.images.shape[1:]:
        shapes = " and ".join(str(tuple(images.images.shape[1:])) for images in (train, test))
        raise ConfigError(f"{config.data.name}: training and test images have the shapes {shapes}; they must be equal")
    check_network(config, (channels, height, width))
    if train_count < config.batch_size:
        advice = f"set a smaller one (--set batch_size={max(2, train_count // 4)}) or add images"
        raise ConfigError(
            f"batch_size {config.batch_size} is larger than the {counted(train_count, 'training image')}; "
            f"{advice if train_count >= 2 else 'add images'}"
        )
    if test_count < 1:
        raise ConfigError(f"{config.data.name} has no test images, on which every epoch is validated; add images")
    if config.model.family == "wae" and test_count < 2:
        raise ConfigError(
            f"a WAE needs at least 2 test images, because its MMD compares codes with each other; {config.data.name} "
            "has 1: add images, or train a VAE"
        )
    if config.model.family == "wae" and config.track_images == 1:
        raise ConfigError("track_images must be 0 or at least 2 for a WAE, because its MMD compares codes; got 1")


def _make_setup(
    config: TrainConfig, images: Tensor, test: Tensor, device: torch.device, processes: Processes, callbacks: Callbacks
) -> TrainingSetup[Batch]:
    """Build model, optimizer, step and data of a resolved config on the device."""
    images, test = images.to(device), test.to(device)
    tracked = test[: config.track_images]
    channels, height, width = images.shape[1:]
    model = build_model(config, (channels, height, width)).to(device)
    if model.likelihood is not None:
        model.likelihood.start_from(pixel_std(images, model.likelihood.per))
    objective, optimizer = build_objective(config, model), build_optimizer(config, model)
    rows = processes.local_slice(config.batch_size)
    if config.compiled and processes.size > 1:
        callbacks.on_message("the networks are not compiled: compilation supports one process only")
    elif config.compiled:
        try:
            model.compile_training(to_unit(images[: config.batch_size]))
        except Exception as error:  # a missing compiler or Triton and an unsupported network raise different types
            callbacks.on_message(f"the networks are not compiled: {one_line(error)}")
    return TrainingSetup(
        model,
        optimizer,
        autoencoding_step(processes.data_parallel(model), objective, processes),
        lambda generator: training_batches(images, config.batch_size, generator, rows=rows),
        build_schedule(config, len(images) // config.batch_size, objective),
        validate=lambda: validate(model, objective, test, config) | _learned_values(model),
        track=(lambda: validate(model, objective, tracked, config)) if len(tracked) > 0 else None,
        draw=lambda target: save_samples(model, target, config.seed),
        draw_every=config.picture_every,
        cuda_graph=bool(config.cuda_graph) and processes.size == 1,
    )


def train(
    config: TrainConfig,
    path: Path,
    *,
    resume: bool = False,
    root: Path | None = None,
    callbacks: Callbacks | None = None,
    fetch_progress: Progress | None = None,
) -> RunFolder:
    """Train the config's autoencoder in the run folder `path`, or finish a run in it.

    Under `torchrun`, every process calls this with the same arguments. The processes share each batch, and the main
    process writes the run folder.

    Args:
        config: resolved or not; `resolve` is applied here.
        path: the run folder; it must not exist or be empty, unless `resume`.
        resume: continue from the last saved epoch; a finished run stays unchanged.
        root: data root; None for the default one.
        callbacks: called per logged step, per epoch and for messages.
        fetch_progress: called with the progress of downloads; passed to `load_images`.

    Returns:
        The run folder, with the final weights.

    Raises:
        ConfigError: a value of the config is invalid, its network cannot process the images, or the memory does not
            suffice.
        DataError: the images are missing or cannot be read.
        RunError: the folder is in use, or holds another run or other files.
        TrainingError: training diverged.
    """
    require("training, which draws samples,", "PIL")
    config, callbacks = resolve(config), callbacks or Callbacks()
    device = local_device(find_device(config.device))
    check_training_memory(config, shape_of(config), device)
    train_set, test_set = (split(config, name, root, progress=fetch_progress) for name in ("train", "test"))
    check_images(config, train_set, test_set)
    plan = RunPlan(
        path,
        RunIdentity(
            run_config(config, train_set, test_set),
            may_grow="train.epochs",
            renamed={f"train.{former}": f"train.{name}" for former, name in renamed_keys(TrainConfig).items()},
            absent={"train.model.max_log_variance": LOG_VARIANCE_RANGE[1]} if config.model_name == "vae-conv" else None,
            advice="; --config with its config.json gives the same options" if resume else "",
        ),
        required(config.epochs, "epochs"),
        config.threads,
    )
    with process_group(device, callbacks.on_failure) as processes:
        if config.batch_size % processes.size:
            raise ConfigError(f"batch_size {config.batch_size} cannot be divided among {processes.size} processes")
        if processes.is_main_process and train_set.complaint is not None:
            callbacks.on_message(train_set.complaint)
        make_setup = partial(_make_setup, config, train_set.images, test_set.images, device, processes, callbacks)
        return run_training(plan, make_setup, resume=resume, callbacks=callbacks, processes=processes)


def config_of(folder: RunFolder) -> tuple[TrainConfig, ImageShape]:
    """Read the config and the image shape (channels, height, width) of an autoencoder's run folder.

    Raises:
        RunError: the folder does not hold the run of an autoencoder, or its config is damaged.
    """
    values = folder.config()
    if values.get("kind") != "auto-encoder":
        raise RunError(f"{folder.path} does not hold an autoencoder (kind: {values.get('kind')})")
    try:
        config = as_trained(from_dict(TrainConfig, values["train"]))
        channels, height, width = map(operator.index, values["image_shape"])
        check_network(resolve(config), (channels, height, width))
    except KeyError as error:
        raise RunError(f"{folder.config_path} is damaged: the key {error} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder.config_path} is damaged: {error}") from None
    return config, (channels, height, width)


def described_limit(train: Mapping[str, Any]) -> float:
    """Return the limit of log-variances that the key `train` of a `config.json` stands for."""
    return as_trained(from_dict(TrainConfig, train)).model.max_log_variance or LOG_VARIANCE_RANGE[1]


def load(run_folder: Path | str) -> VAE | WAE:
    """Load the trained model of a run folder, or a pretrained model.

    Args:
        run_folder: a finished run of `train`, a folder that `save_pretrained` wrote, or the name of a model that comes
            with the package. A folder is preferred.

    Returns:
        The model, in evaluation mode, on the CPU, with the densities of its codes that are stored in the folder.

    Raises:
        RunError: the folder does not hold an autoencoder, the run has not finished, or a file is damaged.

    Example:
        model = logcosh_vae.load("runs/quickstart/l2"); model.sample(16)
    """
    folder = RunFolder(find_model(run_folder))
    model = load_with_weights(folder)[0]
    model.origin = {**folder.config(), STATE: digest_of_model(model)}
    with suppress(RunError):  # a damaged file is an error where a density is asked for
        model.keep_densities(stored_densities(folder, model, model.latent_size))
    return model


def load_with_weights(folder: RunFolder) -> tuple[VAE | WAE, SavedWeights]:
    """Load the trained model of a run folder, and the weights that it got, with their digest and epochs; see `load`."""
    try:
        return _load_with_weights(folder)
    except RunError as error:
        if comes_with_package(folder.path):
            raise RunError(f"{error}; reinstall logcosh-vae") from None
        if isinstance(error, DamagedWeightsError):
            raise RunError(f"{error}; copy or download the folder again") from None
        raise


def _load_with_weights(folder: RunFolder) -> tuple[VAE | WAE, SavedWeights]:
    config, image_shape = config_of(folder)
    needed = state_bytes(check_network(config, image_shape))
    check_holds(folder.weights_path, needed // 4 if folder.is_pretrained else needed)  # 8 bits per weight at least
    model = build_model(config, image_shape)
    weights = folder.load_weights(model)
    model.origin = folder.config()
    if folder.is_pretrained:
        check_pretrained(folder.path, model.origin, weights.digest)
    return model.eval(), weights
