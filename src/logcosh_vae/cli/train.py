"""The verbs that train one network: `train` for autoencoders, `train-features` for the feature networks of the FID."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.launch import rank_and_world_size
from .options import (
    AUTO_HELP,
    LOSS_CHOICE,
    A,
    Data,
    DataRoot,
    Device,
    Epochs,
    LikelihoodChoice,
    Model,
    Resume,
    Seed,
    Settings,
    Size,
    Tiles,
    app,
    parse_size,
    shell_word,
    train_config,
)
from .streams import say


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Run folder to create.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[str, typer.Option("--loss", help=f"Reconstruction loss: {LOSS_CHOICE}; {AUTO_HELP}.")] = "log-cosh",
    a: A = None,
    likelihood: LikelihoodChoice = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    size: Size = None,
    tiles: Tiles = False,
    device: Device = None,
    resume: Resume = False,
    settings: Settings = None,
    data_root: DataRoot = None,
) -> None:
    """Train an autoencoder.

    Writes a run folder with the configuration, the losses of every epoch, the weights and samples drawn on the way.
    To train on several GPUs or machines, start the command with torchrun.
    """
    from ..base.settings import override
    from ..training.autoencoder import train as run
    from ..training.config import resolve
    from ..training.defaults import RECOMMENDED
    from .terminal import FetchDisplay, TrainingDisplay

    config = train_config(
        data, model, loss, a, likelihood=likelihood, size=size, tiles=tiles, device=device, epochs=epochs, seed=seed
    )
    config = override(config, settings or [])
    with FetchDisplay() as fetching, TrainingDisplay(out) as display:
        run(config, out, resume=resume, root=data_root, callbacks=display.callbacks(), fetch_progress=fetching)
    if rank_and_world_size()[0] == 0:
        learned = resolve(config).objective.likelihood is not None
        prior = f" --prior {RECOMMENDED.prior}" if learned else ""
        say(f"run: {out}", f"to evaluate it: logcosh-vae evaluate {shell_word(out)}{prior}")


@app.command("train-features")
def train_features(
    data: Annotated[str, typer.Argument(help="Image set: mnist | fashion-mnist | celeba", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder to create; runs/features-DATA by default.", show_default=False),
    ] = None,
    install: Annotated[
        Path | None,
        typer.Option("--install", help="Folder for the weights; by default in the data root.", show_default=False),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs of training.")] = 16,
    size: Size = None,
    seed: Seed = 0,
    resume: Resume = False,
    data_root: DataRoot = None,
) -> None:
    """Train the feature network of the FID.

    It is a classifier of the image set's labels; the FID is computed on the activations of its coding layer. The
    weights are installed where `evaluate` and the experiments find them.
    """
    from ..base.settings import validate_choice
    from ..data import DATASETS
    from ..evaluation.feature_installation import install_classifier, writable_feature_folder
    from ..evaluation.feature_training import feature_config
    from ..evaluation.feature_training import train_features as run
    from .terminal import FetchDisplay, TrainingDisplay

    validate_choice("image set", data, list(DATASETS))
    config = feature_config(data, epochs=epochs, seed=seed, **({"size": parse_size(size)} if size else {}))
    out = out or Path("runs") / f"features-{data}"
    with FetchDisplay() as fetching, TrainingDisplay(out) as display:
        folder = run(config, out, resume=resume, root=data_root, callbacks=display.callbacks(), fetch_progress=fetching)
    weights = install_classifier(folder, install or writable_feature_folder(data_root))
    say(f"test accuracy: {100 * folder.metrics()[-1]['validation']['accuracy']:.2f}%", f"written: {weights}")
