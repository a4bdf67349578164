"""Rows of the GPU script's results: their keys and order, where they come from, and which may stand in one file.

`benchmarks/gpu.py` records rows in the order in which runs finish, over several sessions and cards. The functions here
put them into the declared order, keep each row's origin, and name what forbids joining two sets of rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..base.errors import DataError
from ..base.records import from_json, to_json
from ..base.versions import OF_AUTOENCODERS, OF_RESTORATION, numerics
from ..experiments.extension import SAME, same_field
from ..experiments.results import ExperimentResults, StudyResults
from ..paper.registry import EXPERIMENTS
from ..restoration.config import RestorationConfig, resolve_restoration
from ..training.config import TrainConfig, resolve
from . import gpu

Key = tuple[Any, ...]
"""Identifies a row within its result."""

Row = dict[str, Any]
Result = dict[str, Any]

TESTS, BENCH = "gpu-tests", "bench-gpu"
MEASURED = ("table3", "table4", *(f"figure{number}" for number in range(2, 11)), "likelihood-faces")
"""Tables, figures and studies that the script measures or draws."""

ORIGIN = ("accelerator", "machine", "torch", "commit", "numerics")
"""Fields of a row that say where it was measured."""


def key_of(row: Mapping[str, Any]) -> Key:
    """The key of a row: card and name of a timing or a test; configuration of a trained run, on whatever card."""
    names = ("accelerator", "what") if "what" in row else ("data", "model", "task", "loss", "a", "weight")
    objective = (row.get("config") or {}).get("objective") or {}
    return tuple(row.get(name) for name in names) + _learned(objective.get)


def key_of_config(config: TrainConfig) -> Key:
    """The key of the row of a resolved config."""
    objective = config.objective
    key = (config.data.name, config.model_name, None, objective.loss, objective.a, objective.reconstruction_weight)
    return key + _learned(lambda name: getattr(objective, name))


def _learned(value_of: Callable[[str], Any]) -> Key:
    """What an objective learns, and its options of the KL divergence; empty for the paper's objectives."""
    values = tuple(map(value_of, ("likelihood", "warmup", "free_bits")))
    return () if values == (None, None, None) else values


def label_of(row: Mapping[str, Any]) -> str:
    """A row's name for messages, such as `vae-conv l1`."""
    if "what" in row:
        return str(row["what"])
    text = f"{row['model']} {row['loss']}"
    return text if row.get("a") is None else f"{text} a={row['a']:g}"


@cache
def declared_keys(name: str) -> tuple[Key, ...]:
    """Keys of a result's rows in the order in which its experiment declares them; of timings without the card.

    Args:
        name: of the result, such as `table3-paper`, `table4-excerpt` or `bench-gpu`; a name without a declared order
            (tests) gives none.
    """
    if name.startswith(BENCH):
        scale = gpu.SMOKE if name.endswith("-smoke") else gpu.Scale()
        return tuple((what,) for what in (*gpu.measures(scale, "cuda"), *gpu.compiled_measures(scale, "cuda")))
    experiment, _, profile = name.rpartition("-")
    if experiment not in MEASURED:
        return ()
    rows = EXPERIMENTS[experiment].experiment("smoke" if profile == "smoke" else "paper").rows
    return tuple(_key_of_declared(row) for row in rows)


def _key_of_declared(row: Any) -> Key:
    if isinstance(row, RestorationConfig):
        restoration = resolve_restoration(row)
        return (restoration.data, "restoration", restoration.task, restoration.loss, restoration.a, 1.0)
    return key_of_config(resolve(row.config))


def in_order(name: str, rows: Iterable[Row]) -> list[Row]:
    """Rows in the declared order, timings and tests card by card; rows that are not declared come last."""
    place = {key: number for number, key in enumerate(declared_keys(name))}

    def rank(row: Row) -> tuple[str, int]:
        key, card = key_of(row), ""
        if "what" in row:
            card, key = str(key[0]), key[1:]
        return card, place.get(key, len(place))

    return sorted(rows, key=rank)


def joined(name: str, old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Rows of both in the declared order; where both have a key, the new row.

    Tests run all together, so those of a card take the place of all that ran on it before, renamed ones included.
    """
    if name.startswith(TESTS):
        cards = {row["accelerator"] for row in new}
        old = [row for row in old if row["accelerator"] not in cards]
    return in_order(name, ({key_of(row): row for row in old} | {key_of(row): row for row in new}).values())


def origin_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The fields `ORIGIN` of a row that was measured in an environment (see `base.environment.describe`)."""
    origin = {
        "accelerator": environment.get("accelerator"),
        "machine": f"{environment.get('machine')}, {environment.get('cores')} cores",
        "torch": (environment.get("versions") or {}).get("torch"),
        "commit": environment.get("commit"),
    }
    return origin | ({"numerics": environment["numerics"]} if "numerics" in environment else {})


def with_origin(result: Mapping[str, Any]) -> Result:
    """The result with an origin in every row; rows of older files, which lack it, take it from the environment."""
    origin = origin_of(result.get("environment") or {})
    return {**result, "rows": [{**origin, **row} for row in result["rows"]]}


def _numerics(row: Mapping[str, Any]) -> dict[str, int]:
    """Versions that decide a row's numbers; none of a timing, or of a row from before they were recorded."""
    if "what" in row:
        return {}
    names = OF_RESTORATION if row.get("task") else OF_AUTOENCODERS
    recorded = row.get("numerics") or {}
    return {name: recorded[name] for name in names if name in recorded}


def is_current(row: Mapping[str, Any]) -> bool:
    """Whether this code would give the row's numbers; a row from before versions were recorded counts as current."""
    return _numerics(row).items() <= numerics().items()


def length_of(row: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Epochs of a trained row, and steps of an epoch where the config has them."""
    config = row.get("config") or {}
    return config.get("epochs"), config.get("steps")


def conflict(name: str, known: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What forbids that rows of both stand in one result, as a list of words; empty where nothing does.

    Rows of `known` that `new` replaces do not matter. Fields that one of both lacks are not compared, so that a
    trained network that is not measured yet can be checked, too.
    """
    replaced = {key_of(row) for row in new["rows"]}
    kept = [row for row in known["rows"] if key_of(row) not in replaced]
    if not kept or not new["rows"]:
        return ""
    differing = [field for field in SAME if not same_field(field, known.get(field), new.get(field))]
    versions = [_numerics(row) for row in (*kept, *new["rows"])]
    if any(one.get(key, value) != value for one in versions for other in versions for key, value in other.items()):
        differing.append("numerics")
    if name.endswith("-excerpt") and len({length_of(row) for row in (*kept, *new["rows"])}) > 1:
        differing.append("epochs or steps")
    return ", ".join(differing)


def is_finite(value: Any) -> bool:
    """Whether no number anywhere in a JSON value is infinite or not a number."""
    if isinstance(value, Mapping):
        return all(map(is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def check_results(value: Any, path: Path) -> dict[str, Result]:
    """The content of the script's `results.json`, each row with its origin.

    Raises:
        DataError: it is not what the script writes; the message names the file and the entry.
    """
    if not isinstance(value, dict):
        raise DataError(f"{path} is not a file of benchmarks/gpu.py: it holds no object of results")
    for name, result in value.items():
        if problem := _problem(name, result):
            raise DataError(f"{path} is not a file of benchmarks/gpu.py, or is damaged: {name!r} {problem}")
    return {name: with_origin(result) for name, result in value.items()}


def layout_of(name: str, values: Mapping[str, Any]) -> Result:
    """A complete result in the layout of `results/`, as plain JSON values.

    Raises:
        RecordError: it is not such a result.
    """
    kind: Any = StudyResults if name.startswith((TESTS, BENCH)) else ExperimentResults
    result: Result = to_json(from_json(kind, values))
    return result


def _problem(name: str, result: Any) -> str:
    """What is wrong with an entry, to be put after its name; empty where nothing is."""
    if re.fullmatch(r"[a-z0-9-]+", name) is None:
        return "is not the name of a result"
    if not isinstance(result, dict) or not isinstance(result.get("rows"), list):
        return "has no list of rows"
    experiment, profile = result.get("experiment"), result.get("profile")
    if experiment not in (TESTS, BENCH, *MEASURED) or profile not in ("paper", "laptop", "excerpt", "smoke"):
        return f"has the experiment {experiment!r} and the profile {profile!r}"
    if name not in (f"{experiment}-{profile}", experiment):
        return f"holds {experiment}-{profile}"
    if not isinstance(result.get("environment", {}), dict):
        return "has no environment"
    return next((text for row in result["rows"] if (text := _problem_of_row(row, experiment in (TESTS, BENCH)))), "")


def _problem_of_row(row: Any, named: bool) -> str:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in _texts(named)):
        return f"has a row without {' and '.join(_texts(named))}"
    if not all(isinstance(row.get(key), int | float | None) for key in ("a", "weight")):
        return "has a row whose a or weight is not a number"
    if not named and not isinstance(row.get("config"), dict):
        return "has a row without config"
    return ""


def _texts(named: bool) -> tuple[str, ...]:
    return ("what",) if named else ("data", "model", "loss")
