"""A trained network measured on whole pictures, one by one, and as a job for the runner of experiments."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..base.errors import DamagedJsonError, DataError
from ..base.files import read_json, write_json
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

MEASURES = {"images", "ssim", "psnr", "corrupted_ssim", "corrupted_psnr", "validation", "training_seconds"}
"""What is noted of a measured run."""


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
) -> dict[str, Any]:
    """SSIM and PSNR of each picture in `folder`, restored and as it was corrupted.

    Returns:
        `images`: names; `ssim`, `psnr`, `corrupted_ssim`, `corrupted_psnr`: a value for each.
    """
    result: dict[str, Any] = {"images": [], "ssim": [], "psnr": [], "corrupted_ssim": [], "corrupted_psnr": []}
    for name, clean, corrupted in clean_and_corrupted(folder, corruption, side):
        image = restored(network, corrupted)
        result["images"].append(name)
        for prefix, shown in (("", image), ("corrupted_", corrupted)):
            result[f"{prefix}ssim"].append(ssim(shown, clean))
            result[f"{prefix}psnr"].append(psnr(shown, clean))
    return result


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

    def cached_result(self) -> dict[str, Any] | None:
        """The measures if they were made by this version on these pictures, as they are now, else None."""
        path = self.path / "measures.json"
        if not path.is_file() or not RunFolder(self.path).is_finished(self.config.epochs):
            return None
        try:
            result: dict[str, Any] = read_json(path)
        except DamagedJsonError:
            return None
        if not isinstance(result, dict) or not result.keys() >= MEASURES:
            return None
        same = (result.get("version"), result.get("side"), result.get("content"))
        return result if same == (RESTORATION, self.side, content_of(self.test)) else None

    def run(self) -> dict[str, Any]:
        """Train and measure."""
        train_restoration(self.config, self.path, resume=True, root=self.root)
        result = self.cached_result()
        if result is None:
            network, config = load_restoration(self.path)
            records = RunFolder(self.path).metrics()
            with on_threads(config.threads):
                result = measure(network, self.test, CORRUPTIONS[config.task], self.side)
            result |= {"version": RESTORATION, "side": self.side, "content": content_of(self.test)}
            result["validation"] = [record["validation"] for record in records]
            result["training_seconds"] = sum(record["seconds"] for record in records)
            write_json(self.path / "measures.json", result)
        return result
