"""The verb `restore`: a person's pictures through a trained network, and training one on pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Device, Overwrite, Settings, UsageError, app, picture_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..restoration.network import RestorationNetwork

    _Method = Callable[[NDArray[np.unsignedinteger], Callable[[int, int], None]], NDArray[np.unsignedinteger]]

SUFFIX = "-restored"
SHIPPED = "shipped"


@app.command()
def restore(
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="PICTURE ...", help="Picture files or folders.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="File for one picture, folder for more; with --train the run folder. By default beside each picture.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str, typer.Option("--task", help="text | denoise | impulse | deblur | demosaic | super-resolution")
    ] = "text",
    model: Annotated[
        Path | None, typer.Option("--model", help="Run folder of an own training.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    train: Annotated[bool, typer.Option("--train", help="Train on the pictures of --data instead.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="With --train: folder or zip file of pictures, or text-removal for the paper's.",
            show_default=False,
        ),
    ] = None,
    loss: Annotated[str, typer.Option("--loss", help="With --train: l2 | l1 | log-cosh")] = "log-cosh",
    a: Annotated[float | None, typer.Option("--a", help="With --train: a of log-cosh.", show_default=False)] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="With --train: begin with the weights of a run, or with `shipped`, those that come with the package.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --train: go on with the run in --out.")] = False,
    settings: Settings = None,
    device: Device = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            help="For text taller than 40 pixels: find it on a copy of this scale, e.g. 0.25.",
            show_default=False,
        ),
    ] = None,
    careful: Annotated[
        bool, typer.Option("--careful", help="Better, in four times the time: the mean over mirror images.")
    ] = False,
) -> None:
    """Remove text (or noise, blur ...) from pictures; with --train, learn it from corrupted pictures only."""
    if train:
        if inputs:
            raise UsageError("--train takes its pictures from --data")
        if scale is not None or careful:
            raise UsageError("--scale and --careful are for restoring, not for --train")
        if data is None or out is None:
            raise UsageError("--train needs --data FOLDER and --out RUN")
        _train(data, out, task, loss, a, start, resume, settings or [], device)
        return
    if not inputs:
        raise UsageError("name the pictures to restore, e.g. logcosh-vae restore photo.jpg -o clean.png")
    if data is not None or resume or settings or a is not None or start is not None:
        raise UsageError("--data, --a, --from, --resume and --set belong to --train")
    if scale is not None and not 0.0 < scale <= 1.0:
        raise UsageError(f"--scale must be above 0 and at most 1; got {scale:g}")
    from ..restoration.corruptions import CORRUPTIONS
    from ..settings import choose

    choose("--task", task, CORRUPTIONS)
    pairs = _targets(inputs, out, overwrite)
    _restore(pairs, _method(task, model, device, scale, careful))


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

    from ..restoration.learning import RestorationConfig, learn
    from ..running import Watch
    from ..settings import override
    from ..terminal import FetchDisplay, TrainingDisplay

    config = RestorationConfig(picture_set(data), task=task, loss=loss, a=a, device=device or "cpu")
    network = None if start is None else _network(task, None if start == SHIPPED else Path(start), None)[0]
    if network is not None:
        config = replace(config, widths=network.widths, blocks=network.blocks)
    display = TrainingDisplay()
    try:
        learn(
            override(config, settings),
            out,
            start=network,
            resume=resume,
            watch=Watch(display.step, display.epoch),
            progress=FetchDisplay(),
        )
    except KeyboardInterrupt:
        display.line.close()
        print(f"stopped; go on with the same command and --resume ({out})", file=sys.stderr)
        raise
    print(f"run: {out}\nuse it: logcosh-vae restore PICTURE --model {out}")


def _network(task: str, model: Path | None, device: str | None) -> tuple[RestorationNetwork, str]:
    """The network that is asked for, and its task."""
    from ..autoencoders import find_device
    from ..restoration.learning import load_restoration
    from ..restoration.shipped import load_shipped

    if model is None:
        network = load_shipped(task)[0]
    else:
        network, config = load_restoration(model)
        task = config.task
    return network.to(find_device(device or "cpu")), task


def _targets(inputs: list[Path], out: Path | None, overwrite: bool) -> list[tuple[Path, Path]]:
    """Each picture with the file its restored one goes to, which is not there yet unless it may be replaced."""
    from ..restoration.photographs import WRITABLE, found

    pictures = list(found(inputs))
    if out is None:
        pairs = [(file, file.with_stem(file.stem + SUFFIX)) for file, _ in pictures if not file.stem.endswith(SUFFIX)]
    elif len(inputs) == 1 and inputs[0].is_file() and not out.is_dir():
        if not out.suffix:
            raise UsageError(f"-o {out}: name a file with a suffix such as .png, or a folder that exists")
        pairs = [(pictures[0][0], out)]
    else:
        pairs = [(file, out / place) for file, place in pictures]
    written = [
        (file, target if target.suffix.lower() in WRITABLE or out == target else target.with_suffix(".png"))
        for file, target in pairs
    ]
    taken: dict[Path, Path] = {}
    for file, target in written:
        if target in taken:
            raise UsageError(f"{file} and {taken[target]} would both be written to {target}")
        taken[target] = file
    there = [target for _, target in written if target.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UsageError(f"{there[0]}{more} is there already; add --overwrite to replace it, or choose another -o")
    return written


def _method(task: str, model: Path | None, device: str | None, scale: float | None, careful: bool) -> _Method:
    """What makes the restored pixels of a picture's."""
    from ..restoration.changes import COVERING, restore_changed
    from ..restoration.mirrored import Mirrored
    from ..restoration.tiles import restore as restored

    network, task = _network(task, model, device)
    if scale is not None and task != "text":
        raise UsageError(f"--scale is for text; this network is for {task}")
    if careful and task == "demosaic":
        raise UsageError("--careful is not for demosaic: the mirror image of a mosaic is another mosaic")
    asked = Mirrored(network) if careful else network
    if task in COVERING:
        return lambda pixels, progress: restore_changed(asked, pixels, scale or 1.0, progress=progress)
    return lambda pixels, progress: restored(asked, pixels, progress=progress)


def _restore(pairs: list[tuple[Path, Path]], method: _Method) -> None:
    from ..data import DataError
    from ..restoration.photographs import check_writable, read, write
    from ..terminal import PicturesDisplay

    display, failed = PicturesDisplay(len(pairs)), 0
    for file, target in pairs:
        try:
            photograph = read(file)
            check_writable(target, photograph)
            write(photograph, method(photograph.pixels, display.of(file.name)), target)
        except DataError as error:
            if len(pairs) == 1:
                raise
            display.close()
            print(f"left out: {error}", file=sys.stderr)
            failed += 1
            continue
        display.close()
        print(target)
    if failed:
        print(f"error: {failed} of {len(pairs)} pictures could not be restored", file=sys.stderr)
        raise typer.Exit(1)
