"""The verbs that train one network: `train` for autoencoders, `train-features` for the feature networks of the FID."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import UsageError
from ..base.launch import rank_and_world_size
from ..base.text import path_word
from .options import (
    WITH_AUTO,
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
    Track,
    app,
    parse_size,
    trackers,
    train_config,
)
from .streams import inform, say, silenced

if TYPE_CHECKING:
    from ..training.config import TrainConfig


NAMES = ("data", "model", "loss", "likelihood")
"""Options that decide which values are the paper's."""


@app.command()
def train(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder to create; required.", show_default=False)
    ] = None,
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[str, typer.Option("--loss", help=f"Reconstruction loss: {WITH_AUTO}.")] = "log-cosh",
    a: A = None,
    likelihood: LikelihoodChoice = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    size: Size = None,
    tiles: Tiles = False,
    device: Device = None,
    resume: Resume = False,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Take the configuration from a file: config.json of a run, or JSON or TOML with the same keys. Other "
            "options that are given replace its values. By default none.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration as JSON; do not train.")
    ] = False,
    track: Track = None,
    data_root: DataRoot = None,
) -> None:
    """Train an autoencoder.

    Writes a run folder with the configuration, the losses of every epoch, the weights and samples drawn on the way.
    To train on several GPUs or machines, start the command with torchrun.
    """
    tracker_names = trackers(track)
    from ..base.settings import override, to_dict
    from ..training.autoencoder import train as run
    from ..training.config import resolve
    from ..training.defaults import RECOMMENDED
    from ..training.tracking import Tracking
    from .terminal import FetchDisplay, TrainingDisplay

    values = {"data": data, "model": model, "loss": loss, "a": a, "likelihood": likelihood, "size": size}
    values |= {"tiles": tiles, "device": device, "epochs": epochs, "seed": seed}
    if config_file is None:
        config = train_config(**values)  # type: ignore[arg-type]
    else:
        config = _with_options(config_file, {name: value for name, value in values.items() if _is_given(context, name)})
    config = override(config, settings or [])
    if print_config:
        say(*json.dumps(to_dict(resolve(config)), indent=2).splitlines())
        return
    if out is None:
        raise UsageError("--out is missing: name the run folder to create")
    is_main_process = rank_and_world_size()[0] == 0
    with (
        FetchDisplay() as fetching,
        TrainingDisplay(out) as display,
        silenced() if track else nullcontext(),
        Tracking(out, tracker_names if is_main_process else (), display.note) as tracking,
    ):
        callbacks = tracking.callbacks(display.callbacks())
        run(config, out, resume=resume, root=data_root, callbacks=callbacks, fetch_progress=fetching)
    if is_main_process:
        inform(*(f"{name}: {hint}" for name, hint in tracking.hints.items()))
        learned = resolve(config).objective.likelihood is not None
        prior = f" --prior {RECOMMENDED.prior}" if learned else ""
        inform(f"run: {out}", f"to evaluate it: logcosh-vae evaluate {path_word(out)}{prior}")


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _with_options(path: Path, given: Mapping[str, Any]) -> TrainConfig:
    """The configuration in a file, with the options that stand on the command line.

    If the image set, the model, the loss or the likelihood is replaced, values of the file that are the paper's for the
    former one become the paper's for the new one.
    """
    from dataclasses import replace

    from ..training.config import FIXED
    from ..training.config_file import read_config, without_defaults
    from ..training.defaults import AUTO

    former = read_config(path)
    names = {
        "data": former.data.name,
        "model": former.model_name,
        "loss": former.objective.loss,
        "likelihood": former.objective.likelihood,
    }
    named = {**names, **{name: given[name] for name in NAMES if name in given}}
    if given.get("loss") == AUTO and "likelihood" not in given:
        named["likelihood"] = None  # it belongs to what AUTO stands for
    config = former if named == names else without_defaults(former)
    keeps_a = named["loss"] == names["loss"] and (named["likelihood"] or FIXED) == (names["likelihood"] or FIXED)
    chosen = train_config(
        a=given.get("a"),
        size=given.get("size"),
        tiles=given.get("tiles", False),
        device=given.get("device"),
        **named,
    )
    objective, data = chosen.objective, replace(config.data, name=chosen.data.name)
    if "size" in given:
        data = replace(data, size=chosen.data.size)
    if "tiles" in given:
        data = replace(data, tiles=chosen.data.tiles)
    return replace(
        config,
        data=data,
        model=replace(config.model, family=chosen.model.family, network=chosen.model.network),
        objective=replace(
            config.objective,
            loss=objective.loss,
            a=objective.a if "a" in given or not keeps_a else config.objective.a,
            likelihood=objective.likelihood,
        ),
        **{name: given[name] for name in ("epochs", "seed", "device") if name in given},
    )


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
