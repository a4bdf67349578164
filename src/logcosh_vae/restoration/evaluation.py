"""Evaluation of a restoration network on whole images, and the job that trains and evaluates one for an experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..base.errors import DamagedJsonError, DataError, RecordError, RunError
from ..base.levels import naming_weights
from ..base.records import SCHEMA_VERSION, optional, read_record, write_record
from ..base.versions import RESTORATION
from ..data.batches import to_unit
from ..experiments.job import Job
from ..metrics.image_quality import WINDOW, psnr, ssim
from ..training.run_folder import RunFolder
from ..training.session import on_threads
from .config import RestorationConfig
from .corruptions import CORRUPTIONS, Corruption
from .network import Architecture, RestorationNetwork
from .photographs import read
from .picture_files import find_pictures
from .tiling import restore
from .training import load_with_weights, restoration_config, restoration_memory, train_restoration


@dataclass(frozen=True)
class PictureMetrics:
    """Metrics of restored images, one value per image.

    Attributes:
        images: names of the images.
        ssim, psnr: metrics of the restored images; corrupted_ssim, corrupted_psnr: of the corrupted ones.
    """

    images: tuple[str, ...]
    ssim: tuple[float, ...]
    psnr: tuple[float, ...]
    corrupted_ssim: tuple[float, ...]
    corrupted_psnr: tuple[float, ...]


@dataclass(frozen=True)
class RestorationMeasures(PictureMetrics):
    """The metrics of a finished run, as `measures.json` holds them.

    Attributes:
        validation: metrics of each epoch on held-out tiles.
        training_seconds: seconds in training steps.
        version: version of restoration, see `base.versions`; content: digest of the test images.
        side: side of the central square that was measured; None for whole images.
        weights: digest of the weights that were measured; older files have none.
    """

    validation: tuple[Mapping[str, float], ...]
    training_seconds: float
    version: int
    content: str
    side: int | None
    weights: str | None = optional()
    schema_version: int = SCHEMA_VERSION


def _to_image(pixels: NDArray[np.unsignedinteger]) -> Tensor:
    """Convert `(H, W, 3)`, uint8, to `(3, H, W)` in [0, 1]."""
    return to_unit(torch.from_numpy(pixels.astype(np.uint8)).permute(2, 0, 1).contiguous())


def read_test_image(path: Path) -> NDArray[np.unsignedinteger]:
    """Read an image to evaluate on: `(H, W, 3)`, uint8.

    Raises:
        DataError: it cannot be read, has more than 8 bits, or is smaller than the window of SSIM.
    """
    pixels = read(path).pixels
    if pixels.dtype != np.uint8 or min(pixels.shape[:2]) < WINDOW:
        raise DataError(f"{path}: test images need 8 bits per channel and at least {WINDOW}x{WINDOW} pixels")
    return pixels


def folder_digest(folder: Path) -> str:
    """Return a digest of the names and contents of all images in a folder."""
    stamps = []
    for path, name in find_pictures([folder]):
        stat = path.stat()
        stamps.append((path, name.as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return _content_digest(tuple(stamps))


@cache
def _content_digest(stamps: tuple[tuple[Path, str, int, int, int], ...]) -> str:
    """Read the files; the cache avoids a second time as long as their sizes, times and inodes stay the same."""
    content = hashlib.sha256()
    for path, name, *_ in stamps:
        content.update(name.encode("utf-8", "surrogateescape") + b"\0")
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:12]


@cache
def check_test_images(folder: Path) -> None:
    """Check all images of a folder with `read_test_image` before anything is trained; once per process."""
    for path, _ in find_pictures([folder]):
        read_test_image(path)


def clean_and_corrupted(
    folder: Path, corruption: Corruption, center_crop: int | None = None, indices: Container[int] | None = None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, clean image and corrupted image of each image in a folder, sorted by name.

    Args:
        folder: images to evaluate on.
        corruption: applied with its evaluation strength; each image is corrupted in the same way every time.
        center_crop: use only the central square of this size in pixels, for quick checks.
        indices: yield only the images at these positions in the sorted list; by default all.

    Yields:
        The path relative to the folder, and two images `(3, H, W)` in [0, 1].
    """
    for index, (path, name) in enumerate(find_pictures([folder])):
        if indices is not None and index not in indices:
            continue
        pixels = read_test_image(path)
        if center_crop is not None:
            top, left = (max(0, extent - center_crop) // 2 for extent in pixels.shape[:2])
            pixels = pixels[top : top + center_crop, left : left + center_crop]
        clean = _to_image(pixels)
        yield name.as_posix(), clean, corruption.evaluation(clean, index)


def restore_image(network: RestorationNetwork, corrupted: Tensor) -> Tensor:
    """Restore an image `(3, H, W)` in [0, 1]; the result has 256 levels, as if it had been read from a file."""
    pixels = corrupted.mul(255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return _to_image(restore(network, pixels))


def measure(
    network: RestorationNetwork, folder: Path, corruption: Corruption, center_crop: int | None = None
) -> PictureMetrics:
    """Compute SSIM and PSNR of every image in a folder, restored and corrupted, against the clean image.

    Args:
        network: in evaluation mode.
        folder, corruption, center_crop: see `clean_and_corrupted`.
    """
    names: list[str] = []
    values: dict[str, list[float]] = {"ssim": [], "psnr": [], "corrupted_ssim": [], "corrupted_psnr": []}
    for name, clean, corrupted in clean_and_corrupted(folder, corruption, center_crop):
        restored = restore_image(network, corrupted)
        names.append(name)
        for prefix, image in (("", restored), ("corrupted_", corrupted)):
            values[f"{prefix}ssim"].append(ssim(image, clean))
            values[f"{prefix}psnr"].append(psnr(image, clean))
    return PictureMetrics(tuple(names), **{name: tuple(each) for name, each in values.items()})


@cache
def _flops_per_crop(architecture: Architecture, crop_size: int) -> int:
    """Return the floating-point operations of a forward pass of one crop."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        RestorationNetwork.of(architecture)(torch.zeros(1, 3, crop_size, crop_size))
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class RestorationJob(Job):
    """Train a network and evaluate it on the images of a folder.

    Attributes:
        config: settings of the training.
        path: run folder.
        root: data root.
        test: folder of the test images.
        center_crop: see `clean_and_corrupted`.
    """

    config: RestorationConfig
    path: Path
    root: Path
    test: Path
    center_crop: int | None = None

    @property
    def label(self) -> str:
        """Return task, loss and seed, for the progress display."""
        a = "" if self.config.a is None else f" a {self.config.a:g}"
        return f"{self.config.task} {self.config.loss}{a} seed {self.config.seed}"

    def cost(self) -> float:
        """Return the floating-point operations of the training's forward passes."""
        config = self.config
        crops = config.batch_size * config.steps * config.epochs
        return float(_flops_per_crop(config.architecture, config.crop_size) * crops)

    @property
    def device(self) -> str:
        """Return the device of the training."""
        return self.config.device

    def memory(self) -> int:
        """Return a lower bound of the memory of the training, in bytes."""
        return restoration_memory(self.config)

    def cached_result(self) -> RestorationMeasures | None:
        """Return the stored result if it has this version and was computed on the present test images, else None."""
        folder = RunFolder(self.path)
        try:
            result = read_record(RestorationMeasures, self.path / "measures.json", sealed=True)
            weights = folder.read_weights()
            if restoration_config(folder) != self.config or result.weights != weights.digest:
                return None
        except (OSError, RecordError, DamagedJsonError, RunError):
            return None  # train or evaluate again, which reports what is wrong
        key = (result.version, result.side, result.content)
        values = (result.ssim, result.psnr, result.corrupted_ssim, result.corrupted_psnr)
        is_complete = all(len(each) == len(result.images) for each in values) and len(result.validation) > 0
        return result if is_complete and key == (RESTORATION, self.center_crop, folder_digest(self.test)) else None

    def run(self) -> RestorationMeasures:
        """Train and evaluate, or return the cached result; `measures.json` in the run folder holds it."""
        train_restoration(self.config, self.path, resume=True, root=self.root)
        if (result := self.cached_result()) is not None:
            return result
        folder = RunFolder(self.path)
        with folder.lock():
            network, config, weights = load_with_weights(folder)
            records = folder.metrics()
            with on_threads(config.threads), naming_weights(folder.weights_path):
                metrics = measure(network, self.test, CORRUPTIONS[config.task], self.center_crop)
            result = RestorationMeasures(
                **vars(metrics),
                validation=tuple(record["validation"] for record in records),
                training_seconds=sum(record["seconds"] for record in records),
                version=RESTORATION,
                content=folder_digest(self.test),
                side=self.center_crop,
                weights=weights.digest,
            )
            write_record(result, self.path / "measures.json", sealed=True)
        return result
