"""Image files for the tests of this folder."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from logcosh_vae.data import ImageSet, load_images


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the content of an image file."""
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()


def noise(seed: int = 0, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """Return an image of noise, another for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_set(folder: Path, count: int = 12) -> Path:
    """Write a folder of PNG images of noise, `00.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise(index).save(folder / f"{index:02}.png")
    return folder


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a zip file with these names as they are, also those that `zipfile` would change."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members:
            item = zipfile.ZipInfo("x")
            item.filename = item.orig_filename = name
            file.writestr(item, content)
    return path


def load_both(path: Path, **options: Any) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test split of a set, 8 by 8 pixels."""
    train, test = (load_images(str(path), split, size=(8, 8), **options) for split in ("train", "test"))
    return train, test
