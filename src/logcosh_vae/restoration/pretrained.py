"""Restoration networks that come with the package, in half precision, each with a card that says how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ..base.errors import RunError
from ..base.files import atomic_write, one_line, read_json, write_json
from ..evaluation.features import fingerprint
from ..training.run_folder import RunFolder
from .network import RestorationNetwork
from .training import load_restoration

FOLDER = Path(__file__).parent / "weights"

TASKS = {"text": "text", "captions": "text"}
"""Of the networks by name: that of a task has its name, `captions` is trained with the setting of that name."""


def load_shipped(name: str) -> tuple[RestorationNetwork, dict[str, Any]]:
    """A network by its name or its task's, in evaluation mode, and its card.

    Raises:
        RunError: there is none, or its weights are not those its card names.
    """
    if name not in TASKS:
        raise RunError(
            f"no network for {name!r} comes with the package; train one with 'logcosh-vae restore --train "
            f"--task {name} --data FOLDER --out RUN' and use it with --model RUN"
        )
    weights = FOLDER / f"{name}.safetensors"
    try:
        card: dict[str, Any] = read_json(weights.with_suffix(".json"))
        network = RestorationNetwork(**card["network"])
        network.load_state_dict({name: value.float() for name, value in safetensors.torch.load_file(weights).items()})
        found = fingerprint(network)
        if found != card["fingerprint"]:
            raise ValueError(f"fingerprint is {found}, its card says {card['fingerprint']}")
    except Exception as error:
        raise RunError(f"{weights} cannot be used: {one_line(error)}") from error
    return network.eval(), card


def ship(run: Path, folder: Path = FOLDER) -> Path:
    """Write a finished run's weights, rounded to half precision, and their card into `folder`; the weights' path."""
    network, config = load_restoration(run)
    halves = {name: value.to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    network.load_state_dict({name: value.float() for name, value in halves.items()})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{'captions' if config.captions else config.task}.safetensors"
    with atomic_write(path) as aside:
        safetensors.torch.save_file(halves, aside)
    values = RunFolder(run).config()
    write_json(
        path.with_suffix(".json"),
        {
            "network": {"widths": list(config.widths), "blocks": config.blocks},
            "fingerprint": fingerprint(network),
            "train": values["train"] | {"data": Path(config.data).name},
            "start": values.get("start"),
            "images": values["images"],
            "validation": RunFolder(run).metrics()[-1]["validation"],
            "environment": read_json(RunFolder(run).path / "environment.json"),
        },
    )
    return path
