"""The application, and the options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..config import TrainConfig

app = typer.Typer(
    name="logcosh-vae",
    help="Auto-encoders with the log-cosh reconstruction loss: train, compare, measure, reproduce the paper.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Profile(StrEnum):
    """How large an experiment is run."""

    paper = "paper"
    laptop = "laptop"
    smoke = "smoke"


class UsageError(Exception):
    """The command cannot be understood as typed."""


DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of image sets; else LOGCOSH_VAE_DATA, else the user's cache."),
]
Data = Annotated[str, typer.Option("--data", help="mnist | fashion-mnist")]
Model = Annotated[str, typer.Option("--model", help="vae-mlp | vae-conv | wae-mlp | wae-conv")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any config value, dotted; repeatable.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="The paper's number by default.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0)]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs at once; all cores by default.", show_default=False)
]


def train_config(data: str, model: str, loss: str, a: float | None, **values: Any) -> TrainConfig:
    """The config that the options name; `ConfigError` with the nearest name for one that is unknown."""
    from ..config import ConfigError, DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, choose
    from ..data import DATASETS
    from ..losses import LOSSES
    from ..models import MODELS
    from ..networks import NETWORKS

    names = [f"{family}-{network}" for family in MODELS for network in NETWORKS]
    for key, value, known in (
        ("--data", data, list(DATASETS)),
        ("--model", model, names),
        ("--loss", loss, list(LOSSES)),
    ):
        choose(key, value, known)
    if a is not None and loss != "log-cosh":
        raise ConfigError(f"--a belongs to log-cosh; --loss is {loss}")
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(data),
        model=ModelConfig(family, network),
        objective=ObjectiveConfig(loss, a),
        **values,
    )
