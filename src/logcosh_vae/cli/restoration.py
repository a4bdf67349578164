"""The verb `restore`: restore pictures with a network, or train a restoration network on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import UsageError
from ..base.text import path_word
from .json_option import with_json
from .options import (
    LOSS_CHOICE,
    Device,
    Overwrite,
    Settings,
    app,
    check_a,
    picture_set,
)
from .restoring import Request, parse_box, restore_pictures
from .streams import inform, result

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
        help="Run folder of your own training, or a network that comes with the package: lines, for lines of text "
        "that are found, captions, for captions on photographs, or text, for pictures full of text. By default the one "
        "that suits the picture.",
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
        help="With --train: start with the weights of a run, or of a network that comes with the package: shipped, "
        "captions or lines. By default with random weights.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="With --train: continue the run in --out.")]
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        help="For text taller than 40 pixels: restore a copy of this scale, e.g. 0.25, and enlarge the changes. By "
        "default it follows from the height of the text that is found.",
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
FindText = Annotated[
    bool | None,
    typer.Option(
        "--find-text/--no-find-text",
        help="Search for text, and change nothing else; the default if the extra `text` is installed and there is no "
        "--box and no --mask. With these, restore only the text found there.",
        show_default=False,
    ),
]
KeepBoxes = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-box",
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="Never change this part, such as a sign; repeatable; none by default.",
        show_default=False,
    ),
]
ShowMask = Annotated[
    Path | None,
    typer.Option(
        "--show-mask",
        metavar="FILE",
        help="Also write a picture that is white where text was found, which --mask takes back; none by default.",
        show_default=False,
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE",
        help="Also write a contact sheet of the pictures before and after; none by default.",
        show_default=False,
    ),
]
SameMask = Annotated[
    bool,
    typer.Option("--same-mask", help="For frames of a video: search on the first picture, and use its text for all."),
]


Fill = Annotated[
    bool,
    typer.Option(
        "--fill",
        help="Replace whatever lies in --box or --mask by its surroundings. By default only text is removed there.",
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
    find_text: FindText = None,
    keep_box: KeepBoxes = None,
    show_mask: ShowMask = None,
    sheet: Sheet = None,
    same_mask: SameMask = False,
    fill: Fill = False,
) -> None:
    """Remove text, noise or blur from pictures; with --train, train a network on corrupted pictures only."""
    if train:
        if inputs:
            raise UsageError("--train takes its pictures from --data; remove the names of pictures")
        if scale is not None or careful or box or mask is not None:
            raise UsageError("--scale, --careful, --box and --mask cannot be used with --train")
        if find_text is not None or keep_box or show_mask is not None or sheet is not None or same_mask or fill:
            raise UsageError(
                "--find-text, --keep-box, --show-mask, --sheet, --same-mask and --fill cannot be used with --train"
            )
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
    restore_pictures(
        Request(
            inputs,
            out,
            task,
            model,
            overwrite,
            device="cpu" if device is None else device,
            scale=scale,
            careful=careful,
            boxes=[parse_box(text) for text in box or []],
            mask=mask,
            find_text=find_text,
            keep_boxes=[parse_box(text, "--keep-box") for text in keep_box or []],
            show_mask=show_mask,
            sheet=sheet,
            same_mask=same_mask,
            fill=fill,
        )
    )


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
