"""What `restore` does: which picture goes where, what makes its new pixels, one picture after another."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..base.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..restoration.network import RestorationNetwork

    _Progress = Callable[[int, int], None]
    _Method = Callable[[NDArray[np.unsignedinteger], _Progress], NDArray[np.unsignedinteger]]

SUFFIX = "-restored"


def network_for(
    task: str | None, model: Path | None, device: str | None, any_task: bool = False
) -> tuple[RestorationNetwork, str]:
    """The network that is asked for, and its task, which is the one that is asked for unless any will do."""
    from ..base.devices import find_device
    from ..restoration.pretrained import TASKS, load_shipped
    from ..restoration.training import load_restoration

    if model is None:
        network, known = load_shipped(task or "text")[0], task or "text"
    elif str(model) in TASKS and not model.exists():
        network, known = load_shipped(str(model))[0], TASKS[str(model)]
    else:
        network, config = load_restoration(model)
        known = config.task
    if task not in (None, known) and not any_task:
        raise UsageError(f"--task {task}: the network in {model} is for {known}")
    return network.to(find_device(device or "cpu")), known


def _in_own_result(file: Path, out: Path, inputs: list[Path]) -> bool:
    """Whether a file lies in a folder for results within a folder that is restored: it was written by a run before."""
    result = out.resolve()
    within = any(path.is_dir() and path.resolve() in result.parents for path in inputs)
    return within and result in file.resolve().parents


def targets_of(inputs: list[Path], out: Path | None, overwrite: bool) -> list[tuple[Path, Path]]:
    """Each picture with the file its restored one goes to, which is not there yet unless it may be replaced."""
    from ..restoration.photographs import WRITABLE, found

    pictures = [(file, place) for file, place in found(inputs) if out is None or not _in_own_result(file, out, inputs)]
    if out is None:
        new = [file for file, _ in pictures if file in inputs or not file.stem.endswith(SUFFIX)]
        if not new:
            raise UsageError(f"all pictures there are results already (…{SUFFIX}); name -o to restore them once more")
        pairs = [(file, file.with_stem(file.stem + SUFFIX)) for file in new]
    elif len(inputs) == 1 and inputs[0].is_file() and not out.is_dir():
        if not out.suffix:
            raise UsageError(f"-o {out}: name a file with a suffix such as .png, or a folder that exists")
        pairs = [(pictures[0][0], out)]
    elif out.suffix.lower() in WRITABLE and not out.is_dir():
        raise UsageError(f"-o {out}: several pictures need a folder, not the name of one picture")
    else:
        pairs = [(file, out / place) for file, place in pictures]
    written = [
        (file, target if target.suffix.lower() in WRITABLE or out == target else target.with_suffix(".png"))
        for file, target in pairs
    ]
    taken: dict[Path, Path] = {}
    for file, target in written:
        if target in taken:
            raise UsageError(f"{file} and {taken[target]} would both be written to {target}; restore them one by one")
        taken[target] = file
    there = [target for _, target in written if target.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UsageError(f"{there[0]}{more} is there already; add --overwrite to replace it, or choose another -o")
    return written


def method_of(
    task: str | None, model: Path | None, device: str | None, scale: float | None, careful: bool
) -> tuple[_Method, RestorationNetwork]:
    """What makes the restored pixels of a picture's, and the network that it asks."""
    from ..restoration.augmentation import FlipEnsemble
    from ..restoration.blending import COVERING, restore_changed
    from ..restoration.tiling import restore as restored

    network, task = network_for(task, model, device)
    if scale is not None and task != "text":
        raise UsageError(f"--scale is for text; this network is for {task}")
    if careful and task == "demosaic":
        raise UsageError("--careful is not for demosaic: the mirror image of a mosaic is another mosaic")
    asked = FlipEnsemble(network) if careful else network
    if task in COVERING:
        return lambda pixels, progress: restore_changed(asked, pixels, scale or 1.0, progress=progress), network
    return lambda pixels, progress: restored(asked, pixels, progress=progress), network


def box_of(text: str) -> tuple[int, int, int, int]:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--box {text}: write it as LEFT,TOP,WIDTH,HEIGHT in pixels, e.g. 100,40,300,60")
    left, top, width, height = map(int, parts)
    return left, top, width, height


def within(
    method: _Method,
    network: RestorationNetwork,
    boxes: list[tuple[int, int, int, int]],
    mask: Path | None,
    scale: float,
) -> _Method:
    """The method, changing only what lies in a box or in the mask."""
    from ..restoration.blending import SPREAD
    from ..restoration.photographs import read_mask
    from ..restoration.region import Region, restore_region

    region = Region(boxes, None if mask is None else read_mask(mask))
    margin = math.ceil((network.receptive_field_radius + SPREAD) / scale)

    return lambda pixels, progress: restore_region(
        pixels, region, lambda part: method(part, progress), margin, network.downsample_factor
    )


def restore_all(pairs: list[tuple[Path, Path]], method: _Method, overwrite: bool) -> None:
    """Restore one picture after another; those that cannot be are named and left out."""
    from ..base.errors import DataError, RegionError
    from ..restoration.photographs import check_writable, read, write
    from .terminal import PicturesDisplay

    display, failed = PicturesDisplay(len(pairs)), 0
    for file, target in pairs:
        try:
            photograph = read(file)
            check_writable(target, photograph)
            pixels = method(photograph.pixels, display.of(file.name))
            if target.exists() and not overwrite:
                raise DataError(f"{target} has come to be there meanwhile; add --overwrite to replace it")
            write(photograph, pixels, target)
            notes = photograph.lost
        except (DataError, RegionError) as error:
            error = DataError(f"{file}: {error}") if isinstance(error, RegionError) else error
            if len(pairs) == 1:
                raise error from None
            display.close()
            print(f"left out: {error}", file=sys.stderr)
            failed += 1
            continue
        display.close()
        for note in notes:
            print(f"note: {file}: {note}", file=sys.stderr)
        print(target)
    if failed:
        print(f"error: {failed} of {len(pairs)} pictures could not be restored", file=sys.stderr)
        raise typer.Exit(1)
