"""The verb `restore`: a person's pictures through a trained network, and training one on pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import UsageError
from .options import Device, Overwrite, Settings, app, picture_set
from .restoring import box_of, method_of, network_for, restore_all, targets_of, within

SHIPPED = "shipped"


Inputs = Annotated[
    list[str] | None, typer.Argument(metavar="PICTURE ...", help="Picture files or folders.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="File for one picture, folder for more; with --train the run folder. By default beside each picture.",
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
OwnModel = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="RUN",
        help="Run folder of an own training, or a network that comes with the package: text (the default), for much "
        "text, or captions, for captions on photographs.",
        show_default=False,
    ),
]
Train = Annotated[bool, typer.Option("--train", help="Train on the pictures of --data instead.")]
TrainData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="With --train: folder or zip file of pictures, or text-removal for the paper's.",
        show_default=False,
    ),
]
TrainLoss = Annotated[
    str | None,
    typer.Option("--loss", help="With --train: l2 | l1 | log-cosh (the default)", show_default=False),
]
TrainA = Annotated[float | None, typer.Option("--a", help="With --train: a of log-cosh.", show_default=False)]
Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="With --train: begin with the weights of a run, or with `shipped` (or `captions`), that comes with the "
        "package.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="With --train: go on with the run in --out.")]
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        help="For text taller than 40 pixels: find it on a copy of this scale, e.g. 0.25.",
        show_default=False,
    ),
]
Careful = Annotated[
    bool, typer.Option("--careful", help="Better, in four times the time: the mean over mirror images.")
]
Box = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="Change only this part, in pixels; repeatable.",
        show_default=False,
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option("--mask", help="Change only where this picture is white; it has their size.", show_default=False),
]


@app.command()
def restore(
    inputs: Inputs = None,
    out: Out = None,
    task: Task = None,
    model: OwnModel = None,
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
    box: Box = None,
    mask: Mask = None,
) -> None:
    """Remove text (or noise, blur ...) from pictures; with --train, learn it from corrupted pictures only."""
    if train:
        if inputs:
            raise UsageError("--train takes its pictures from --data")
        if scale is not None or careful or box or mask is not None:
            raise UsageError("--scale, --careful, --box and --mask are for restoring, not for --train")
        if overwrite or model is not None:
            raise UsageError("--overwrite and --model are for restoring; --train goes on with --resume or --from")
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
    if scale is not None and not 0.0 < scale <= 1.0:
        raise UsageError(f"--scale must be above 0 and at most 1; got {scale:g}")
    from ..base.settings import validate_choice
    from ..restoration.corruptions import CORRUPTIONS

    if task is not None:
        validate_choice("--task", task, CORRUPTIONS)
    boxes = [box_of(text) for text in box or []]
    pairs = targets_of([Path(name) for name in inputs], out, overwrite)
    method, network = method_of(task, model, device, scale, careful)
    if boxes or mask is not None:
        method = within(method, network, boxes, mask, scale or 1.0)
    restore_all(pairs, method, overwrite)


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
    from dataclasses import replace

    from ..base.settings import override
    from ..restoration.config import RestorationConfig
    from ..restoration.training import train_restoration
    from ..training.session import Callbacks
    from .terminal import FetchDisplay, TrainingDisplay

    config = RestorationConfig(picture_set(data), task=task, loss=loss, a=a, device=device or "cpu")
    network = None if start is None else network_for(task, None if start == SHIPPED else Path(start), None, True)[0]
    if network is not None:
        config = replace(config, widths=network.widths, blocks=network.blocks)
    display = TrainingDisplay()
    try:
        train_restoration(
            override(config, settings),
            out,
            start=network,
            resume=resume,
            callbacks=Callbacks(display.step, display.epoch, display.note),
            progress=FetchDisplay(),
        )
    except KeyboardInterrupt:
        display.line.close()
        print(f"stopped; go on with the same command and --resume ({out})", file=sys.stderr)
        raise
    print(f"run: {out}\nuse it: logcosh-vae restore PICTURE --model {out}")
