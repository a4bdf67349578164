"""The verb `explore`: a page to play with trained models in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import DataError
from .options import DataRoot, Overwrite, Seed, app, model_folders, model_names
from .pictures import check_out_path
from .streams import say


@app.command()
def explore(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, folders of pretrained models, or names of models.",
            callback=model_folders,
            autocompletion=model_names,
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.", show_default=False)],
    images: Annotated[
        int, typer.Option("--images", min=0, max=200, help="Number of test images on the page; 0 for none.")
    ] = 24,
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            help="Where samples are drawn from: standard (the prior) | gaussian | mixture (fitted to training codes); "
            "by default the mixture of models that hold one, and the prior otherwise.",
            show_default=False,
        ),
    ] = None,
    max_mb: Annotated[
        float, typer.Option("--max-mb", min=0.1, max=100.0, help="Largest size of the page, in millions of bytes.")
    ] = 5.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Write a page on which one moves through the latent space of trained models, and draws images to reconstruct.

    The page is one HTML file. A browser opens it from disk and computes all images itself, without a server or a
    network connection. Several runs are shown side by side.
    """
    from ..base.files import named_by_user
    from ..base.settings import validate_choice
    from ..explorer.page import build, check_shapes
    from ..explorer.precision import CHECKED_IMAGES
    from ..explorer.runs import (
        affordable_count,
        choose_shown,
        distinct,
        load_test_images,
        no_images,
        read_run,
        with_spread,
    )
    from ..models.density import PRIORS

    if prior is not None:
        validate_choice("--prior", prior, PRIORS)
    check_out_path(out, overwrite, (".html", ".htm"), "explore.html", "the page is written as HTML")
    read = distinct([read_run(run, prior, data_root) for run in runs], runs)
    check_shapes(read)
    try:
        test = load_test_images(runs[0], data_root)
    except DataError as error:
        if images:
            raise DataError(f"{error}; add --images 0 for a page without test images") from None
        shown, checked = no_images(read[0]), None
    else:
        shown = choose_shown(test, images, seed)
        checked = choose_shown(test, affordable_count(read[0].image_shape, CHECKED_IMAGES), seed).images
        read = [with_spread(run, test.images) for run in read]
    page = build(read, shown, named_by_user(out), checked=checked, limit_mb=max_mb)
    say(
        f"page: {out}, {page.size / 1e6:.2f} MB; open it in a browser",
        f"largest difference of a pixel to the models: {page.difference:.1e} (of a range of 1)",
    )
