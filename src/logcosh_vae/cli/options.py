"""The application, and the options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from ..base.errors import UsageError

if TYPE_CHECKING:
    from ..training.config import TrainConfig

VERBS = ("train", "evaluate", "sample", "reconstruct", "interpolate", "compare", "reproduce", "restore")
"""As help lists them, the usual first; the others follow."""


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, context: Any) -> list[str]:
        there = super().list_commands(context)
        return sorted(there, key=lambda verb: VERBS.index(verb) if verb in VERBS else len(VERBS))


app = typer.Typer(
    name="logcosh-vae",
    cls=_InOrder,
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


DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of image sets; else LOGCOSH_VAE_DATA, else the user's cache."),
]
Data = Annotated[
    str, typer.Option("--data", help="mnist | fashion-mnist | celeba | PATH of a folder or zip file of images")
]
Model = Annotated[str, typer.Option("--model", help="vae-mlp | vae-conv | wae-mlp | wae-conv")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any config value, dotted; repeatable.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="The paper's number by default.", show_default=False)]
Size = Annotated[
    str | None,
    typer.Option("--size", help="HEIGHTxWIDTH, or one number, that pictures are brought to; 64.", show_default=False),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto | cpu | cuda | cuda:N | mps; cpu by default.", show_default=False)
]
Seed = Annotated[int, typer.Option("--seed", min=0)]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs at once; all cores by default.", show_default=False)
]


def parse_size(text: str) -> tuple[int, ...]:
    """`64` or `96x64` (height by width) as numbers."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--size {text}: write it as 64 or as 96x64, height by width")
    return tuple(int(part) for part in parts)


def image_set(name: str) -> str:
    """A known set's name, or the full path of the pictures, which a run finds again from anywhere."""
    from ..base.settings import validate_choice
    from ..data import DATASETS, is_path

    return (
        str(Path(name).resolve())
        if is_path(name)
        else validate_choice("--data", name, (*DATASETS, "a folder or zip file"))
    )


def picture_set(name: str) -> str:
    """For restoration: `text-removal`, or the full path of a folder or zip file of pictures."""
    from ..base.settings import validate_choice
    from ..data import TEXT_REMOVAL

    path = Path(name).expanduser()
    if name and (path.exists() or "/" in name):
        return str(path.resolve())
    return validate_choice("--data", name, (TEXT_REMOVAL, "a folder or zip file"))


def train_config(
    data: str,
    model: str,
    loss: str,
    a: float | None,
    *,
    size: str | None = None,
    device: str | None = None,
    **values: Any,
) -> TrainConfig:
    """The config that the options name; `ConfigError` with the nearest name for one that is unknown."""
    from ..base.errors import ConfigError
    from ..base.settings import validate_choice
    from ..losses import LOSSES
    from ..models.autoencoder import MODELS
    from ..models.networks import NETWORKS
    from ..training.config import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig

    names = [f"{family}-{network}" for family in MODELS for network in NETWORKS]
    for key, value, known in (
        ("--model", model, names),
        ("--loss", loss, list(LOSSES)),
    ):
        validate_choice(key, value, known)
    if a is not None and loss != "log-cosh":
        raise ConfigError(f"--a belongs to log-cosh; --loss is {loss}")
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(image_set(data), size=parse_size(size) if size else None),
        model=ModelConfig(family, network),
        objective=ObjectiveConfig(loss, a),
        device=device or "cpu",
        **values,
    )
