"""A trained network measured on whole pictures, one by one, and as a job for the runner of experiments."""

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

from ..base.errors import DamagedJsonError, DataError, RecordError
from ..base.records import SCHEMA_VERSION, read_record, write_record
from ..base.versions import RESTORATION
from ..data.batches import to_unit
from ..experiments.scheduler import Job
from ..metrics.image_quality import WINDOW, psnr, ssim
from ..training.run_folder import RunFolder
from ..training.session import on_threads
from .config import RestorationConfig
from .corruptions import CORRUPTIONS, Corruption
from .network import RestorationNetwork
from .photographs import found, read
from .tiling import restore
from .training import load_restoration, train_restoration


@dataclass(frozen=True)
class PictureMetrics:
    """Metrics of restored pictures, one value a picture.

    Attributes:
        images: names of the pictures.
        ssim, psnr: of the restored ones; corrupted_ssim, corrupted_psnr: of what they were restored from.
    """

    images: tuple[str, ...]
    ssim: tuple[float, ...]
    psnr: tuple[float, ...]
    corrupted_ssim: tuple[float, ...]
    corrupted_psnr: tuple[float, ...]


@dataclass(frozen=True)
class RestorationMeasures(PictureMetrics):
    """The measures of a finished run, as `measures.json` holds them.

    Attributes:
        validation: metrics of each epoch on held-out tiles.
        training_seconds: seconds in training steps.
        version: of restoration, see `base.versions`; content: digest of the measured pictures.
        side: of the central square that was measured, None for whole pictures.
    """

    validation: tuple[Mapping[str, float], ...]
    training_seconds: float
    version: int
    content: str
    side: int | None
    schema_version: int = SCHEMA_VERSION


def _image(pixels: NDArray[np.unsignedinteger]) -> Tensor:
    """`(H, W, 3)`, uint8, as `(3, H, W)` in [0, 1]."""
    return to_unit(torch.from_numpy(pixels.astype(np.uint8)).permute(2, 0, 1).contiguous())


def measurable(path: Path) -> NDArray[np.unsignedinteger]:
    """Pixels `(H, W, 3)` of a picture to measure on; a `DataError` where it cannot be."""
    pixels = read(path).pixels
    if pixels.dtype != np.uint8 or min(pixels.shape[:2]) < WINDOW:
        raise DataError(f"{path}: pictures to measure on have 8 bits, and {WINDOW} pixels at least each way")
    return pixels


def content_of(folder: Path) -> str:
    """A digest of the names and the bytes of a folder's pictures."""
    stamps = []
    for path, place in found([folder]):
        stat = path.stat()
        stamps.append((path, place.as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return _content(tuple(stamps))


@cache
def _content(stamps: tuple[tuple[Path, str, int, int, int], ...]) -> str:
    """Read once as long as sizes and times stay."""
    content = hashlib.sha256()
    for path, name, *_ in stamps:
        content.update(name.encode("utf-8", "surrogateescape") + b"\0")
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:12]


@cache
def check_measurable(folder: Path) -> None:
    """See that every picture of a folder can be measured on, before anything is trained; once in a process."""
    for path, _ in found([folder]):
        measurable(path)


def clean_and_corrupted(
    folder: Path, corruption: Corruption, side: int | None = None, wanted: Container[int] | None = None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, clean image and corrupted image `(3, H, W)` in [0, 1] of each picture in `folder`, by name.

    Args:
        folder: of pictures.
        corruption: at its measured strength; a picture's is the same each time.
        side: take only the central square of that side, for quick checks.
        wanted: places by name of the pictures to give; by default all.
    """
    for index, (path, place) in enumerate(found([folder])):
        if wanted is not None and index not in wanted:
            continue
        pixels = measurable(path)
        if side is not None:
            top, left = (max(0, extent - side) // 2 for extent in pixels.shape[:2])
            pixels = pixels[top : top + side, left : left + side]
        clean = _image(pixels)
        yield place.as_posix(), clean, corruption.evaluation(clean, index)


def restored(network: RestorationNetwork, corrupted: Tensor) -> Tensor:
    """A corrupted image `(3, H, W)` restored, as a file would hold it."""
    pixels = corrupted.mul(255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return _image(restore(network, pixels))


def measure(
    network: RestorationNetwork, folder: Path, corruption: Corruption, side: int | None = None
) -> PictureMetrics:
    """SSIM and PSNR of each picture in `folder`, restored and as it was corrupted."""
    names: list[str] = []
    values: dict[str, list[float]] = {"ssim": [], "psnr": [], "corrupted_ssim": [], "corrupted_psnr": []}
    for name, clean, corrupted in clean_and_corrupted(folder, corruption, side):
        image = restored(network, corrupted)
        names.append(name)
        for prefix, shown in (("", image), ("corrupted_", corrupted)):
            values[f"{prefix}ssim"].append(ssim(shown, clean))
            values[f"{prefix}psnr"].append(psnr(shown, clean))
    return PictureMetrics(tuple(names), **{name: tuple(each) for name, each in values.items()})


@cache
def _flops_per_crop(widths: tuple[int, ...], blocks: int, crop_size: int) -> int:
    """Floating point operations of a crop_size's way through the network."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        RestorationNetwork(widths, blocks)(torch.zeros(1, 3, crop_size, crop_size))
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class RestorationJob(Job):
    """Train a network, and measure it on the pictures of a folder."""

    config: RestorationConfig
    path: Path
    root: Path
    test: Path
    side: int | None = None

    @property
    def label(self) -> str:
        """Task, loss and seed."""
        a = "" if self.config.a is None else f" a {self.config.a:g}"
        return f"{self.config.task} {self.config.loss}{a} seed {self.config.seed}"

    def cost(self) -> float:
        """Operations of the crops' way through the network."""
        config = self.config
        crops = config.batch_size * config.steps * config.epochs
        return float(_flops_per_crop(config.widths, config.blocks, config.crop_size) * crops)

    def cached_result(self) -> RestorationMeasures | None:
        """The measures if this version made them on these pictures, as they are now, else None."""
        path = self.path / "measures.json"
        if not path.is_file() or not RunFolder(self.path).is_finished(self.config.epochs):
            return None
        try:
            result = read_record(RestorationMeasures, path)
        except (RecordError, DamagedJsonError):
            return None
        same = (result.version, result.side, result.content)
        return result if same == (RESTORATION, self.side, content_of(self.test)) else None

    def run(self) -> RestorationMeasures:
        """Train and measure."""
        train_restoration(self.config, self.path, resume=True, root=self.root)
        if (result := self.cached_result()) is not None:
            return result
        network, config = load_restoration(self.path)
        records = RunFolder(self.path).metrics()
        with on_threads(config.threads):
            metrics = measure(network, self.test, CORRUPTIONS[config.task], self.side)
        result = RestorationMeasures(
            **vars(metrics),
            validation=tuple(record["validation"] for record in records),
            training_seconds=sum(record["seconds"] for record in records),
            version=RESTORATION,
            content=content_of(self.test),
            side=self.side,
        )
        write_record(result, self.path / "measures.json")
        return result
