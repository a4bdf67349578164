"""Damaged configurations through the loaders that read them."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import logcosh_vae
from logcosh_vae.base.errors import UserError
from logcosh_vae.base.settings import from_dict, override, to_dict
from logcosh_vae.base.text import message
from logcosh_vae.evaluation.features import load_classifier
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.training import load_restoration
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.session import Callbacks

from .attack import Attack, FailedError, Trial, check_message
from .inputs import environment, make_runs
from .mutations import mutate

NUMBERS = (
    0, 1, -1, 2, 3, 7, 2**31, 2**63, -(2**63), 10**9, 10**30, 10**400, 0.5, -0.0, 1e-308, 1e308, 1e-9, float("nan"),
    float("inf"),
)  # fmt: skip
TEXTS = (
    "", "mnist", "l2", "cuda", "cuda:99", "meta", "../x", "\x00", "\x1b[31m", "é" * 50, "a" * 5_000, "vae", "\u00b2",
    "\u0661", "nan", "1e5", "null",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], {"": 0}, [1, 2], [1e9, 1e9], [2**40] * 3, [1] * 10_000,
)  # fmt: skip


class StopError(Exception):
    """Raised at the first step, which is as far as a config is tried."""


def random_value(draw: random.Random, depth: int = 0) -> Any:
    """Return any JSON value."""
    kind = draw.randrange(5)
    if kind < 2:
        return draw.choice(NUMBERS)
    if kind == 2:
        return draw.choice(TEXTS)
    if kind == 3 and depth < 3:
        return [random_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return deepcopy(draw.choice(OTHERS))


def damaged(values: Any, draw: random.Random) -> Any:
    """Return JSON values with one to three changes somewhere inside."""
    values = deepcopy(values)
    for _ in range(draw.choice([1, 1, 2, 3])):
        node = values
        while isinstance(node, dict) and node:
            key = draw.choice(list(node))
            if isinstance(node[key], dict) and draw.random() < 0.9:
                node = node[key]
                continue
            action = draw.randrange(10)
            if action == 0:
                node.pop(key)
            elif action == 1:
                node[key + draw.choice(["s", "_", "\n", ""])] = random_value(draw)
            elif action == 2:
                deep: Any = 1
                for _ in range(draw.choice([3, 100, 2_000])):
                    deep = [deep] if draw.random() < 0.5 else {"a": deep}
                node[key] = deep
            elif action == 3 and isinstance(node[key], int | float) and abs(node[key]) < 1e300:
                node[key] = draw.choice([node[key] * 10**6, -node[key], node[key] / 3, f"{node[key]}"])
            else:
                node[key] = random_value(draw)
            break
    return values


def prepare(folder: Path) -> Trial:
    """Train one run of each kind; their configs are what is damaged."""
    runs = make_runs(folder)
    root, cards = folder / "data", folder / "data" / "features"
    configs = {name: json.loads((path / "config.json").read_text(encoding="utf-8")) for name, path in runs.items()}
    card_path = next(cards.glob("*.json"))
    card = json.loads(card_path.read_text(encoding="utf-8"))
    os.environ |= environment(folder, root)

    def settings(draw: random.Random, _: Path) -> None:
        resolve(from_dict(TrainConfig, damaged(configs["autoencoder"]["train"], draw)))

    def restoration_settings(draw: random.Random, _: Path) -> None:
        resolve_restoration(from_dict(RestorationConfig, damaged(configs["restoration"]["train"], draw)))

    def overrides(draw: random.Random, _: Path) -> None:
        config = from_dict(TrainConfig, configs["autoencoder"]["train"])
        part = draw.choice([to_dict(config), *[v for v in to_dict(config).values() if isinstance(v, dict)]])
        keys = [*part, "data.size", "model.hidden", "optimizer.betas", "data", "x.y.z", "", "."]
        resolve(override(config, [f"{draw.choice(keys)}={_as_text(random_value(draw), draw)}"]))

    def training(draw: random.Random, place: Path) -> None:
        values = damaged(configs["autoencoder"]["train"], draw)
        config = from_dict(TrainConfig, values)
        config = override(config, ["threads=1"]) if config.threads > 4 else config
        with suppress(StopError):
            train(config, place / "run", root=root, callbacks=Callbacks(on_step=_stop))

    def loading(name: str, load: Callable[[Path], object]) -> Callable[[random.Random, Path], None]:
        def load_damaged(draw: random.Random, place: Path) -> None:
            run = place / "run"
            run.mkdir()
            for file in ("weights.safetensors", "metrics.jsonl", "environment.json"):
                os.link(runs[name] / file, run / file)
            (run / "config.json").write_bytes(_damaged_file(configs[name], draw))
            load(run)

        return load_damaged

    def classifier_card(draw: random.Random, place: Path) -> None:
        shutil.copytree(cards, place / "installed")
        (place / "installed" / card_path.name).write_bytes(_damaged_file(card, draw))
        load_classifier("celeba", (1, 16, 16), root, place / "installed")

    ways = {
        "train config": settings,
        "restoration config": restoration_settings,
        "--set": overrides,
        "first training step": training,
        "config.json of a run": loading("autoencoder", logcosh_vae.load),
        "config.json of a restoration run": loading("restoration", load_restoration),
        "card of a classifier": classifier_card,
    }

    def trial(draw: random.Random, place: Path) -> str:
        name = draw.choice(list(ways))
        try:
            ways[name](draw, place)
        except UserError as error:
            try:
                check_message(message(error))  # as the command prints it
            except FailedError as failed:
                raise FailedError(f"{name}: {failed}") from None
        except Exception as error:
            raise FailedError(f"{name}: {_described(error)}") from error
        return name

    return trial


def _stop(_: object) -> None:
    raise StopError


def _described(error: BaseException) -> str:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}: {str(error)[:200]} ({where})"


def _as_text(value: Any, draw: random.Random) -> str:
    return json.dumps(value) if draw.random() < 0.7 else str(value)


def _damaged_file(values: Any, draw: random.Random) -> bytes:
    """Return a JSON file with other values, or with damaged bytes."""
    if draw.random() < 0.25:
        return mutate(json.dumps(values, indent=2).encode(), draw)[0]
    try:
        return json.dumps(damaged(values, draw)).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b'{"train": ' + b"[" * 100_000


ATTACK = Attack(
    "configs",
    "configurations with other types, ranges, keys and nesting",
    20_000,
    30.0,
    0.12,
    prepare,
    "accepted, or refused in one line, within 2 GiB",
)
