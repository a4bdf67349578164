"""Apply a network to a picture of any size in bounded memory, tile by tile and without seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.devices import takes_bfloat16
from ..base.levels import to_levels
from . import scratch
from .augmentation import FlipEnsemble
from .network import RestorationNetwork

TILE_SIZE = 512
"""Default height and width of a tile in pixels, without its margin."""

Progress = Callable[[int, int], None]
"""Called with the number of tiles that are done and the total."""


def tile_windows(height: int, width: int, tile_size: int, margin: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Yield, for each tile, the rows and columns of its input with the margin, then those of its output."""
    for top in range(0, height, tile_size):
        for left in range(0, width, tile_size):
            bottom, right = min(top + tile_size, height), min(left + tile_size, width)
            yield (
                slice(max(0, top - margin), min(height, bottom + margin)),
                slice(max(0, left - margin), min(width, right + margin)),
                slice(top, bottom),
                slice(left, right),
            )


@torch.inference_mode()
def restore(
    network: RestorationNetwork | FlipEnsemble,
    picture: NDArray[np.unsignedinteger],
    *,
    hint: NDArray[np.bool_] | None = None,
    tile_size: int = TILE_SIZE,
    bfloat16: bool | None = None,
    progress: Progress | None = None,
) -> NDArray[np.unsignedinteger]:
    """Restore every pixel of a picture. Up to rounding, the result does not depend on the tiles.

    Each tile has a margin of the network's receptive field radius and begins at a multiple of its downsampling factor.

    Args:
        network: in evaluation mode, on its device.
        picture: `(H, W, 3)`, uint8 or uint16.
        hint: `(H, W)`, true where pixels are known to be corrupted; only for a network that takes one.
        tile_size: larger tiles are faster and need more memory.
        bfloat16: multiply in bfloat16. The default is true where that is faster, except for uint16, because bfloat16
            cannot represent 16-bit levels.
        progress: called after each tile.

    Returns:
        The shape and type of `picture`.

    Raises:
        ImageValuesError: the network computes numbers that are not finite.
    """
    height, width, _ = picture.shape
    factor = network.downsample_factor
    tile_size, margin = -(-tile_size // factor) * factor, -(-network.receptive_field_radius // factor) * factor
    max_level = float(np.iinfo(picture.dtype).max)
    device = next(network.parameters()).device
    if bfloat16 is None:
        bfloat16 = picture.dtype == np.uint8 and takes_bfloat16(device)
    result = scratch.empty(picture.shape, picture.dtype)
    tiles = list(tile_windows(height, width, tile_size, margin))
    for done, (rows, columns, out_rows, out_columns) in enumerate(tiles, start=1):
        tile = torch.from_numpy(picture[rows, columns].astype(np.float32, order="C") / max_level).permute(2, 0, 1)[None]
        inputs = [tile.to(device, memory_format=torch.channels_last)]
        if hint is not None:
            inputs.append(torch.from_numpy(hint[rows, columns].astype(np.float32))[None, None].to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            restored = network(*inputs)[0].float()
        inner = restored[
            :,
            out_rows.start - rows.start : out_rows.stop - rows.start,
            out_columns.start - columns.start : out_columns.stop - columns.start,
        ]
        result[out_rows, out_columns] = to_levels(inner.permute(1, 2, 0), max_level).cpu().numpy()
        scratch.release(picture, result)
        if progress is not None:
            progress(done, len(tiles))
    return result
