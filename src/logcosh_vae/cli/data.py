"""`data`: image sets."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import DataRoot, app

data_app = typer.Typer(help="Image sets: where they are, and fetching them.", invoke_without_command=True)
app.add_typer(data_app, name="data")


@data_app.callback()
def data_list(context: typer.Context, data_root: DataRoot = None) -> None:
    """List the known image sets and whether they are in the data root."""
    if context.invoked_subcommand is not None:
        return
    from ..data import DATASETS, DataError, load_images
    from ..data import data_root as find_root

    root = find_root(data_root)
    print(f"data root: {root}")
    for name in DATASETS:
        try:
            count = sum(len(load_images(name, s, root=root, fetch=False).images) for s in ("train", "test"))
            print(f"{name}: {count:,} images, verified")
        except DataError as error:
            print(f"{name}: {error}")


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="mnist | fashion-mnist")], data_root: DataRoot = None) -> None:
    """Fetch an image set if it is missing, and verify it."""
    from ..config import choose
    from ..data import DATASETS, load_images
    from ..data import data_root as find_root
    from ..terminal import FetchDisplay

    choose("image set", name, list(DATASETS))
    display = FetchDisplay()
    for split in ("train", "test"):
        images = load_images(name, split, root=data_root, progress=display)
        display.close()
        shape = " x ".join(str(size) for size in images.images.shape[1:])
        print(f"{name} {split}: {len(images.images):,} images of {shape}, verified ({images.fingerprint})")
    print(f"data root: {find_root(data_root)}")
