"""Verbs about one run: train, evaluate, sample, reconstruct, interpolate, train-features."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import UsageError
from ..base.launch import rank_and_world_size
from .options import (
    Data,
    DataRoot,
    Device,
    Epochs,
    Model,
    Overwrite,
    Run,
    Seed,
    Settings,
    Size,
    app,
    parse_size,
    train_config,
)


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Run folder to make.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[str, typer.Option("--loss", help="l2 | l1 | log-cosh")] = "log-cosh",
    a: Annotated[float | None, typer.Option("--a", help="a of log-cosh; the paper's by default.")] = None,
    epochs: Epochs = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    size: Size = None,
    device: Device = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    settings: Settings = None,
    data_root: DataRoot = None,
) -> None:
    """Train an auto-encoder; leaves a run folder with config, metrics, weights and pictures."""
    from ..base.settings import override
    from ..training.autoencoder import train as run
    from ..training.session import Callbacks
    from .terminal import FetchDisplay, TrainingDisplay

    config = override(
        train_config(data, model, loss, a, size=size, device=device, epochs=epochs, seed=seed), settings or []
    )
    display = TrainingDisplay()
    try:
        run(
            config,
            out,
            resume=resume,
            root=data_root,
            callbacks=Callbacks(display.step, display.epoch, display.note),
            fetch_progress=FetchDisplay(),
        )
    except KeyboardInterrupt:
        display.line.close()
        print(f"stopped; go on with the same command and --resume ({out})", file=sys.stderr)
        raise
    if rank_and_world_size()[0] == 0:
        print(f"run: {out}\nmeasure it: logcosh-vae evaluate {out}")


@app.command()
def evaluate(
    run: Run,
    features: Annotated[
        Path | None,
        typer.Option("--features", help="TorchScript file to take the FID's features from.", show_default=False),
    ] = None,
    data_root: DataRoot = None,
) -> None:
    """Measure a finished run: sharpness, FID, every term of the objective; draws its pictures."""
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.evaluate import evaluation_for
    from ..reporting.tables import METRIC_NAMES
    from ..training.autoencoder import config_of
    from ..training.run_folder import RunFolder

    if features is not None and not features.is_file():
        raise UsageError(f"--features {features}: no such file")
    config, _ = config_of(RunFolder(run))
    chosen = evaluation_for(config.data.name, features=str(features.resolve()) if features else None)
    result = measure(run, chosen, root=data_root)
    for name, value in result.metrics.items():
        print(f"{METRIC_NAMES[name]}: {value:.4g}")
    print("test split: " + ", ".join(f"{name} {value:.4g}" for name, value in result.test.items()))
    named = result.features
    if named is None:
        print("no FID: it needs a general image network; pip install 'logcosh-vae[features]'")
    else:
        print(f"features: {named.name} {named.fingerprint}; {result.seconds:.1f} s")
    print(f"written: {run / 'evaluation.json'}, samples.png, reconstructions.png, interpolation.png")


def _picture_path(out: Path | None, default: Path, overwrite: bool) -> Path:
    if out is None:
        return default
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; add --overwrite or choose another --out")
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: pictures are written as PNG; end the name in .png")
    return out


Out = Annotated[
    Path | None, typer.Option("--out", help="PNG to write; in the run folder by default.", show_default=False)
]


@app.command()
def sample(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000)] = 100,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw images from the prior with a trained model."""
    from ..base import image_grid as pictures
    from ..evaluation.evaluate import generate
    from ..training.autoencoder import load

    path = _picture_path(out, run / f"sample-seed{seed}-{count}.png", overwrite)
    pictures.save(pictures.grid(generate(load(run), count, seed), columns=round(count**0.5) or 1), path)
    print(f"written: {path}")


@app.command()
def reconstruct(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000)] = 40,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Draw test images over what a trained model makes of them."""
    from ..base import image_grid as pictures
    from ..evaluation.evaluate import paired_reconstructions, random_test_images
    from ..training.autoencoder import load

    path = _picture_path(out, run / f"reconstruct-seed{seed}-{count}.png", overwrite)
    pairs = paired_reconstructions(load(run), random_test_images(run, count, seed, data_root), columns=10)
    pictures.save(pictures.grid(pairs, columns=10), path)
    print(f"written: {path}")


@app.command()
def interpolate(
    run: Run,
    pairs: Annotated[int, typer.Option("--pairs", min=1, max=1_000)] = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, max=100)] = 12,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Draw the way between two test images in the latent space, a pair a row."""
    from ..base import image_grid as pictures
    from ..evaluation.evaluate import interpolations, random_test_images
    from ..training.autoencoder import load

    path = _picture_path(out, run / f"interpolate-seed{seed}-{pairs}x{steps}.png", overwrite)
    real = random_test_images(run, 2 * pairs, seed, data_root)
    pictures.save(pictures.grid(interpolations(load(run), real, steps), columns=steps), path)
    print(f"written: {path}")


@app.command("train-features")
def train_features(
    data: Annotated[str, typer.Argument(help="mnist | fashion-mnist | celeba")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder.", show_default=False)] = None,
    install: Annotated[
        Path | None,
        typer.Option("--install", help="Where the weights go; the data root by default.", show_default=False),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 16,
    size: Size = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Train the classifier whose coding layer gives the features of the FID."""
    from ..base.settings import validate_choice
    from ..data import DATASETS
    from ..evaluation.feature_installation import install_classifier, writable_feature_folder
    from ..evaluation.feature_training import feature_config
    from ..evaluation.feature_training import train_features as run
    from ..training.session import Callbacks
    from .terminal import FetchDisplay, TrainingDisplay

    validate_choice("image set", data, list(DATASETS))
    display = TrainingDisplay()
    folder = run(
        feature_config(data, epochs=epochs, seed=seed, **({"size": parse_size(size)} if size else {})),
        out or Path("runs") / f"features-{data}",
        resume=resume,
        root=data_root,
        callbacks=Callbacks(display.step, display.epoch, display.note),
        fetch_progress=FetchDisplay(),
    )
    weights = install_classifier(folder, install or writable_feature_folder(data_root))
    print(f"test accuracy {100 * folder.metrics()[-1]['validation']['accuracy']:.2f}%\nwritten: {weights}")
