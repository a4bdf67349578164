"""The verb `export`: a trained model as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import UsageError
from .options import Overwrite, app, model_names
from .streams import say

if TYPE_CHECKING:
    from ..export.parts import Part

SUFFIXES = {".onnx": "onnx", ".pt2": "torch"}


@app.command()
def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder, folder of a pretrained model, or name of a model; also of a restoration network.",
            autocompletion=model_names,
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .onnx or .pt2.", show_default=False)],
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="onnx | torch (torch.export); by default from the suffix.", show_default=False),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            help="Of an autoencoder: both (images to reconstructions; the default) | encoder | decoder.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a trained model as one file for other programs.

    The file takes batches of any size, and those of restoration networks images of any size. It is run and compared
    with the model before it is kept.
    """
    import os

    from ..base.files import named_by_user
    from ..base.settings import validate_choice
    from ..export.files import FORMATS, export_file

    if file_format is None and out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: end the name in .onnx or .pt2, or add --format onnx or --format torch")
    file_format = validate_choice("--format", file_format or SUFFIXES[out.suffix.lower()], FORMATS)
    if out.suffix.lower() != FORMATS[file_format]:
        raise UsageError(f"{out}: files of --format {file_format} end in {FORMATS[file_format]}")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; choose another --out")
    if os.path.lexists(out) and not overwrite:
        raise UsageError(f"{out} exists; add --overwrite or choose another --out")
    exported = _part(run, part)
    difference = export_file(exported, named_by_user(out), file_format)
    say(*exported.notes, f"largest difference from the model: {difference:.2g}")
    say(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _part(run: Path, part: str | None) -> Part:
    """The part to export of the model that the argument names.

    Raises:
        UsageError: `part` is given for a restoration network.
        RunError: there is no such model, or it is damaged.
    """
    from ..base.settings import validate_choice
    from ..export.parts import PARTS, autoencoder_part, restoration_part
    from ..restoration.pipeline import load_network
    from ..restoration.pretrained import PRETRAINED_TASKS
    from ..training.autoencoder import config_of, load
    from ..training.model_names import find_model
    from ..training.run_folder import RunFolder

    if part is not None:
        validate_choice("--part", part, PARTS)
    folder = RunFolder(find_model(run))
    ships = str(run) in PRETRAINED_TASKS and not folder.path.exists()
    if ships or folder.config().get("kind") == "restoration":
        if part is not None:
            raise UsageError("--part belongs to autoencoders; a restoration network is exported as a whole")
        return restoration_part(load_network(run)[0])
    _, image_shape = config_of(folder)
    return autoencoder_part(load(folder.path), image_shape, part or "both")
