"""Evaluation of a restoration network on whole images, and the job that trains and evaluates one for an experiment."""

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
from .photographs import read
from .picture_files import find_pictures
from .tiling import restore
from .training import load_restoration, train_restoration

RESULT_KEYS = {"images", "ssim", "psnr", "corrupted_ssim", "corrupted_psnr", "validation", "training_seconds"}
"""Keys that the result of a `RestorationJob` has."""


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
) -> dict[str, Any]:
    """Compute SSIM and PSNR of every image in a folder, restored and corrupted, against the clean image.

    Args:
        network: in evaluation mode.
        folder, corruption, center_crop: see `clean_and_corrupted`.

    Returns:
        `images`: the names; `ssim`, `psnr`, `corrupted_ssim`, `corrupted_psnr`: one value per image.
    """
    result: dict[str, Any] = {"images": [], "ssim": [], "psnr": [], "corrupted_ssim": [], "corrupted_psnr": []}
    for name, clean, corrupted in clean_and_corrupted(folder, corruption, center_crop):
        restored = restore_image(network, corrupted)
        result["images"].append(name)
        for prefix, image in (("", restored), ("corrupted_", corrupted)):
            result[f"{prefix}ssim"].append(ssim(image, clean))
            result[f"{prefix}psnr"].append(psnr(image, clean))
    return result


@cache
def _flops_per_crop(widths: tuple[int, ...], blocks: int, crop_size: int) -> int:
    """Return the floating-point operations of a forward pass of one crop."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        RestorationNetwork(widths, blocks)(torch.zeros(1, 3, crop_size, crop_size))
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
        return float(_flops_per_crop(config.widths, config.blocks, config.crop_size) * crops)

    def cached_result(self) -> dict[str, Any] | None:
        """Return the stored result if it has this version and was computed on the present test images, else None."""
        path = self.path / "measures.json"
        if not path.is_file() or not RunFolder(self.path).is_finished(self.config.epochs):
            return None
        try:
            result: dict[str, Any] = read_json(path)
        except DamagedJsonError:
            return None
        if not isinstance(result, dict) or not result.keys() >= RESULT_KEYS:
            return None
        key = (result.get("version"), result.get("side"), result.get("content"))
        return result if key == (RESTORATION, self.center_crop, folder_digest(self.test)) else None

    def run(self) -> dict[str, Any]:
        """Train and evaluate, or return the cached result; `measures.json` in the run folder holds it."""
        train_restoration(self.config, self.path, resume=True, root=self.root)
        result = self.cached_result()
        if result is None:
            network, config = load_restoration(self.path)
            records = RunFolder(self.path).metrics()
            with on_threads(config.threads):
                result = measure(network, self.test, CORRUPTIONS[config.task], self.center_crop)
            result |= {"version": RESTORATION, "side": self.center_crop, "content": folder_digest(self.test)}
            result["validation"] = [record["validation"] for record in records]
            result["training_seconds"] = sum(record["seconds"] for record in records)
            write_json(self.path / "measures.json", result)
        return result
