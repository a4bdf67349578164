"""`data`: image sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import UsageError
from .options import DataRoot, Overwrite, Size, app, image_set, parse_size

data_app = typer.Typer(
    help="Image sets: where they are, what they are like, fetching them.", invoke_without_command=True
)
app.add_typer(data_app, name="data")

LISTED = 10
"""Files left out, sizes and formats that are listed."""


@data_app.callback()
def data_list(context: typer.Context, data_root: DataRoot = None) -> None:
    """List the known image sets and whether they are in the data root."""
    if context.invoked_subcommand is not None:
        return
    from ..base.errors import DataError
    from ..data import DATASETS, count_images
    from ..data import data_root as find_root

    root = find_root(data_root)
    print(f"data root: {root}")
    for name in DATASETS:
        try:
            print(f"{name}: {count_images(name, root):,} images")
        except DataError as error:
            print(f"{name}: {error}")


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="mnist | fashion-mnist")], data_root: DataRoot = None) -> None:
    """Fetch an image set if it is missing, and verify it."""
    from ..base.settings import validate_choice
    from ..data import DATASETS, IDX_SETS, TEXT_REMOVAL, load_images
    from ..data import data_root as find_root
    from .terminal import FetchDisplay

    if name in {*DATASETS, TEXT_REMOVAL} - {*IDX_SETS}:
        raise UsageError(f"{name} is not fetched, since its terms do not allow it; docs/data.md says where to put it")
    validate_choice("image set", name, list(IDX_SETS))
    display = FetchDisplay()
    for split in ("train", "test"):
        images = load_images(name, split, root=data_root, progress=display)
        display.close()
        shape = " x ".join(str(size) for size in images.images.shape[1:])
        print(f"{name} {split}: {len(images.images):,} images of {shape}, verified ({images.fingerprint})")
    print(f"data root: {find_root(data_root)}")


def _common(counts: Counter[str]) -> str:
    shown = [f"{name} ({count:,})" for name, count in counts.most_common(LISTED)]
    return ", ".join(shown) + (f" and {len(counts) - LISTED:,} more" if len(counts) > LISTED else "")


@data_app.command("info")
def data_info(
    name: Annotated[str, typer.Argument(help="mnist | fashion-mnist | celeba | PATH", show_default=False)],
    size: Size = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse pictures that cannot be used.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="PNG for the contact sheet.", show_default=False)] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Describe an image set: count, sizes, pixels, a contact sheet, and which loss that speaks for."""
    from ..base import image_grid as pictures
    from ..data import load_images
    from ..data.describe import summarise
    from ..evaluation.evaluate import choose_images
    from .terminal import FetchDisplay

    name = image_set(name)
    out = out or Path(f"{Path(name).stem}-contact-sheet.png")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; add --overwrite or choose another --out")
    display = FetchDisplay()
    wanted = parse_size(size) if size else None
    train, test = (
        load_images(name, split, size=wanted, strict=strict, root=data_root, progress=display)
        for split in ("train", "test")
    )
    display.close()
    summary = summarise(train)
    channels, height, width = summary.shape
    print(f"{name}: {len(train.images):,} training and {len(test.images):,} test images of {height}x{width}x{channels}")
    if train.sizes:
        print(f"pictures: {_common(Counter(train.sizes))}; colours {_common(Counter(train.modes))}")
    if train.label_names:
        print(f"attributes: {', '.join(train.label_names)}")
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (summary.mean, summary.std))
    print(f"mean {mean}; standard deviation {std}")
    for file, why in train.left_out[:LISTED]:
        print(f"left out: {file}: {why}")
    if train.left_out:
        print(f"left out: {len(train.left_out):,} of {len(train.left_out) + sum(train.sizes.values()):,} files")
    print(f"{summary.advice}\nadvised: --loss {summary.advised_loss}")
    scale = max(1, 64 // max(height, width))
    pictures.save(pictures.grid(choose_images(train.images, 100, 0, "contact sheet"), columns=10, scale=scale), out)
    print(f"written: {out}")
