"""From a config to a trained auto-encoder in a run folder, and back from the folder to the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import images as pictures
from .build import autoencoding_step, build_model, build_objective, build_optimizer
from .config import ConfigError, TrainConfig, digest, from_dict, resolve, to_dict
from .data import ImageSet, load_images
from .data.batches import evaluation_batches, training_batches
from .environment import code_fingerprint
from .models import VAE, WAE
from .networks import ImageShape
from .objectives import Objective
from .runs import RunError, RunFolder
from .training import EpochReport, Position, Schedule, fit, stream, use_threads

PICTURE_IMAGES = 64
"""Samples in the picture of an epoch."""


def split(config: TrainConfig, name: str, root: Path | None = None, **options: Any) -> ImageSet:
    """The `train` or `test` images of a config."""
    images = load_images(config.data.name, name, root=root, **options)
    return images if config.data.limit is None else images.first(config.data.limit)


def run_config(config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    """What `config.json` holds: all that decides the weights, as plain values."""
    return {
        "kind": "auto-encoder",
        "train": to_dict(config),
        "image_shape": list(train.images.shape[1:]),
        "images": {"train": train.fingerprint, "test": test.fingerprint},
        "code": code_fingerprint(),
        "torch": torch.__version__,
    }


def run_name(config: TrainConfig) -> str:
    """A readable name, unique for the config and the code: the same name never means different weights."""
    objective = config.objective
    loss = objective.loss if objective.a is None else f"{objective.loss}-a{objective.a:g}"
    parts = (config.data.name, config.model_name, loss, f"e{config.epochs}", f"s{config.seed}")
    return "_".join([*parts, digest(config, code_fingerprint(), torch.__version__)])


@torch.no_grad()
def validate(model: VAE | WAE, objective: Objective, images: Tensor, config: TrainConfig) -> dict[str, float]:
    """Every term of the training objective over `images`, weighted by batch size; the same noise at each call."""
    model.eval()
    generator = stream(config.seed, "validation")
    sums: dict[str, float] = {}
    for batch in evaluation_batches(images, config.batch_size):
        terms = objective(model(batch.images, generator), batch.images, generator)
        share = len(batch.images) / len(images)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term) * share
    return sums


@torch.no_grad()
def picture_samples(model: VAE | WAE, path: Path, seed: int) -> None:
    """Draw samples from the same codes each time, so that pictures of different epochs can be compared."""
    model.eval()
    samples = model.sample(PICTURE_IMAGES, stream(seed, "picture"))
    pictures.save(pictures.grid(samples, columns=math.isqrt(PICTURE_IMAGES)), path)


@dataclass
class _Recorder:
    """Validation, record, state and picture after each epoch."""

    config: TrainConfig
    folder: RunFolder
    model: VAE | WAE
    objective: Objective
    optimizer: torch.optim.Optimizer
    test: Tensor
    on_epoch: Callable[[dict[str, Any]], None] | None

    def __call__(self, report: EpochReport) -> None:
        record = {
            "epoch": report.epoch,
            "train": report.terms,
            "validation": validate(self.model, self.objective, self.test, self.config),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(report.seconds, 3),
        }
        if report.epoch % self.config.picture_every == 0 or report.epoch in (1, self.config.epochs):
            path = self.folder.path / "samples" / f"epoch-{report.epoch:04d}.png"
            picture_samples(self.model, path, self.config.seed)
        self.folder.add_epoch(record, self.model, self.optimizer)
        if self.on_epoch is not None:
            self.on_epoch(record)


def train(
    config: TrainConfig,
    path: Path,
    *,
    resume: bool = False,
    root: Path | None = None,
    on_step: Callable[[Position], None] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    fetch_progress: Any = None,
) -> RunFolder:
    """Train the config's auto-encoder into the run folder `path`, or finish what was begun there.

    Args:
        config: resolved here, so open values are allowed.
        path: see `RunFolder.create`.
        resume: go on from the last finished epoch; a finished run is left as it is.
        root: data root.
        on_step: called at every logged step.
        on_epoch: called with every epoch's record.
        fetch_progress: passed to `load_images`.

    Raises:
        RunError, ConfigError, DataError, TrainingError: with one line for the user.
    """
    config = resolve(config)
    use_threads(config.threads)
    device = torch.device(config.device)
    train_set, test_set = (split(config, name, root, progress=fetch_progress) for name in ("train", "test"))
    if len(train_set.images) < config.batch_size:
        raise ConfigError(f"batch_size {config.batch_size} is more than the {len(train_set.images)} images")
    values = run_config(config, train_set, test_set)
    folder = RunFolder.create(path, values, resume=resume, may_grow="train.epochs")
    with folder.lock():
        if folder.is_finished(config.epochs):
            return folder
        folder.weights_path.unlink(missing_ok=True)
        shape = train_set.images.shape[1:]
        model = build_model(config, (shape[0], shape[1], shape[2])).to(device)
        objective, optimizer = build_objective(config), build_optimizer(config, model)
        done = folder.restore(model, optimizer)

        def report(position: Position) -> None:
            folder.show_progress(position)
            if on_step is not None:
                on_step(position)

        images = train_set.images.to(device)
        test = test_set.images.to(device)
        schedule = Schedule(config.epochs, len(images) // config.batch_size, config.seed, config.log_every)
        fit(
            model,
            autoencoding_step(model, objective),
            lambda generator: training_batches(images, config.batch_size, generator),
            optimizer,
            schedule,
            first_epoch=done + 1,
            on_step=report,
            on_epoch=_Recorder(config, folder, model, objective, optimizer, test, on_epoch),
        )
        folder.finish(model)
    return folder


def config_of(folder: RunFolder) -> tuple[TrainConfig, ImageShape]:
    """Config and image shape of an auto-encoder's run folder."""
    values = folder.config()
    if values.get("kind") != "auto-encoder":
        raise RunError(f"{folder.path} is no auto-encoder's run (kind: {values.get('kind')})")
    try:
        channels, height, width = values["image_shape"]
        return from_dict(TrainConfig, values["train"]), (channels, height, width)
    except (KeyError, ValueError, TypeError) as error:
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
