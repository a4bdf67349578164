"""Learning to restore from corrupted pictures only (Lehtinen et al. 2018, Noise2Noise; paper, Appendix D).

The network maps one corrupted copy of an image to others, with corruptions drawn anew, and never sees the clean one.
Where copies do not tell the clean image on average (blur, mosaic, resolution), it is the target instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base import image_grid as pictures
from ..base.devices import find_device
from ..base.errors import ConfigError, RunError
from ..base.settings import digest, from_dict, renamed_keys, to_dict
from ..base.versions import DATA, RESTORATION
from ..data import ImageSet, load_tiles
from ..data.batches import Batch, to_unit
from ..data.memmap import reader_for
from ..data.sources import Progress
from ..evaluation.features import fingerprint
from ..losses import Loss, make_loss
from ..metrics.image_quality import psnr, ssim
from ..training.loop import Schedule, Step, make_generator
from ..training.objective import Losses
from ..training.optimizers import MuonWithAdam
from ..training.run_folder import RunFolder
from ..training.session import Callbacks, RunPlan, TrainingSetup, run_training
from .config import RestorationConfig, resolve_restoration
from .corruptions import CORRUPTIONS, TRAINED_AS, Corruption
from .network import RestorationNetwork


def cosine(fraction: float) -> float:
    """Rise over the first 2% of training, then fall to 0 along a cosine."""
    return min(1.0, fraction / 0.02) * 0.5 * (1.0 + math.cos(math.pi * fraction))


def crops(tiles: Tensor, config: RestorationConfig, generator: torch.Generator) -> Iterator[Batch]:
    """One epoch's crops: random parts of random tiles, mirrored and turned at random."""
    room = tiles.shape[-1] - config.crop_size + 1
    reader = reader_for(tiles)
    for _ in range(config.steps):
        chosen = torch.randint(len(tiles), (config.batch_size,), generator=generator)
        whole = tiles[chosen] if reader is None else reader.read(chosen)
        places = torch.randint(room, (config.batch_size, 2), generator=generator).tolist()
        turns = torch.randint(2, (config.batch_size, 3), generator=generator).tolist()
        parts = []
        for tile, (top, left), (across, down, diagonal) in zip(whole, places, turns, strict=True):
            part = tile[:, top : top + config.crop_size, left : left + config.crop_size]
            flipped = part.flip([axis for axis, flip in ((2, across), (1, down)) if flip])
            parts.append(flipped.transpose(1, 2) if diagonal else flipped)
        yield Batch(to_unit(torch.stack(parts)), None)


def restoration_step(
    network: RestorationNetwork, loss: Loss, corruption: Corruption, config: RestorationConfig
) -> Step:
    """The step: restore one corrupted copy, compare it with others (or with the clean image where they do not do)."""
    device = torch.device(config.device)

    def step(batch: Batch, generator: torch.Generator, compute_loss: bool) -> Losses:
        source, target = corruption.pair(batch.images, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(config.bfloat16)):
            restored = network(source.to(device, memory_format=torch.channels_last))
        restored = restored.float().contiguous()
        # copy by copy, so that what is compared stays in the processor's cache
        compare = loss.value if compute_loss else loss.surrogate
        copies = 1 if corruption.clean_targets else config.targets
        total = torch.zeros((), device=device)
        for _ in range(copies):
            total = total + compare(restored, target().to(device)).mean() / copies
        total.backward()
        return {"loss": total.detach()} if compute_loss else {}

    return step


@torch.inference_mode()
def validate(network: RestorationNetwork, corruption: Corruption, tiles: Tensor) -> dict[str, float]:
    """PSNR and SSIM of restored tiles against the clean ones, at the measured strength."""
    network.eval()
    device = next(network.parameters()).device
    sums = {"psnr": 0.0, "ssim": 0.0}
    for index, tile in enumerate(tiles):
        clean = to_unit(tile)
        corrupted = corruption.evaluation(clean, index)
        restored = network(corrupted[None].to(device))[0].clamp(0.0, 1.0).cpu()
        sums["psnr"] += psnr(restored, clean)
        sums["ssim"] += ssim(restored, clean)
    return {name: value / len(tiles) for name, value in sums.items()}


def draw(network: RestorationNetwork, corruption: Corruption, tiles: Tensor, path: Path) -> None:
    """Clean tiles over corrupted ones over restored ones."""
    network.eval()
    device = next(network.parameters()).device
    clean = to_unit(tiles)
    corrupted = torch.stack([corruption.evaluation(image, index) for index, image in enumerate(clean)])
    with torch.inference_mode():
        restored = network(corrupted.to(device)).clamp(0.0, 1.0).cpu()
    pictures.save(pictures.grid(torch.cat([clean, corrupted, restored]), columns=len(tiles), scale=1), path)


def spread(tiles: Tensor, count: int) -> Tensor:
    """So many of the tiles, evenly spaced, so that they come from many pictures."""
    places = torch.linspace(0, len(tiles) - 1, min(count, len(tiles))).round().long()
    return tiles[places]


def build_restoration_optimizer(network: RestorationNetwork, config: RestorationConfig) -> MuonWithAdam:
    """Muon for the kernels inside, Adam for the first and the last one and the biases."""
    kernels = network.inner_kernels()
    inside = {id(kernel) for kernel in kernels}
    others = [weight for weight in network.parameters() if id(weight) not in inside]
    return MuonWithAdam(kernels, others, config.learning_rate, config.adam_rate)


def load_splits(config: RestorationConfig, root: Path | None, progress: Progress | None) -> tuple[ImageSet, ImageSet]:
    """The tiles to learn from, and those of pictures that are kept from learning."""
    train, held_out = (
        load_tiles(config.data, split, tile_size=config.tile_size, root=root, progress=progress)
        for split in ("train", "test")
    )
    return train, held_out


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
    """Train a restoration network into the run folder `path`, or finish what was begun there.

    With `start`, training begins with the weights of that network instead of random ones. It may have fewer blocks.

    Raises:
        RunError, ConfigError, DataError, TrainingError: with one line for the user.
    """
    config = resolve_restoration(config)
    device = find_device(config.device)
    if start is not None and (tuple(start.widths) != tuple(config.widths) or start.blocks > config.blocks):
        raise ConfigError(
            f"the network to start from has widths {list(start.widths)} and blocks {start.blocks}, "
            f"this one {list(config.widths)} and {config.blocks}; widths must be the same, blocks at least as many"
        )
    callbacks = callbacks or Callbacks()
    train, held_out = load_splits(config, root, progress)
    if train.complaint is not None:
        callbacks.on_message(train.complaint)
    origin = {} if start is None else {"start": fingerprint(start)}
    # its rates fall along the whole training, so that one that has ended cannot be made longer
    advice = f", and --from {path} to begin there with what it has learnt"
    names = {f"train.{former}": f"train.{name}" for former, name in renamed_keys(RestorationConfig).items()}
    plan = RunPlan(
        path, _run_config(config, train, held_out) | origin, config.epochs, config.threads, renamed=names, advice=advice
    )
    corruption = (TRAINED_AS if config.captions else CORRUPTIONS)[config.task]
    validation_tiles = spread(held_out.images, config.val_images)

    def make_setup() -> TrainingSetup:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(make_generator(config.seed, "weights").initial_seed())
            network = start.deepened(config.blocks) if start else RestorationNetwork(config.widths, config.blocks)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        return TrainingSetup(
            network,
            build_restoration_optimizer(network, config),
            restoration_step(network, make_loss(config.loss, config.a), corruption, config),
            lambda generator: crops(train.images, config, generator),
            Schedule(config.epochs, config.steps, config.seed, config.log_every, cosine),
            validate=lambda: validate(network, corruption, validation_tiles),
            draw=lambda target: draw(network, corruption, spread(held_out.images, 6), target),
        )

    return run_training(plan, make_setup, resume=resume, callbacks=callbacks)


def run_name(config: RestorationConfig, train: ImageSet, held_out: ImageSet) -> str:
    """A readable name, unique for the config, the images and the version: the same name never means other weights."""
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
    """The trained network of a run folder, in evaluation mode, on the CPU, and its config.

    Raises:
        RunError: no such run stands there, it has not finished, or its weights do not fit.
    """
    folder = RunFolder(Path(run_folder))
    values = folder.config()
    if values.get("kind") != "restoration":
        raise RunError(f"{folder.path} is no restoration run (kind: {values.get('kind')})")
    try:
        config = resolve_restoration(from_dict(RestorationConfig, values["train"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder.config_path} is damaged: {error}") from None
    network = RestorationNetwork(config.widths, config.blocks)
    folder.load_weights(network)
    return network.eval(), config
