"""Learning to restore from corrupted pictures only (Lehtinen et al. 2018, Noise2Noise; paper, Appendix D).

The network maps one corrupted copy of an image to others, with corruptions drawn anew, and never sees the clean one.
Where copies do not tell the clean image on average (blur, mosaic, resolution), it is the target instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base import image_grid as pictures
from ..base.devices import find_device, takes_bfloat16
from ..base.errors import ConfigError, RunError
from ..base.settings import choose, digest, from_dict, to_dict
from ..base.versions import DATA, RESTORATION
from ..data import ImageSet, load_squares
from ..data.batches import Batch, to_unit
from ..data.memmap import file_of
from ..data.sources import Progress
from ..evaluation.features import fingerprint
from ..losses import Loss, make_loss
from ..metrics.image_quality import psnr, ssim
from ..training.defaults import RESTORATION_A, RESTORATION_WIDTHS
from ..training.loop import Schedule, Step, stream
from ..training.objective import Terms
from ..training.optimizers import MuonWithAdam
from ..training.run_folder import RunFolder
from ..training.session import Training, Watch, carry_out, on_threads
from .corruptions import CORRUPTIONS, TRAINED_AS, Corruption
from .network import RestorationNetwork


@dataclass(frozen=True)
class RestorationConfig:
    """Everything that decides the weights of a restoration network.

    Attributes:
        data: folder or zip file of pictures; `text-removal` for the paper's.
        task: what to restore from, a key of `CORRUPTIONS`.
        loss, a: as for an auto-encoder.
        widths, blocks: of the network.
        side: of the squares that pictures are cut into.
        patch: of the part of a square that is seen in a step.
        batch_size: patches in a step.
        captions: for text: train on text as it is found on people's pictures, see `Captions`, instead of the paper's.
        targets: corrupted copies that each restored patch is compared with; more of them cost little and say more.
        epochs, steps: of the schedule; `steps` of one epoch.
        learning_rate: of Muon, for the kernels, after a short rise, falling along a cosine.
        adam_rate: of Adam, for the rest, in the same way.
        bfloat16: multiply in bfloat16, which is twice as fast where the processor can; by default where it can.
        check_images: squares of pictures kept from training, on which each epoch is measured.
    """

    data: str
    task: str = "text"
    loss: str = "log-cosh"
    a: float | None = None
    widths: tuple[int, ...] = RESTORATION_WIDTHS
    blocks: int = 1
    captions: bool = False
    side: int = 128
    patch: int = 64
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
    check_images: int = 64
    device: str = "cpu"


def resolved(config: RestorationConfig) -> RestorationConfig:
    """The config with `a` filled in and every value checked; `ConfigError` names the key."""
    choose("task", config.task, CORRUPTIONS)
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
        ("side", 16 <= config.side <= 1024, "from 16 to 1024"),
        ("patch", 8 <= config.patch <= config.side, f"from 8 to side, {config.side}"),
        ("batch_size", config.batch_size >= 1, "at least 1"),
        ("targets", config.targets >= 1, "at least 1"),
        ("epochs", config.epochs >= 1, "at least 1"),
        ("steps", config.steps >= 1, "at least 1"),
        ("learning_rate", 0 < config.learning_rate < math.inf, "positive and finite"),
        ("adam_rate", 0 < config.adam_rate < math.inf, "positive and finite"),
        ("seed", 0 <= config.seed < 2**63, "from 0 to 2^63 - 1"),
        ("threads", 1 <= config.threads <= 1024, "from 1 to 1024"),
        ("log_every", config.log_every >= 1, "at least 1"),
        ("check_images", config.check_images >= 1, "at least 1"),
    ]
    for key, holds, expected in rules:
        if not holds:
            raise ConfigError(f"{key} must be {expected}; got {getattr(config, key)}")
    return config


def cosine(share: float) -> float:
    """Rise over the first 2% of training, then fall to 0 along a cosine."""
    return min(1.0, share / 0.02) * 0.5 * (1.0 + math.cos(math.pi * share))


def patches(squares: Tensor, config: RestorationConfig, generator: torch.Generator) -> Iterator[Batch]:
    """One epoch's patches: random parts of random squares, mirrored and turned at random."""
    room = squares.shape[-1] - config.patch + 1
    file = file_of(squares)
    for _ in range(config.steps):
        chosen = torch.randint(len(squares), (config.batch_size,), generator=generator)
        whole = squares[chosen] if file is None else file.take(squares, chosen)
        places = torch.randint(room, (config.batch_size, 2), generator=generator).tolist()
        turns = torch.randint(2, (config.batch_size, 3), generator=generator).tolist()
        parts = []
        for square, (top, left), (across, down, diagonal) in zip(whole, places, turns, strict=True):
            part = square[:, top : top + config.patch, left : left + config.patch]
            flipped = part.flip([axis for axis, flip in ((2, across), (1, down)) if flip])
            parts.append(flipped.transpose(1, 2) if diagonal else flipped)
        yield Batch(to_unit(torch.stack(parts)), None)


def restoring_step(network: RestorationNetwork, loss: Loss, corruption: Corruption, config: RestorationConfig) -> Step:
    """The step: restore one corrupted copy, compare it with others (or with the clean image where they do not do)."""
    device = torch.device(config.device)

    def step(batch: Batch, generator: torch.Generator, exact: bool) -> Terms:
        source, target = corruption.pair(batch.images, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(config.bfloat16)):
            restored = network(source.to(device, memory_format=torch.channels_last))
        restored = restored.float().contiguous()
        # copy by copy, so that what is compared stays in the processor's cache
        compare = loss.value if exact else loss.surrogate
        copies = 1 if corruption.clean_targets else config.targets
        objective = torch.zeros((), device=device)
        for _ in range(copies):
            objective = objective + compare(restored, target().to(device)).mean() / copies
        return {"objective": objective}

    return step


@torch.inference_mode()
def check(network: RestorationNetwork, corruption: Corruption, squares: Tensor) -> dict[str, float]:
    """PSNR and SSIM of restored squares against the clean ones, at the measured strength."""
    network.eval()
    device = next(network.parameters()).device
    sums = {"psnr": 0.0, "ssim": 0.0}
    for index, square in enumerate(squares):
        clean = to_unit(square)
        spoilt = corruption.evaluation(clean, index)
        restored = network(spoilt[None].to(device))[0].clamp(0.0, 1.0).cpu()
        sums["psnr"] += psnr(restored, clean)
        sums["ssim"] += ssim(restored, clean)
    return {name: value / len(squares) for name, value in sums.items()}


def draw(network: RestorationNetwork, corruption: Corruption, squares: Tensor, path: Path) -> None:
    """Clean squares over spoilt ones over restored ones."""
    network.eval()
    device = next(network.parameters()).device
    clean = to_unit(squares)
    spoilt = torch.stack([corruption.evaluation(image, index) for index, image in enumerate(clean)])
    with torch.inference_mode():
        restored = network(spoilt.to(device)).clamp(0.0, 1.0).cpu()
    pictures.save(pictures.grid(torch.cat([clean, spoilt, restored]), columns=len(squares), scale=1), path)


def spread(squares: Tensor, count: int) -> Tensor:
    """So many of the squares, evenly spaced, so that they come from many pictures."""
    places = torch.linspace(0, len(squares) - 1, min(count, len(squares))).round().long()
    return squares[places]


def optimizer_of(network: RestorationNetwork, config: RestorationConfig) -> MuonWithAdam:
    """Muon for the kernels inside, Adam for the first and the last one and the biases."""
    kernels = network.inner_kernels()
    inside = {id(kernel) for kernel in kernels}
    others = [weight for weight in network.parameters() if id(weight) not in inside]
    return MuonWithAdam(kernels, others, config.learning_rate, config.adam_rate)


def squares(config: RestorationConfig, root: Path | None, progress: Progress | None) -> tuple[ImageSet, ImageSet]:
    """The squares to learn from, and those of pictures that are kept from learning."""
    train, held = (
        load_squares(config.data, split, side=config.side, root=root, progress=progress) for split in ("train", "test")
    )
    return train, held


def learn(
    config: RestorationConfig,
    path: Path,
    *,
    start: RestorationNetwork | None = None,
    resume: bool = False,
    root: Path | None = None,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Train a restoration network into the run folder `path`, or finish what was begun there.

    With `start`, training begins with the weights of that network instead of random ones. It may have fewer blocks.

    Raises:
        RunError, ConfigError, DataError, TrainingError: with one line for the user.
    """
    config = resolved(config)
    device = find_device(config.device)
    if start is not None and (tuple(start.widths) != tuple(config.widths) or start.blocks > config.blocks):
        raise ConfigError(
            f"the network to start from has widths {list(start.widths)} and blocks {start.blocks}, "
            f"this one {list(config.widths)} and {config.blocks}; widths must be the same, blocks at least as many"
        )
    watch = watch or Watch()
    train, held = squares(config, root, progress)
    if train.complaint is not None:
        watch.note(train.complaint)
    origin = {} if start is None else {"start": fingerprint(start)}
    # its rates fall along the whole training, so that one that has ended cannot be made longer
    advice = f", and --from {path} to begin there with what it has learnt"
    folder = RunFolder.create(path, _run_config(config, train, held) | origin, resume=resume, advice=advice)
    corruption = (TRAINED_AS if config.captions else CORRUPTIONS)[config.task]
    checked = spread(held.images, config.check_images)

    def prepare() -> Training:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(config.seed, "weights").initial_seed())
            network = start.deepened(config.blocks) if start else RestorationNetwork(config.widths, config.blocks)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        return Training(
            network,
            optimizer_of(network, config),
            restoring_step(network, make_loss(config.loss, config.a), corruption, config),
            lambda generator: patches(train.images, config, generator),
            Schedule(config.epochs, config.steps, config.seed, config.log_every, cosine),
            validate=lambda: check(network, corruption, checked),
            draw=lambda target: draw(network, corruption, spread(held.images, 6), target),
        )

    with on_threads(config.threads):
        carry_out(folder, config.epochs, prepare, watch)
    return folder


def run_name(config: RestorationConfig, train: ImageSet, held: ImageSet) -> str:
    """A readable name, unique for the config, the images and the version: the same name never means other weights."""
    loss = config.loss if config.a is None else f"{config.loss}-a{config.a:g}"
    content = (train.fingerprint, held.fingerprint)
    name = digest(config, f"restoration {RESTORATION}, data {DATA}", *content, torch.__version__)
    return "_".join(["restore", config.task, loss, f"s{config.seed}", name])


def _run_config(config: RestorationConfig, train: ImageSet, held: ImageSet) -> dict[str, Any]:
    return {
        "kind": "restoration",
        "train": to_dict(config),
        "images": {"train": train.fingerprint, "test": held.fingerprint},
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
        config = resolved(from_dict(RestorationConfig, values["train"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder.config_path} is damaged: {error}") from None
    network = RestorationNetwork(config.widths, config.blocks)
    folder.load_weights(network)
    return network.eval(), config
