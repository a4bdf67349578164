"""A network over a picture of any size in bounded memory: tile by tile, with no seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.devices import takes_bfloat16
from .augmentation import FlipEnsemble
from .network import RestorationNetwork

TILE = 512
"""Side of a tile's own part in pixels."""


def windows(height: int, width: int, tile: int, margin: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """For each tile the rows and columns it is computed from, and those that are its own."""
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
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
    tile: int = TILE,
    bfloat16: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.unsignedinteger]:
    """Restore a picture; the result is that of the network on the whole of it, but for rounding.

    Each tile is computed with a margin of the network's reach around it, beginning at multiples of its stride, so that
    nothing it depends on is missing.

    Args:
        network: in evaluation mode, on its device.
        picture: `(H, W, 3)`, uint8 or uint16.
        tile: side of the tiles; more is faster and takes more memory.
        bfloat16: multiply in bfloat16; by default where that is faster, but not for uint16: it cannot tell its levels.
        progress: called with the tiles done and all of them.

    Returns:
        The same shape and type.
    """
    height, width, _ = picture.shape
    stride = network.downsample_factor
    tile, margin = -(-tile // stride) * stride, -(-network.receptive_field_radius // stride) * stride
    largest = float(np.iinfo(picture.dtype).max)
    device = next(network.parameters()).device
    if bfloat16 is None:
        bfloat16 = picture.dtype == np.uint8 and takes_bfloat16(device)
    result = np.empty_like(picture)
    every = list(windows(height, width, tile, margin))
    for done, (rows, columns, own_rows, own_columns) in enumerate(every, start=1):
        part = torch.from_numpy(picture[rows, columns].astype(np.float32) / largest).permute(2, 0, 1)[None]
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            restored = network(part.to(device, memory_format=torch.channels_last))[0].float().clamp(0.0, 1.0)
        own = restored[
            :,
            own_rows.start - rows.start : own_rows.stop - rows.start,
            own_columns.start - columns.start : own_columns.stop - columns.start,
        ]
        result[own_rows, own_columns] = own.permute(1, 2, 0).mul(largest).round().cpu().numpy()
        if progress is not None:
            progress(done, len(every))
    return result
