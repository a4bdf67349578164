"""The verbs that use one trained model: `evaluate`, `sample`, `reconstruct` and `interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import UsageError
from .options import DataRoot, Overwrite, PngOut, Run, Seed, app
from .pictures import check_png_path, save_grid
from .streams import say, tell


@app.command()
def evaluate(
    run: Run,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="TorchScript file of the feature network for the FID; by default the installed one for the image set.",
            show_default=False,
        ),
    ] = None,
    trust_features: Annotated[
        bool,
        typer.Option(
            "--trust-features",
            "--trust",
            help="Run the TorchScript file of --features, a program that can read and change all your files.",
        ),
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Measure a trained model: sharpness, FID, test losses.

    Writes evaluation.json to the run folder, and pictures of samples, reconstructions and an interpolation.
    """
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.evaluate import evaluation_for
    from ..reporting.tables import METRIC_NAMES
    from ..training.autoencoder import config_of
    from ..training.run_folder import RunFolder

    if features is not None and not features.is_file():
        raise UsageError(f"--features {features}: no such file")
    if trust_features and features is None:
        raise UsageError("--trust-features needs --features FILE")
    config, _ = config_of(RunFolder(run))
    settings = evaluation_for(
        config.data.name,
        features=str(features.resolve()) if features else None,
        trust_features=True if trust_features else None,
    )
    unwritable: list[str] = []
    result = measure(run, settings, root=data_root, on_unwritable=unwritable.append)
    for name, value in result.metrics.items():
        say(f"{METRIC_NAMES[name]}: {value:.4g}")
    say("test split: " + ", ".join(f"{name} {value:.4g}" for name, value in result.test.items()))
    network = result.features
    if network is None:
        say("FID not computed: it needs a general image network; pip install 'logcosh-vae[features]'")
    else:
        if "fid" not in result.metrics:
            say(f"FID not computed: it needs at least 2 test images, and there is {result.real.count}")
        say(f"features: {network.name} {network.fingerprint}; {result.seconds:.1f} s")
        if "fid" in result.metrics and result.fid_caveat:
            tell(f"note: {result.fid_caveat}")
    if unwritable:
        tell(f"note: {unwritable[0]}")
    else:
        say(f"written: {run / 'evaluation.json'}, samples.png, reconstructions.png, interpolation.png")


@app.command()
def sample(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Number of images.")] = 100,
    seed: Seed = 0,
    out: PngOut = None,
    overwrite: Overwrite = False,
) -> None:
    """Generate images with a trained model.

    Codes are drawn from the prior and decoded; the images are written as one picture.
    """
    from ..evaluation.evaluate import generate
    from ..training.autoencoder import load

    path = out or run / f"sample-seed{seed}-{count}.png"
    check_png_path(path, overwrite)
    save_grid(generate(load(run), count, seed), path, columns=round(count**0.5) or 1)


@app.command()
def reconstruct(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Number of test images.")] = 40,
    seed: Seed = 0,
    out: PngOut = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Draw test images above their reconstructions.

    The test images are chosen at random. In the picture, each row of test images is followed by a row of their
    reconstructions.
    """
    from ..evaluation.evaluate import paired_reconstructions, random_test_images
    from ..training.autoencoder import load

    path = out or run / f"reconstruct-seed{seed}-{count}.png"
    check_png_path(path, overwrite)
    real = random_test_images(run, count, seed, data_root)
    save_grid(paired_reconstructions(load(run), real, columns=10), path, columns=10)


@app.command()
def interpolate(
    run: Run,
    pairs: Annotated[int, typer.Option("--pairs", min=1, max=1_000, help="Pairs of test images, one per row.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, max=100, help="Images per row.")] = 12,
    seed: Seed = 0,
    out: PngOut = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Interpolate between test images in the latent space.

    Pairs of test images are chosen at random and encoded; each row of the picture shows the decoded codes on the way
    from one image to the other.
    """
    from ..evaluation.evaluate import interpolations, random_test_images
    from ..training.autoencoder import load

    path = out or run / f"interpolate-seed{seed}-{pairs}x{steps}.png"
    check_png_path(path, overwrite)
    real = random_test_images(run, 2 * pairs, seed, data_root)
    save_grid(interpolations(load(run), real, steps), path, columns=steps)
