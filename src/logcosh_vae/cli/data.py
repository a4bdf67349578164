"""The verb `data`: list, download and describe image sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from ..base.file_names import fitting_name, longest_name
from ..base.text import counted, visible
from ..training.defaults import AUTO
from .json_option import with_json
from .options import DataRoot, Overwrite, Size, Tiles, app, image_set, parse_size
from .pictures import check_png_path, save_grid
from .streams import result, say

if TYPE_CHECKING:
    from ..data.describe import Summary
    from ..data.image_set import ImageSet

data_app = typer.Typer(
    help="List, download and describe image sets.\n\nWithout a command: list the known sets and whether they are "
    "installed.",
    invoke_without_command=True,
)
app.add_typer(data_app, name="data")

SHOWN = 10
"""Number of sizes, of colour modes, and of names of ignored files that are printed."""

SHOWN_FILES = 200
"""Number of skipped files that are printed."""

SHEET_BYTES = 1 << 25
"""The contact sheet shows 100 images, or fewer if they have more bytes than this."""


@data_app.callback()
def data_list(context: typer.Context, data_root: DataRoot = None) -> None:
    """List the known image sets and whether they are in the data root."""
    if context.invoked_subcommand is not None:
        return
    from ..base.errors import DataError
    from ..data import DATASETS, count_images
    from ..data import data_root as find_root

    root = find_root(data_root)
    say(f"data root: {root}")
    for name in DATASETS:
        try:
            say(f"{name}: {counted(count_images(name, root), 'image')}")
        except DataError as error:
            say(f"{name}: {error}")


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Image set: mnist | fashion-mnist", show_default=False)],
    data_root: DataRoot = None,
) -> None:
    """Download an image set if it is missing, and verify it."""
    from ..base.settings import validate_choice
    from ..data import DATASETS, IDX_SETS, TEXT_REMOVAL, load_images
    from ..data import data_root as find_root
    from .terminal import FetchDisplay

    if name in {*DATASETS, TEXT_REMOVAL} - {*IDX_SETS}:
        raise UsageError(
            f"{name} cannot be downloaded by this command, since its terms must be accepted first; docs/data.md says "
            "how to get it and where to put it"
        )
    validate_choice("image set", name, list(IDX_SETS))
    with FetchDisplay() as display:
        for split in ("train", "test"):
            images = load_images(name, split, root=data_root, progress=display)
            display.close()
            shape = " x ".join(str(size) for size in images.images.shape[1:])
            say(f"{name} {split}: {counted(len(images.images), 'image')} of {shape}, verified ({images.fingerprint})")
    say(f"data root: {find_root(data_root)}")


@data_app.command("info")
@with_json
def data_info(
    name: Annotated[str, typer.Argument(help="Image set: mnist | fashion-mnist | celeba | PATH", show_default=False)],
    size: Size = None,
    tiles: Tiles = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on files that cannot be used; do not skip them.")] = (
        False
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="PNG file for the contact sheet; NAME-contact-sheet.png by default.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Describe an image set and draw a contact sheet.

    Prints the number of images, their sizes, statistics of the pixels, the loss they suggest, and an account of all
    files.
    """
    import torch

    from ..data import load_images
    from ..data.describe import summarise
    from ..training.loop import make_generator
    from .terminal import FetchDisplay

    name = image_set(name)
    path = out or contact_sheet(name)
    check_png_path(path, overwrite)
    wanted = parse_size(size) if size else None
    with FetchDisplay() as display:
        train, test = (
            load_images(name, split, size=wanted, tiles=tiles, strict=strict, root=data_root, progress=display)
            for split in ("train", "test")
        )
    summary = summarise(train)
    channels, height, width = summary.shape
    say(f"{name}: {len(train.images):,} training and {len(test.images):,} test images of {height}x{width}x{channels}")
    _print_files(train)
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (summary.mean, summary.std))
    say(f"pixels: mean {mean}; standard deviation {std}")
    say(f"suggested: --loss {AUTO}, which has nothing to set by hand", summary.advice)
    shown = max(1, min(100, SHEET_BYTES // (channels * height * width)))
    order = torch.randperm(len(train.images), generator=make_generator(0, "contact sheet"))[:shown]
    try:
        scale = max(1, 64 // max(height, width))
        save_grid(train.images[order], path, columns=min(10, shown), scale=scale, follow=out is not None)
    finally:
        _print_account(train)
    result(_document(train, test, summary, path))


def _document(train: ImageSet, test: ImageSet, summary: Summary, sheet: Path) -> dict[str, Any]:
    """What `--json` prints of an image set."""
    channels, height, width = summary.shape
    return {
        "name": train.name,
        "images": {each.split: {"count": len(each.images), "fingerprint": each.fingerprint} for each in (train, test)},
        "shape": {"channels": channels, "height": height, "width": width},
        "pixels": {"mean": summary.mean, "std": summary.std, "near_0_or_1": summary.near_0_or_1},
        "suggested_loss": AUTO,
        "advised_by_paper": summary.advised_loss,
        "files": {"sizes": train.sizes, "modes": train.modes},
        "attributes": train.label_names,
        "notes": train.notes,
        "skipped": [{"file": file, "reason": reason} for file, reason in train.left_out],
        "ignored": train.ignored,
        "contact_sheet": str(sheet),
    }


def contact_sheet(name: str) -> Path:
    """The file for the contact sheet of an image set, in the current folder; a very long name is shortened."""
    return Path(fitting_name(Path(name).stem, "-contact-sheet.png", longest_name(Path())))


def _print_files(images: ImageSet) -> None:
    """Print what is known of the files that the images were read from."""
    if images.sizes:
        say(f"files: sizes {_most_common(images.sizes)}; colour modes {_most_common(images.modes)}")
    if images.label_names:
        say(f"attributes: {', '.join(images.label_names)}")
    for note in images.notes:
        say(f"note: {note}")


def _print_account(images: ImageSet) -> None:
    """Print what became of every file of a folder or zip file."""
    if not images.sizes:
        return
    from ..data.listing import VALIDATION

    for file, reason in images.left_out[:SHOWN_FILES]:
        say(f"skipped: {visible(file)}: {reason}")
    if len(images.left_out) > SHOWN_FILES:
        say(f"skipped: and {len(images.left_out) - SHOWN_FILES:,} more")
    for rule, names in sorted(images.ignored.items()):
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        say(f"ignored: {rule}: {', '.join(map(visible, names[:SHOWN]))}{more}")
    used = sum(images.sizes.values()) - len(images.ignored.get(VALIDATION, ()))  # those are prepared too
    parts = [(used, "used"), (len(images.left_out), "skipped")]
    parts += [(len(names), rule) for rule, names in sorted(images.ignored.items())]
    counts = " + ".join(f"{count:,} {what}" for count, what in parts)
    say(f"entries: {sum(count for count, _ in parts):,} = {counts}")


def _most_common(counts: Mapping[str, int]) -> str:
    """The names with the largest counts, such as `178x218 (12), 64x64 (3) and 4 more`."""
    shown = [f"{name} ({count:,})" for name, count in Counter(counts).most_common(SHOWN)]
    return ", ".join(shown) + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")
