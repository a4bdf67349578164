"""Restore a picture as the command `logcosh-vae restore` does: find the text, choose the network, restore only there.

    from logcosh_vae.restoration import restore
    clean = restore(image)        # a PIL image or an array; an equal copy if there is no text

`remover` is for many pictures. `pipeline.restore_picture` is the part below: one network, and a region that the caller
gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .filling.filler import RegionFiller
from .picture_files import RestorePixels
from .pipeline import Box
from .remover import TextRemover, TextSettings, load_networks
from .tiling import Progress
from .transparency import restore_visible

Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.uint16], Image.Image)


def restore(
    image: Picture,
    *,
    model: Path | str | None = None,
    find_text: bool | None = None,
    boxes: Sequence[Box] = (),
    mask: NDArray[np.bool_] | None = None,
    keep_boxes: Sequence[Box] = (),
    scale: float | None = None,
    careful: bool = False,
    fill: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Picture:
    """Remove text from a picture, as `logcosh-vae restore` does.

    With the extra `text`, the text is found first, and nothing else changes. Without it, every pixel may change that a
    network takes for text; give boxes or a mask then.

    Args:
        image: `(H, W, 3)`, uint8 or uint16, or a PIL image of any mode.
        model: a run folder for the task `text`, or a network of the package: `lines`, `captions` or `text`. By default
            the one of these that suits the picture.
        find_text: whether to search for text. By default if the extra `text` is installed. With boxes or a mask, True
            means to restore only the text that is found there.
        boxes: change only these parts: left, top, width and height in pixels.
        mask: `(H, W)`, change only where it is true.
        keep_boxes: never change these parts.
        scale: in (0, 1], for all text. By default it follows from the height of each line that is found, else it is 1.
        careful: average over four mirror images everywhere, at four times the cost; a few found lines have it in
            any case.
        fill: replace whatever lies in the boxes or the mask by its surroundings, without a network. `model`,
            `find_text`, `scale` and `careful` mean nothing then.
        device: `cpu`, `cuda` or `cuda:N`.
        progress: called after each tile with the number of tiles that are done and the total.

    Returns:
        A new picture of the same type, size and mode; a palette becomes RGB, and opacity is kept.

    Raises:
        MissingPackageError: `find_text` is true, and the extra `text` is not installed.
        ConfigError, RunError, RegionError, ValueError: see `load_network` and `restore_picture`.

    Example:
        >>> from logcosh_vae.restoration import restore
        >>> image = Image.new("RGB", (64, 48), "navy")
        >>> clean = restore(image, boxes=[(0, 0, 16, 16)])  # nothing else changes
        >>> clean.size, clean.getpixel((63, 47))
        ((64, 48), (0, 0, 128))
    """
    method: RestorePixels
    if fill:
        method = RegionFiller(boxes, mask, keep_boxes)
    else:
        settings = TextSettings(
            find=find_text,
            boxes=boxes,
            mask=mask,
            keep_boxes=keep_boxes,
            scale=scale,
            careful=careful,
            only_found=bool(find_text),
        )
        method = TextRemover(load_networks(model, device=device), settings)
    if isinstance(image, Image.Image):
        return _restore_image(image, method, progress)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image must be (H, W, 3), uint8 or uint16; got {image.shape}, {image.dtype}")
    restored: Any = method(image, progress=progress)
    return restored.copy() if restored is image else restored


def _restore_image(image: Image.Image, method: RestorePixels, progress: Progress | None) -> Image.Image:
    """Restore a PIL image. Opacity stays as it is, and the mode too, except for a palette."""
    has_alpha = image.has_transparency_data
    alpha = image.convert("RGBA").getchannel("A") if has_alpha else None
    pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))[..., :3]
    opacity = None if alpha is None else np.asarray(alpha)
    restored = restore_visible(pixels, opacity, lambda part: method(part, progress=progress))
    result = Image.fromarray(np.ascontiguousarray(restored))
    if alpha is not None:
        result.putalpha(alpha)
    wanted = "RGB" if image.mode == "P" and not has_alpha else "RGBA" if image.mode == "P" else image.mode
    result = result if result.mode == wanted else result.convert(wanted)
    result.info.update({key: value for key, value in image.info.items() if key != "transparency"})
    return result
