"""Restoring pictures for the verb `restore`: what its options mean together. `restoring_session` does the work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import ConfigError, DataError, RunError, UsageError
from ..base.levels import naming_weights
from .options import whole_numbers
from .restoring_session import NotesCutBoxes, RestoringSession
from .streams import tell

if TYPE_CHECKING:
    from ..restoration.picture_files import RestorePixels
    from ..restoration.region import Box
    from ..restoration.remover import TextRemover, TextSettings

    Pairs = list[tuple[Path, Path]]

EXTRA_HINT = (
    "note: without the extra `text` the command does not search for text, and may change other strokes: "
    "pip install 'logcosh-vae[text]' (--no-find-text hides this note)"
)


@dataclass(frozen=True)
class Request:
    """The options of `restore` for pictures; see its help."""

    inputs: Sequence[str]
    out: Path | None = None
    task: str | None = None
    model: Path | None = None
    overwrite: bool = False
    device: str = "cpu"
    scale: float | None = None
    careful: bool = False
    boxes: Sequence[Box] = ()
    mask: Path | None = None
    find_text: bool | None = None
    keep_boxes: Sequence[Box] = ()
    show_mask: Path | None = None
    sheet: Path | None = None
    same_mask: bool = False
    fill: bool = False


def parse_box(text: str, option: str = "--box") -> tuple[int, int, int, int]:
    """Parse `LEFT,TOP,WIDTH,HEIGHT` in pixels."""
    numbers = whole_numbers(text.split(","))
    if numbers is None or len(numbers) != 4:
        raise UsageError(
            f"{option} {text}: write it as LEFT,TOP,WIDTH,HEIGHT in pixels, none negative, e.g. 100,40,300,60"
        )
    left, top, width, height = numbers
    return left, top, width, height


def restore_pictures(request: Request) -> None:
    """Restore the pictures of a request, and print the results, notes, failures and a summary."""
    from ..restoration.picture_files import plan_outputs
    from ..restoration.targets import check_folders

    _check(request)
    left_out: list[tuple[Path, str]] = []
    inputs = [Path(name) for name in request.inputs]
    pairs = plan_outputs(inputs, request.out, overwrite=request.overwrite, left_out=left_out)
    if len(pairs) > 1:
        check_folders(target for _, target in pairs)
    _check_written(request, pairs)
    method, digest, weights = _method(request, pairs)
    with naming_weights(weights):
        RestoringSession(
            pairs,
            left_out,
            NotesCutBoxes(method, request.boxes, request.keep_boxes),
            overwrite=request.overwrite,
            mask_file=request.show_mask,
            sheet_file=request.sheet,
        ).run(digest)


def _check(request: Request) -> None:
    """Check the options that can be checked without looking at files of pictures."""
    from ..base.settings import validate_choice
    from ..restoration.corruptions import CORRUPTIONS
    from ..restoration.pretrained import PRETRAINED_TASKS

    model = request.model
    if model is not None and str(model) not in PRETRAINED_TASKS and not model.exists():
        *some, last = PRETRAINED_TASKS
        names = f"{', '.join(some)} and {last}"
        raise RunError(f"--model {model}: {model} is not a run folder; the networks of the package are {names}")
    if request.task is not None:
        validate_choice("--task", request.task, CORRUPTIONS)
    if request.fill:
        _check_fill(request)
    if request.same_mask and request.mask is not None:
        raise UsageError("--same-mask searches for text on the first picture, and --mask says where it is; use one")
    if request.same_mask and request.find_text is False:
        raise UsageError("--same-mask searches for text on the first picture; remove --no-find-text")


def _check_fill(request: Request) -> None:
    if not request.boxes and request.mask is None:
        raise UsageError("--fill needs to know where: add --box LEFT,TOP,WIDTH,HEIGHT or --mask FILE")
    others = {
        "--task": request.task,
        "--model": request.model,
        "--scale": request.scale,
        "--careful": request.careful,
        "--find-text": request.find_text,
        "--show-mask": request.show_mask,
        "--same-mask": request.same_mask,
    }
    for option, value in others.items():
        if value:
            raise UsageError(f"{option} cannot be used with --fill, which replaces all of the region without a network")


def _check_written(request: Request, pairs: Pairs) -> None:
    """Check that the mask and the contact sheet can be written, before the work."""
    from ..restoration.masks import MASK_SUFFIXES
    from ..restoration.sheet import SHEET_SUFFIXES
    from ..restoration.targets import check_target

    if request.show_mask is not None and len(pairs) > 1 and not request.same_mask:
        raise UsageError("--show-mask is for one picture, or for several with --same-mask")
    pictures = {each.resolve() for pair in pairs for each in pair}
    if request.show_mask is not None and request.show_mask == request.sheet:
        raise UsageError(f"--show-mask and --sheet are both {request.sheet}; choose another name for one of them")
    for option, path, suffixes in (
        ("--show-mask", request.show_mask, MASK_SUFFIXES),
        ("--sheet", request.sheet, SHEET_SUFFIXES),
    ):
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"{option} {path}: end the name in {', '.join(suffixes)}")
        if path.resolve() in pictures:
            raise UsageError(f"{option} {path}: that is a picture to restore, or its result; choose another name")
        if os.path.lexists(path) and not request.overwrite:
            raise UsageError(f"{option} {path} exists; add --overwrite or choose another name")
        check_target(path)


def _method(request: Request, pairs: Pairs) -> tuple[RestorePixels, str, str]:
    """Return the function that restores, the digest that identifies it, and how messages name its weights."""
    from ..restoration.filling.filler import RegionFiller
    from ..restoration.finished import method_digest
    from ..restoration.photographs import read_mask
    from ..restoration.pipeline import check_options, load_network, restore_picture
    from ..restoration.remover import TextRemover, load_networks

    mask = None if request.mask is None else read_mask(request.mask)
    if request.fill:
        filler = RegionFiller(request.boxes, mask, request.keep_boxes)
        return filler, filler.digest, ""
    if request.model is None and request.task in (None, "text"):
        networks, weights = load_networks(device=request.device), "the networks of the package"
    else:
        network, task = load_network(request.model, task=request.task, device=request.device)
        weights = _weights_name(request.model, task)
        if task != "text":
            _check_text_options(request, task)
            scale = 1.0 if request.scale is None else request.scale
            check_options(task, scale=scale, careful=request.careful)
            options: dict[str, Any] = {"boxes": request.boxes, "mask": mask, "scale": scale, "careful": request.careful}
            method = partial(restore_picture, network, task=task, **options)
            return method, method_digest(network, task=task, **options), weights
        networks = {str(request.model): network}
    remover = TextRemover(networks, _settings(request, mask))
    if request.same_mask:
        remover = _with_mask_of(remover, pairs[0][0])
    return remover, remover.digest, weights


def _weights_name(model: Path | None, task: str) -> str:
    """Return how messages name the weights of a network: the file of a run, or the name of a network of the package."""
    from ..training.run_folder import RunFolder

    if model is not None and model.is_dir():
        return str(RunFolder(model).weights_path)
    return f"network {model or task}"


def _check_text_options(request: Request, task: str) -> None:
    given = {
        "--find-text": request.find_text,
        "--keep-box": request.keep_boxes,
        "--show-mask": request.show_mask,
        "--same-mask": request.same_mask,
    }
    for option, value in given.items():
        if value:
            raise ConfigError(f"{option} can only be used for text; this network is for {task}")


def _settings(request: Request, mask: Any) -> TextSettings:
    """Return the settings for text, after loading the detector if it is needed."""
    from ..restoration.finding.detector import is_installed, load_detector
    from ..restoration.remover import TextSettings

    region = bool(request.boxes) or mask is not None
    only_found = bool(request.find_text) or request.same_mask
    find = is_installed() if request.find_text is None else request.find_text
    if find or only_found:
        load_detector()  # tells before the work what is missing
    elif request.find_text is None and not region:
        tell(EXTRA_HINT)
    return TextSettings(
        find or only_found, request.boxes, mask, request.keep_boxes, request.scale, request.careful, only_found
    )


def _with_mask_of(remover: TextRemover, first: Path) -> TextRemover:
    """Return a remover for pictures that have their text where the first one has it."""
    from ..restoration.photographs import read
    from ..restoration.remover import TextRemover

    pixels = read(first).pixels
    remover(pixels)
    if not remover.report.lines:
        raise DataError(
            f"{first}: no text was found on the first picture, so --same-mask has no mask; name a picture with "
            "text first, or give a --mask"
        )
    known = replace(remover.settings, lines=remover.report.lines, size=(pixels.shape[0], pixels.shape[1]))
    return TextRemover(remover.networks, known)
