"""From a config to a trained auto-encoder in a run folder, and back from the folder to the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base import image_grid as pictures
from ..base.devices import find_device
from ..base.errors import ConfigError, RunError
from ..base.extras import require
from ..base.files import one_line
from ..base.settings import digest, from_dict, renamed_keys, to_dict
from ..base.versions import DATA, TRAINING
from ..data import ImageSet, load_images
from ..data.batches import evaluation_batches, to_unit, training_batches
from ..data.sources import Progress
from ..models.autoencoder import VAE, WAE
from ..models.networks import ImageShape
from .builders import autoencoding_step, build_model, build_objective, build_optimizer, build_schedule
from .config import TrainConfig, required, resolve
from .distributed import Processes, local_device, process_group
from .loop import make_generator
from .objective import Objective
from .run_folder import RunFolder
from .session import Callbacks, RunPlan, TrainingSetup, run_training

PICTURE_IMAGES = 64
"""Samples in the picture of an epoch."""


def split(config: TrainConfig, name: str, root: Path | None = None, **options: Any) -> ImageSet:
    """The `train` or `test` images of a config."""
    data = config.data
    images = load_images(
        data.name, name, size=data.size, channels=data.channels, strict=bool(data.strict), root=root, **options
    )
    return images if data.limit is None else images.first(data.limit)


def run_config(config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """What `config.json` holds: all that decides the weights, as plain values."""
    return {
        "kind": "auto-encoder",
        "train": to_dict(config),
        "image_shape": list(train.images.shape[1:]),
        "images": {"train": train.fingerprint, "test": test.fingerprint},
        "numerics": {"training": TRAINING, "data": DATA},
        "torch": torch.__version__,
    }


def run_name(config: TrainConfig, images: Mapping[str, str]) -> str:
    """A readable name, unique for the config, the images and the version: the same name never means other weights.

    Args:
        config: resolved.
        images: fingerprints of the splits, see `fingerprints`.
    """
    objective = config.objective
    loss = objective.loss if objective.a is None else f"{objective.loss}-a{objective.a:g}"
    parts = (Path(config.data.name).stem, config.model_name, loss, f"e{config.epochs}", f"s{config.seed}")
    content = [images[name] for name in ("train", "test")]
    return "_".join([*parts, digest(config, f"training {TRAINING}, data {DATA}", *content, torch.__version__)])


def fingerprints(config: TrainConfig, root: Path | None = None) -> dict[str, str]:
    """Fingerprints of the images of a config by split, as they are now."""
    return {name: split(config, name, root).fingerprint for name in ("train", "test")}


@torch.no_grad()
def validate(model: VAE | WAE, objective: Objective, images: Tensor, config: TrainConfig) -> dict[str, float]:
    """Every term of the training objective over `images`, weighted by batch size; the same noise at each call."""
    model.eval()
    generator = make_generator(config.seed, "validation")
    sums: dict[str, Tensor] = {}
    for batch in evaluation_batches(images, config.batch_size):
        terms = objective(model(batch.images, generator), batch.images, generator)
        share = len(batch.images) / len(images)
        for name, term in terms.items():  # added up on the device, which is waited for once
            sums[name] = (
                sums.get(name, torch.zeros((), dtype=torch.float64, device=term.device)) + term.double() * share
            )
    return {name: float(value) for name, value in sums.items()}


@torch.no_grad()
def save_samples(model: VAE | WAE, path: Path, seed: int) -> None:
    """Draw samples from the same codes each time, so that pictures of different epochs can be compared."""
    model.eval()
    samples = model.sample(PICTURE_IMAGES, make_generator(seed, "picture"))
    pictures.save(pictures.grid(samples, columns=math.isqrt(PICTURE_IMAGES)), path)


def check_network(config: TrainConfig, image_shape: ImageShape) -> None:
    """Raise `ConfigError` where the config's network cannot take such images; no weights are made."""
    try:
        with torch.device("meta"):
            build_model(config, image_shape)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _make_setup(
    config: TrainConfig, images: Tensor, test: Tensor, device: torch.device, processes: Processes, callbacks: Callbacks
) -> TrainingSetup:
    """Model, optimizer, step and data of a resolved config, on the device."""
    images, test = images.to(device), test.to(device)
    tracked = test[: config.track_images]
    channels, height, width = images.shape[1:]
    model = build_model(config, (channels, height, width)).to(device)
    objective, optimizer = build_objective(config), build_optimizer(config, model)
    processes.connect(model, optimizer)
    rows = processes.local_slice(config.batch_size)
    if config.compiled and processes.size > 1:
        callbacks.on_message("the networks are not compiled: compilation supports one process only")
    elif config.compiled:
        try:
            model.compile_training(to_unit(images[: config.batch_size]))
        except Exception as error:  # no compiler, no Triton, an unsupported network: each raises errors of its own
            callbacks.on_message(f"the networks are not compiled: {one_line(error)}")
    return TrainingSetup(
        model,
        optimizer,
        autoencoding_step(model, objective, processes),
        lambda generator: training_batches(images, config.batch_size, generator, rows=rows),
        build_schedule(config, len(images) // config.batch_size),
        validate=lambda: validate(model, objective, test, config),
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
    """Train the config's autoencoder into the run folder `path`, or finish a run that was begun there.

    Under `torchrun` every process calls this with the same arguments: they share each batch, and the main process
    writes the run folder.

    Args:
        config: resolved here, so open values are allowed.
        path: a folder that is missing or empty, unless `resume`.
        resume: continue from the last finished epoch; a finished run is left as it is.
        root: data root.
        callbacks: told of steps, epochs and messages.
        fetch_progress: passed to `load_images`.

    Raises:
        RunError, ConfigError, DataError, TrainingError: with one line for the user.
    """
    require("training, which draws samples,", "PIL")
    config, callbacks = resolve(config), callbacks or Callbacks()
    device = local_device(find_device(config.device))
    train_set, test_set = (split(config, name, root, progress=fetch_progress) for name in ("train", "test"))
    if len(train_set.images) < config.batch_size:
        raise ConfigError(f"batch_size {config.batch_size} is larger than the {len(train_set.images)} training images")
    channels, height, width = train_set.images.shape[1:]
    check_network(config, (channels, height, width))
    plan = RunPlan(
        path,
        run_config(config, train_set, test_set),
        required(config.epochs, "epochs"),
        config.threads,
        may_grow="train.epochs",
        renamed={f"train.{former}": f"train.{name}" for former, name in renamed_keys(TrainConfig).items()},
    )
    with process_group(device) as processes:
        if config.batch_size % processes.size:
            raise ConfigError(f"batch_size {config.batch_size} cannot be divided among {processes.size} processes")
        if processes.is_main_process and train_set.complaint is not None:
            callbacks.on_message(train_set.complaint)
        make_setup = partial(_make_setup, config, train_set.images, test_set.images, device, processes, callbacks)
        return run_training(plan, make_setup, resume=resume, callbacks=callbacks, processes=processes)


def config_of(folder: RunFolder) -> tuple[TrainConfig, ImageShape]:
    """Config and image shape of an auto-encoder's run folder."""
    values = folder.config()
    if values.get("kind") != "auto-encoder":
        raise RunError(f"{folder.path} is no auto-encoder's run (kind: {values.get('kind')})")
    try:
        channels, height, width = values["image_shape"]
        return from_dict(TrainConfig, values["train"]), (channels, height, width)
    except KeyError as error:
        raise RunError(f"{folder.config_path} is damaged: it lacks {error}") from None
    except (ValueError, TypeError) as error:
        raise RunError(f"{folder.config_path}: {error}") from None


def load(run_folder: Path | str) -> VAE | WAE:
    """The trained model of a run folder, in evaluation mode, on the CPU.

    Example:
        model = logcosh_vae.load("runs/quickstart/l2"); model.sample(16)

    Raises:
        RunError: no run stands there, it has not finished, or its weights do not fit.
    """
    folder = RunFolder(Path(run_folder))
    config, image_shape = config_of(folder)
    model = build_model(config, image_shape)
    folder.load_weights(model)
    return model.eval()
