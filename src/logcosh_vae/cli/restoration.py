"""The verb `restore`: restore pictures with a network, or train a restoration network on pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError, for_shell
from ..base.levels import naming_weights
from ..base.text import counted, path_word
from .json_option import with_json
from .options import (
    LOSS_CHOICE,
    Device,
    Overwrite,
    Settings,
    app,
    check_a,
    picture_set,
    whole_numbers,
)
from .streams import complain, fail, inform, result, say, tell

if TYPE_CHECKING:
    from ..restoration.picture_files import RestorePixels
    from ..restoration.pipeline import Pixels
    from ..restoration.tiling import Progress

SHIPPED = "shipped"
"""Value of `--from` for the network that comes with the package."""

Inputs = Annotated[
    list[str] | None, typer.Argument(metavar="PICTURE ...", help="Picture files or folders.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="File for one picture, folder for several; with --train the run folder. By default each result lies "
        "beside its picture.",
        show_default=False,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="text (the default) | denoise | impulse | deblur | demosaic | super-resolution",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="RUN",
        help="Run folder of your own training, or a network that comes with the package: text (the default), for "
        "pictures full of text, or captions, for captions on photographs.",
        show_default=False,
    ),
]
Train = Annotated[bool, typer.Option("--train", help="Train a network on the pictures of --data instead.")]
TrainData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="With --train, required: folder or zip file of pictures, or text-removal for the paper's.",
        show_default=False,
    ),
]
TrainLoss = Annotated[
    str | None,
    typer.Option("--loss", help=f"With --train: {LOSS_CHOICE}; log-cosh by default.", show_default=False),
]
TrainA = Annotated[
    float | None,
    typer.Option(
        "--a", help="With --train: parameter a of log-cosh; the paper's value by default.", show_default=False
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="With --train: start with the weights of a run, or of a network that comes with the package: shipped or "
        "captions. By default with random weights.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="With --train: continue the run in --out.")]
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        help="For text taller than 40 pixels: restore a copy of this scale, e.g. 0.25, and enlarge the changes; 1 by "
        "default.",
        show_default=False,
    ),
]
Careful = Annotated[
    bool, typer.Option("--careful", help="Average over four mirror images: better, in four times the time.")
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="Change only this part, in pixels; repeatable. By default the whole picture.",
        show_default=False,
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        help="Change only where this picture, of the same size as the others, is white; by default everywhere.",
        show_default=False,
    ),
]


@app.command()
@with_json
def restore(
    inputs: Inputs = None,
    out: Out = None,
    task: Task = None,
    model: Model = None,
    overwrite: Overwrite = False,
    train: Train = False,
    data: TrainData = None,
    loss: TrainLoss = None,
    a: TrainA = None,
    start: Start = None,
    resume: Resume = False,
    settings: Settings = None,
    device: Device = None,
    scale: Scale = None,
    careful: Careful = False,
    box: Boxes = None,
    mask: Mask = None,
) -> None:
    """Remove text, noise or blur from pictures; with --train, train a network on corrupted pictures only."""
    if train:
        if inputs:
            raise UsageError("--train takes its pictures from --data; remove the names of pictures")
        if scale is not None or careful or box or mask is not None:
            raise UsageError("--scale, --careful, --box and --mask cannot be used with --train")
        if overwrite or model is not None:
            raise UsageError("--overwrite and --model cannot be used with --train; use --resume or --from")
        if data is None or out is None:
            raise UsageError("--train needs --data FOLDER and --out RUN")
        _train(data, out, task or "text", loss or "log-cosh", a, start, resume, settings or [], device)
        return
    if not inputs:
        raise UsageError("name the pictures to restore, e.g. logcosh-vae restore photo.jpg -o clean.png")
    if "" in inputs:
        raise UsageError("the name of a picture is empty")
    if data is not None or resume or settings or any(value is not None for value in (loss, a, start)):
        raise UsageError("--data, --loss, --a, --from, --resume and --set belong to --train")
    from ..base.errors import RunError
    from ..base.settings import validate_choice
    from ..restoration.corruptions import CORRUPTIONS
    from ..restoration.finished import method_digest
    from ..restoration.photographs import read_mask
    from ..restoration.picture_files import plan_outputs
    from ..restoration.pipeline import check_options, load_network, restore_picture
    from ..restoration.pretrained import PRETRAINED_TASKS
    from ..restoration.targets import check_folders

    if model is not None and str(model) not in PRETRAINED_TASKS and not model.exists():
        names = " and ".join(PRETRAINED_TASKS)
        raise RunError(f"--model {model}: {model} is not a run folder; the networks of the package are {names}")
    if task is not None:
        validate_choice("--task", task, CORRUPTIONS)
    boxes = [parse_box(text) for text in box or []]
    left_out: list[tuple[Path, str]] = []
    pairs = plan_outputs([Path(name) for name in inputs], out, overwrite=overwrite, left_out=left_out)
    if len(pairs) > 1:
        check_folders(target for _, target in pairs)
    pixel_mask = None if mask is None else read_mask(mask)
    network, trained_for = load_network(model, task=task, device="cpu" if device is None else device)
    scale = 1.0 if scale is None else scale
    check_options(trained_for, scale=scale, careful=careful)
    method = partial(
        restore_picture, network, task=trained_for, boxes=boxes, mask=pixel_mask, scale=scale, careful=careful
    )
    digest = method_digest(network, task=trained_for, boxes=boxes, mask=pixel_mask, scale=scale, careful=careful)
    with naming_weights(_weights_name(model, trained_for)):
        _restore_files(pairs, _NotesCutBoxes(method, boxes), overwrite, digest, left_out)


def _weights_name(model: Path | None, trained_for: str) -> str:
    """Return how messages name the weights of a network: the file of a run, or the name of a network of the package."""
    from ..training.run_folder import RunFolder

    if model is not None and model.is_dir():
        return str(RunFolder(model).weights_path)
    return f"network {model or trained_for}"


def parse_box(text: str) -> tuple[int, int, int, int]:
    """Parse `LEFT,TOP,WIDTH,HEIGHT` in pixels."""
    numbers = whole_numbers(text.split(","))
    if numbers is None or len(numbers) != 4:
        raise UsageError(
            f"--box {text}: write it as LEFT,TOP,WIDTH,HEIGHT in pixels, none negative, e.g. 100,40,300,60"
        )
    left, top, width, height = numbers
    return left, top, width, height


class _NotesCutBoxes:
    """Restores pixels, and notes which boxes reach beyond the picture.

    Attributes:
        notes: sentences about the boxes and the last picture.
    """

    def __init__(self, method: RestorePixels, boxes: list[tuple[int, int, int, int]]) -> None:
        self._method, self._boxes = method, boxes
        self.notes: list[str] = []

    def __call__(self, pixels: Pixels, /, *, progress: Progress | None = None) -> Pixels:
        height, width = pixels.shape[:2]
        self.notes = [
            f"--box {left},{top},{across},{down} reaches beyond the picture, which has {width}x{height} pixels"
            for left, top, across, down in self._boxes
            if left + across > width or top + down > height
        ]
        return self._method(pixels, progress=progress)


def _restore_files(
    pairs: list[tuple[Path, Path]],
    method: _NotesCutBoxes,
    overwrite: bool,
    digest: str,
    left_out: list[tuple[Path, str]],
) -> None:
    """Restore the pictures; print the name of each result, and to standard error the notes and failures."""
    from ..restoration.picture_files import restore_files
    from .terminal import PicturesDisplay

    for path, reason in left_out:
        complain(f"left out: {path}: {reason}")
    restored: list[dict[str, Any]] = []
    failed = [{"source": str(path), "reason": reason} for path, reason in left_out]
    kept = 0
    with PicturesDisplay(len(pairs)) as display:
        results = restore_files(
            pairs, method, overwrite=overwrite, progress=lambda source: display.of(source.name), method=digest
        )
        for each in results:
            display.close()
            if each.error is not None:
                if len(pairs) == 1 and not left_out:
                    raise each.error
                complain(f"left out: {for_shell(each.error)}")
                failed.append({"source": str(each.source), "reason": for_shell(each.error)})
                continue
            notes = [] if each.kept else [*each.notes, *method.notes]
            kept += each.kept
            for note in notes:
                tell(f"note: {each.source}: {note}")
            say(each.target)
            restored.append({"source": str(each.source), "target": str(each.target), "kept": each.kept, "notes": notes})
    if kept:
        tell(f"note: {counted(kept, 'picture')} restored in the same way before, so the results are kept")
    result({"restored": restored, "left_out": failed})
    if failed:
        total = len(pairs) + len(left_out)
        raise typer.Exit(fail(f"{len(failed)} of {counted(total, 'picture')} could not be restored", 1))


def _train(
    data: str,
    out: Path,
    task: str,
    loss: str,
    a: float | None,
    start: str | None,
    resume: bool,
    settings: list[str],
    device: str | None,
) -> None:
    """Train a network into the run folder `out`."""

    from ..base.settings import override
    from ..restoration.config import RestorationConfig
    from ..restoration.pipeline import load_network
    from ..restoration.training import train_restoration
    from .terminal import FetchDisplay, TrainingDisplay

    check_a([loss], a)
    config = RestorationConfig(picture_set(data), task=task, loss=loss, a=a, device="cpu" if device is None else device)
    network = None
    if start is not None:
        network, _ = load_network(task=task) if start == SHIPPED else load_network(start)
        config = config.with_architecture(network.architecture)
    with FetchDisplay() as preparing, TrainingDisplay(out) as display:
        train_restoration(
            override(config, settings),
            out,
            start=network,
            resume=resume,
            callbacks=display.callbacks(),
            progress=preparing,
        )
    result({"run": str(out)})
    inform(f"run: {out}", f"use it: logcosh-vae restore PICTURE --model {path_word(out)}")
