"""Training of restoration networks with Noise2Noise (Lehtinen et al. 2018; paper, Appendix D).

The network maps one corrupted copy of an image to other copies, each corrupted independently; it never sees the clean
image. For corruptions that all copies have in common (blur, mosaic, low resolution), the clean image is the target.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..base.devices import find_device
from ..base.errors import ConfigError, RunError
from ..base.memory import check_memory
from ..base.settings import digest, from_dict, renamed_keys, to_dict
from ..base.versions import DATA, RESTORATION
from ..data import ImageSet, load_tiles
from ..data.sources import Progress
from ..evaluation.features import fingerprint
from ..losses import make_loss
from ..models.footprint import FLOAT_BYTES, training_bytes
from ..training.limits import check_holds
from ..training.loop import Schedule, make_generator
from ..training.run_folder import RunFolder
from ..training.run_identity import RunIdentity
from ..training.session import Callbacks, RunPlan, TrainingSetup, run_training
from ..training.weights_file import SavedWeights
from .config import RestorationConfig, resolve_restoration
from .examples import Examples, epoch_examples, worker_count
from .network import Architecture, RestorationNetwork
from .step import (
    build_likelihood,
    build_restoration_optimizer,
    evenly_spaced,
    learned_values,
    restoration_step,
    save_samples,
    validate,
    warmup_cosine,
)


def load_splits(config: RestorationConfig, root: Path | None, progress: Progress | None) -> tuple[ImageSet, ImageSet]:
    """Load the training tiles and the tiles of the held-out pictures.

    Raises:
        DataError: there are no usable pictures.
    """
    train, held_out = (
        load_tiles(config.data, split, tile_size=config.tile_size, root=root, progress=progress)
        for split in ("train", "test")
    )
    return train, held_out


def restoration_memory(config: RestorationConfig) -> int:
    """Return a lower bound of the memory of training a resolved config, in bytes."""
    weights = FLOAT_BYTES * config.architecture.parameter_count
    pixels = config.batch_size * config.crop_size**2
    levels = enumerate(config.widths)
    stored = sum(
        2 * config.blocks * width * pixels // (config.unshuffle or 1) ** 2 // 4**level for level, width in levels
    )
    activations = (2 if config.bfloat16 else FLOAT_BYTES) * stored + 3 * 3 * FLOAT_BYTES * pixels
    return training_bytes(weights, activations, averages=1) + 3 * config.batch_size * config.tile_size**2


def check_restoration_memory(config: RestorationConfig, device: torch.device | None = None) -> None:
    """Check that the memory suffices to train a resolved config.

    Raises:
        ConfigError: it does not.
    """
    check_memory(
        restoration_memory(config),
        f"training with batch_size {config.batch_size}, crop_size {config.crop_size} and widths {list(config.widths)}",
        "choose smaller ones",
        device if device is not None and device.type == "cuda" else None,
    )


def check_start(start: Architecture, wanted: Architecture) -> None:
    """Check that a network can begin with the weights of another one: it may have more blocks and a hint, nothing else.

    Raises:
        ConfigError: it cannot.
    """
    same = replace(start, blocks=wanted.blocks, hint=wanted.hint) == wanted
    if not same or start.blocks > wanted.blocks or start.hint > wanted.hint:
        raise ConfigError(
            f"the network to start from has {_described(start)}, but the config has {_described(wanted)}; "
            "only blocks may differ, and not be fewer, and a hint may be added"
        )


def _described(architecture: Architecture) -> str:
    text = f"widths {list(architecture.widths)}, blocks {architecture.blocks}"
    if architecture.unshuffle > 1:
        text += f", unshuffle {architecture.unshuffle}"
    extras = [name for name in ("mask", "hint") if getattr(architecture, name)]
    return " and a ".join([text, *extras])


def train_restoration(
    config: RestorationConfig,
    path: Path,
    *,
    start: RestorationNetwork | None = None,
    resume: bool = False,
    root: Path | None = None,
    callbacks: Callbacks | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Train a restoration network, or finish an interrupted training.

    Args:
        config: settings; `resolve_restoration` fills in the defaults.
        path: run folder.
        start: begin with the weights of this network instead of random ones; see `check_start`.
        resume: continue the run in `path`, if there is one.
        root: data root, by default that of the environment.
        callbacks: called during training.
        progress: called while the tiles are prepared.

    Returns:
        The run folder with the weights, metrics and samples.

    Raises:
        ConfigError: the config or `start` cannot be used, or the memory does not suffice.
        DataError: there are no usable pictures.
        RunError: `path` holds another run.
        TrainingError: the loss became infinite or NaN.
    """
    config = resolve_restoration(config)
    device = find_device(config.device)
    check_restoration_memory(config, device)
    if start is not None:
        check_start(start.architecture, config.architecture)
    callbacks = callbacks or Callbacks()
    train, held_out = load_splits(config, root, progress)
    if train.complaint is not None:
        callbacks.on_message(train.complaint)
    origin = {} if start is None else {"start": fingerprint(start)}
    # the learning rates have fallen to 0 at the end of a training, so it cannot be extended
    advice = f", and --from {path} to start with its weights"
    names = {f"train.{former}": f"train.{name}" for former, name in renamed_keys(RestorationConfig).items()}
    identity = RunIdentity(_run_config(config, train, held_out) | origin, renamed=names, advice=advice)
    plan = RunPlan(path, identity, config.epochs, config.threads)
    corruption = config.corruption
    validation_tiles = evenly_spaced(held_out.images, config.val_images)

    def make_setup() -> TrainingSetup[Examples]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(make_generator(config.seed, "weights").initial_seed())
            wanted = config.architecture
            network = start.extended(wanted.blocks, wanted.hint) if start else RestorationNetwork.of(wanted)
        network.likelihood = build_likelihood(config)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        return TrainingSetup(
            network,
            build_restoration_optimizer(network, config),
            restoration_step(network, make_loss(config.loss, config.a), config),
            lambda generator: epoch_examples(train.images, corruption, config, generator, worker_count(device)),
            Schedule(config.epochs, config.steps, config.seed, config.log_every, warmup_cosine),
            validate=lambda: validate(network, corruption, validation_tiles) | learned_values(network),
            draw=lambda target: save_samples(network, corruption, evenly_spaced(held_out.images, 6), target),
        )

    return run_training(plan, make_setup, resume=resume, callbacks=callbacks)


def run_name(config: RestorationConfig, train: ImageSet, held_out: ImageSet) -> str:
    """Return a readable name of the run that is unique for the config, the images and the versions."""
    loss = config.loss if config.a is None else f"{config.loss}-a{config.a:g}"
    content = (train.fingerprint, held_out.fingerprint)
    name = digest(config, f"restoration {RESTORATION}, data {DATA}", *content, torch.__version__)
    return "_".join(["restore", config.task, loss, f"s{config.seed}", name])


def _run_config(config: RestorationConfig, train: ImageSet, held_out: ImageSet) -> dict[str, Any]:
    return {
        "kind": "restoration",
        "train": to_dict(config),
        "images": {"train": train.fingerprint, "test": held_out.fingerprint},
        "numerics": {"restoration": RESTORATION, "data": DATA},
        "torch": torch.__version__,
    }


def load_restoration(run_folder: Path | str) -> tuple[RestorationNetwork, RestorationConfig]:
    """Load the trained network of a run folder.

    Returns:
        The network, in evaluation mode on the CPU, and its config.

    Raises:
        RunError: the folder is not a restoration run, is unfinished or is damaged.
    """
    network, config, _ = load_with_weights(RunFolder(Path(run_folder)))
    return network, config


def load_with_weights(folder: RunFolder) -> tuple[RestorationNetwork, RestorationConfig, SavedWeights]:
    """Load the trained network of a run folder, its config and the weights that it got; see `load_restoration`."""
    config = restoration_config(folder)
    check_holds(folder.weights_path, FLOAT_BYTES * config.architecture.parameter_count)
    network = RestorationNetwork.of(config.architecture)
    network.likelihood = build_likelihood(config)
    weights = folder.load_weights(network)
    return network.eval(), config, weights


def restoration_config(folder: RunFolder) -> RestorationConfig:
    """Read the config of a restoration run.

    Raises:
        RunError: the folder is not a restoration run, or its config is damaged.
    """
    values = folder.config()
    if values.get("kind") != "restoration":
        raise RunError(f"{folder.path} is not a restoration run: its kind is {values.get('kind')!r}")
    try:
        return resolve_restoration(from_dict(RestorationConfig, values["train"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder.config_path} is damaged: {error}") from None
