"""The application, the options that several verbs share, and the functions that interpret their values."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from ..base.errors import UsageError
from ..training.defaults import AUTO, RECOMMENDED

if TYPE_CHECKING:
    from ..training.config import TrainConfig

VERBS = (
    *("train", "evaluate", "sample", "reconstruct", "interpolate", "explore", "compare", "reproduce", "restore"),
    *("models", "save", "export"),
)
"""The order of the verbs in `--help`; verbs that are not named here come last."""


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, context: Any) -> list[str]:
        registered = super().list_commands(context)
        return sorted(registered, key=lambda verb: VERBS.index(verb) if verb in VERBS else len(VERBS))


app = typer.Typer(
    name="logcosh-vae",
    cls=_InOrder,
    help="Train, evaluate and compare autoencoders with the log-cosh reconstruction loss, and reproduce the paper.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def loss_names() -> list[str]:
    """The names of the registered losses, read from the source of the registry: importing it would import torch."""
    registry = ast.parse((Path(__file__).parents[1] / "losses" / "registry.py").read_text(encoding="utf-8"))
    (losses,) = (
        node.value
        for node in registry.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "LOSSES"
    )
    assert isinstance(losses, ast.Dict)
    return [key.value for key in losses.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]


LOSS_CHOICE = " | ".join(loss_names())
"""The values of `--loss`, for help texts."""

WITH_AUTO = (
    f"{LOSS_CHOICE} | {AUTO} (for unknown images: {RECOMMENDED.loss} with learned "
    f"{RECOMMENDED.likelihood.replace('+', ' and ')})"
)
"""The values of `--loss` with `auto` and what it stands for, for help texts."""


class Profile(StrEnum):
    """The scale of an experiment: the paper's, one for a laptop, or a test of a few seconds."""

    paper = "paper"
    laptop = "laptop"
    smoke = "smoke"


# what to train on and with
Data = Annotated[
    str, typer.Option("--data", help="Image set: mnist | fashion-mnist | celeba | PATH of a folder or zip file.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder that holds the image sets; by default $LOGCOSH_VAE_DATA, else a folder in the user's cache.",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Height and width that images are resized to, e.g. 64 or 96x64; 64 by default. Not for mnist and "
        "fashion-mnist.",
        show_default=False,
    ),
]
Tiles = Annotated[
    bool,
    typer.Option("--tiles", help="Cut photographs into squares of --size at their own resolution; do not resize them."),
]
Model = Annotated[str, typer.Option("--model", help="vae-mlp | vae-conv | wae-mlp | wae-conv")]
A = Annotated[
    float | None,
    typer.Option("--a", help="Parameter a of log-cosh; the paper's value by default.", show_default=False),
]
LikelihoodChoice = Annotated[
    str | None,
    typer.Option(
        "--likelihood",
        help="What is learned of the likelihood: fixed (nothing, as in the paper; the default) | scale | scale+shape "
        "(the shape of log-cosh).",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", help="Epochs of training; the paper's number by default.", show_default=False)
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of all random numbers.")]
Device = Annotated[
    str | None, typer.Option("--device", help="auto | cpu | cuda | cuda:N | mps; cpu by default.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any value of the configuration, e.g. optimizer.learning_rate=3e-4; repeatable. Others keep their "
        "defaults.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        help="Send metrics and pictures to an experiment tracker as well: tensorboard | wandb | mlflow | trackio; "
        "repeatable. By default to none.",
        show_default=False,
    ),
]

# experiments of several runs
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Runs of each row, with seeds 0, 1, ...")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler", help="Train on a Dask cluster, e.g. tcp://HOST:8786; by default here.", show_default=False
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, max=1024, help="Runs to train at the same time; one per core by default.", show_default=False
    ),
]

# trained models and the pictures made with them
Prior = Annotated[
    str,
    typer.Option(
        "--prior",
        help="Where codes are drawn from: standard (the prior) | gaussian | mixture (fitted to training codes).",
    ),
]


def model_names(incomplete: str) -> list[str]:
    """The names of models that a shell may offer."""
    from ..training.model_names import named_models

    return [name for name in named_models() if name.startswith(incomplete)]


def model_folder(run: Path) -> Path:
    """The folder of the model that an argument names: a folder, or a model of the package."""
    from ..training.model_names import find_model

    return find_model(run)


def model_folders(runs: list[Path]) -> list[Path]:
    """`model_folder` of several arguments."""
    return [model_folder(run) for run in runs]


Run = Annotated[
    Path,
    typer.Argument(
        help="Run folder, folder of a pretrained model, or name of a model ('logcosh-vae models' lists them).",
        callback=model_folder,
        autocompletion=model_names,
        show_default=False,
    ),
]
PngOut = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="PNG file to write; by default a file in the run folder, or here for a pretrained model.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


MAX_DIGITS = 9
"""Digits of the largest size or position in pixels that an option takes."""


def parse_size(text: str) -> tuple[int, ...]:
    """The numbers in `64` or `96x64` (height by width).

    Raises:
        UsageError: the text has another form.
    """
    numbers = whole_numbers(text.lower().split("x"))
    if numbers is None or len(numbers) > 2 or 0 in numbers:
        raise UsageError(f"--size {text}: write it as 64 or as 96x64 (height by width)")
    return numbers


def whole_numbers(parts: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers that the parts are; None if one of them is not made of at most `MAX_DIGITS` of the digits 0 to 9."""
    stripped = [part.strip() for part in parts]
    if not all(part.isascii() and part.isdecimal() and len(part) <= MAX_DIGITS for part in stripped):
        return None
    return tuple(map(int, stripped))


def image_set(name: str) -> str:
    """The name of a known image set, or the absolute path of a folder or zip file.

    The path is absolute because it goes into the configuration of a run, which can be resumed from any folder.
    """
    from ..base.settings import validate_choice
    from ..data import DATASETS, TEXT_REMOVAL, is_path

    if is_path(name) or name == TEXT_REMOVAL:
        return name if name == TEXT_REMOVAL else str(Path(name).resolve())
    return validate_choice("--data", name, (*DATASETS, "a folder or zip file"))


def picture_set(name: str) -> str:
    """The training data of a restoration network: `text-removal`, or the absolute path of a folder or zip file."""
    from ..base.settings import validate_choice
    from ..data import TEXT_REMOVAL

    path = Path(name).expanduser()
    if name and (path.exists() or "/" in name):
        return str(path.resolve())
    return validate_choice("--data", name, (TEXT_REMOVAL, "a folder or zip file"))


def check_a(losses: Sequence[str], a: float | None, *, takes_auto: bool = False) -> None:
    """Check the values of `--loss`, and that one of the losses has the parameter `--a` if it is given.

    Args:
        losses: values of `--loss`.
        a: value of `--a`.
        takes_auto: whether `auto` is one of the choices.

    Raises:
        ConfigError: a loss is unknown (the message suggests the nearest), or none of them has the parameter.
    """
    from ..base.errors import ConfigError
    from ..base.settings import validate_choice
    from ..losses import LOSSES

    for loss in losses:
        validate_choice("--loss", loss, [*LOSSES, *([AUTO] if takes_auto else [])])
    if a is not None and not any(LOSSES[loss].takes_a for loss in losses if loss != AUTO):
        owners = [name for name, kind in LOSSES.items() if kind.takes_a]
        raise ConfigError(f"--a belongs to {_listed(owners)}, but --loss is {_listed(losses)}; leave out --a")


def a_for(loss: str, a: float | None) -> float | None:
    """The value of `--a` for a loss with this parameter, None for others."""
    from ..losses import LOSSES

    return a if loss != AUTO and LOSSES[loss].takes_a else None


def likelihood_for(loss: str, likelihood: str | None) -> str | None:
    """The value of `--likelihood` for one of several losses: without the shape where there is none, None for `auto`."""
    from ..losses import LOSSES
    from ..training.config import LEARNED

    if loss == AUTO:
        return None
    kind = LOSSES[loss].likelihood
    has_shape = kind is None or kind.takes_shape
    return LEARNED[0] if likelihood == LEARNED[1] and not has_shape else likelihood


def fitted_priors(prior: str) -> tuple[str, ...] | None:
    """The densities to fit that `standard | gaussian | mixture | all` stands for; None for the prior alone.

    Raises:
        ConfigError: it is none of these.
    """
    from ..base.settings import validate_choice
    from ..models.density import PRIORS

    validate_choice("--prior", prior, (*PRIORS, "all"))
    return PRIORS[1:] if prior == "all" else tuple({prior} - {PRIORS[0]}) or None


def trackers(names: list[str] | None) -> tuple[str, ...]:
    """The values of `--track`, checked.

    Raises:
        ConfigError, UsageError: a name is unknown, or its library is not installed.
    """
    if not names:
        return ()
    from ..base.errors import MissingPackageError
    from ..training.trackers import check_trackers

    try:
        return check_trackers(names)
    except MissingPackageError as error:
        raise UsageError(str(error)) from None


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)


def train_config(
    data: str,
    model: str,
    loss: str,
    a: float | None,
    *,
    likelihood: str | None = None,
    size: str | None = None,
    tiles: bool = False,
    device: str | None = None,
    **values: Any,
) -> TrainConfig:
    """The training configuration that the options describe.

    Args:
        likelihood: what is learned of the likelihood; None for the default.
        values: further fields of `TrainConfig`, such as `epochs`.

    Raises:
        ConfigError: a name is unknown (the message suggests the nearest), or `a` is given for another loss.
    """
    from ..base.settings import validate_choice
    from ..models.autoencoder import MODELS
    from ..models.networks import NETWORKS
    from ..training.config import FIXED, LEARNED, DataConfig, ModelConfig, ObjectiveConfig, TrainConfig

    if likelihood is not None:
        validate_choice("--likelihood", likelihood, (FIXED, *LEARNED))
    validate_choice("--model", model, [f"{family}-{network}" for family in MODELS for network in NETWORKS])
    check_a([loss], a, takes_auto=True)
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(image_set(data), size=parse_size(size) if size else None, tiles=tiles or None),
        model=ModelConfig(family, network),
        objective=ObjectiveConfig(loss, a, likelihood=likelihood),
        device="cpu" if device is None else device,
        **values,
    )
