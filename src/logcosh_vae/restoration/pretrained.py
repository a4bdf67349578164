"""Restoration networks that come with the package: weights in half precision, each with a card.

The card is a JSON file with the config, the training images, the validation metrics and the environment of the
training.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ..base.errors import RunError
from ..base.files import atomic_write, one_line, read_json, write_json
from ..base.settings import to_dict
from ..evaluation.features import fingerprint
from ..training.run_folder import RunFolder
from .network import RestorationNetwork
from .training import load_restoration

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

PRETRAINED_TASKS = {"text": "text", "captions": "text", "lines": "text"}
"""The task of each network by name. `captions` was trained with the setting of that name, and `lines` with a hint, for
lines that are found: without the search it mistakes more for text than `captions`."""

_RENAMED = {"load_shipped": "load_pretrained"}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{name} is now called {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]


def load_pretrained(name: str) -> tuple[RestorationNetwork, dict[str, Any]]:
    """Load a network that comes with the package, and its card.

    Args:
        name: a key of `PRETRAINED_TASKS`.

    Returns:
        The network, in evaluation mode on the CPU, and its card.

    Raises:
        RunError: there is no such network, or its weights do not match the fingerprint in its card.
    """
    if name not in PRETRAINED_TASKS:
        raise RunError(
            f"no network for {name!r} comes with the package; train one with 'logcosh-vae restore --train "
            f"--task {name} --data FOLDER --out RUN' and use it with --model RUN"
        )
    weights = WEIGHTS_FOLDER / f"{name}.safetensors"
    try:
        card: dict[str, Any] = read_json(weights.with_suffix(".json"))
        network = RestorationNetwork(**card["network"])
        network.load_state_dict({key: value.float() for key, value in safetensors.torch.load_file(weights).items()})
        if (actual := fingerprint(network)) != card["fingerprint"]:
            raise ValueError(f"the fingerprint is {actual} but its card has {card['fingerprint']}")
    except Exception as error:
        raise RunError(f"{weights} cannot be used: {one_line(error)}; reinstall logcosh-vae") from error
    return network.eval(), card


def save_pretrained(run: Path, folder: Path = WEIGHTS_FOLDER) -> Path:
    """Write the weights of a finished run in half precision, and their card.

    Returns:
        The path of the weights in `folder`: `lines.safetensors` for a run with a hint, `captions.safetensors` for one
        with that setting, else named by the task.

    Raises:
        RunError: see `load_restoration`.
    """
    network, config = load_restoration(run)
    network.likelihood = None  # needed in training only
    halves = {name: value.to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    network.load_state_dict({name: value.float() for name, value in halves.items()})
    folder.mkdir(parents=True, exist_ok=True)
    name = "lines" if config.hint else "captions" if config.captions else config.task
    path = folder / f"{name}.safetensors"
    with atomic_write(path) as temporary:
        safetensors.torch.save_file(halves, temporary)
    values = RunFolder(run).config()
    write_json(
        path.with_suffix(".json"),
        {
            "network": {key: value for key, value in to_dict(config.architecture).items() if value},
            "fingerprint": fingerprint(network),
            "train": values["train"] | {"data": Path(config.data).name},
            "start": values.get("start"),
            "images": values["images"],
            "validation": RunFolder(run).metrics()[-1]["validation"],
            "environment": read_json(RunFolder(run).path / "environment.json"),
        },
    )
    return path
