"""Records: reading inverts writing, older layouts are converted, and errors name the file and the key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.soak.record import SoakResults

from logcosh_vae.base.errors import DamagedJsonError, RecordError
from logcosh_vae.base.records import (
    SCHEMA_VERSION,
    free,
    from_json,
    optional,
    read_record,
    renamed,
    to_json,
    write_record,
)
from logcosh_vae.bench.records import BenchResults
from logcosh_vae.evaluation.records import RunEvaluation
from logcosh_vae.experiments.results import ExperimentResults, StudyResults, Summary, read_results

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*.json"))


@dataclass(frozen=True)
class Point:
    x: float
    y: float | None
    label: str | None = optional()


@dataclass(frozen=True)
class Curve:
    points: tuple[Point, ...]
    names: Mapping[str, tuple[int, ...]]
    closed: bool
    colour: str = renamed("color", default="black")
    more: Mapping[str, Any] = free()


numbers = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, numbers, st.none() | numbers, st.none() | st.text())
curves = st.builds(
    Curve,
    st.lists(points).map(tuple),
    st.dictionaries(st.text(), st.lists(st.integers()).map(tuple)),
    st.booleans(),
    st.text(),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers()),
)


@given(curves)
def test_record_is_read_as_it_was_written(curve: Curve) -> None:
    assert from_json(Curve, json.loads(json.dumps(to_json(curve)))) == curve


def test_missing_optional_fields_are_left_out_and_free_keys_are_top_level() -> None:
    curve = Curve((Point(1.0, None),), {}, closed=True, more={"author": "me"})
    assert to_json(curve) == {
        "points": [{"x": 1.0, "y": None}],
        "names": {},
        "closed": True,
        "colour": "black",
        "author": "me",
    }


def test_former_key_is_read() -> None:
    assert from_json(Curve, {"points": [], "names": {}, "closed": False, "color": "red"}).colour == "red"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"points": [], "names": {}}, "closed"),
        ({"points": [{"x": "1", "y": None}], "names": {}, "closed": True}, r"points\[0\]\.x must be float; got '1'"),
        ({"points": [{"x": 1, "y": 2, "z": 3}], "names": {}, "closed": True}, r"unknown key 'z' in points\[0\]"),
        ({"points": {}, "names": {}, "closed": True}, "points must be"),
        ({"points": [], "names": {"a": [True]}, "closed": True}, r"names\.a\[0\] must be int; got True"),
        ({"points": [{"x": 10**400, "y": None}], "names": {}, "closed": True}, r"points\[0\]\.x must be finite"),
        ({"points": [{"x": math.nan, "y": None}], "names": {}, "closed": True}, r"points\[0\]\.x must be finite"),
        ([], "must be an object"),
    ],
)
def test_error_names_file_and_key_of_a_wrong_value(values: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError, match=message) as caught:
        read_record(Curve, path)
    assert str(caught.value).startswith(str(path))


def test_any_changed_character_of_a_sealed_file_is_noticed(tmp_path: Path) -> None:
    path, point = tmp_path / "point.json", Point(0.12345, -6.0, "a b")
    write_record(point, path, sealed=True)
    assert read_record(Point, path, sealed=True) == point
    content = path.read_bytes()
    for position, bit in product(range(len(content)), range(8)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
        try:
            found = read_record(Point, path, sealed=True)
        except (RecordError, DamagedJsonError):
            continue
        assert found == point, f"bit {bit} of byte {position}"
    write_record(point, path)
    with pytest.raises(RecordError, match="does not match its digest"):
        read_record(Point, path, sealed=True)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_rejected(number: float) -> None:
    with pytest.raises(RecordError, match="must be finite"):
        to_json(Point(number, None))
    with pytest.raises(RecordError, match="not finite"):
        Summary.of([1.0, number])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_results_have_the_current_layout(path: Path) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["schema_version"] == SCHEMA_VERSION
    is_bench = "threads" in values and "against" in values["rows"][0]
    kinds = {"attacks": SoakResults, "title": ExperimentResults}
    kind = next((kinds[key] for key in kinds if key in values), BenchResults if is_bench else StudyResults)
    assert to_json(read_record(kind, path)) == values


def test_results_and_evaluations_of_version_0_1_are_converted() -> None:
    environment = {"machine": "m", "cores": 2, "accelerator": None, "versions": {}, "commit": "c", "code": "d"}
    summary = {"mean": 1.0, "std": None, "values": [1.0]}
    row = {
        "data": "mnist",
        "model": "vae-mlp",
        "loss": "l2",
        "a": None,
        "weight": 1.0,
        "seeds": [0],
        "metrics": {"fid": summary},
        "test": {"objective": summary},
        "training_seconds": summary,
        "reported": {},
        "runs": ["run"],
        "config": {"optimizer": {"epsilon": 1e-8, "drops": None}, "objective": {"weight": 1.0}},
    }
    results = from_json(
        ExperimentResults,
        {
            "experiment": "table1",
            "title": "Table 1",
            "profile": "smoke",
            "source": "",
            "rows": [row],
            "environment": environment,
            "workers": 1,
            "runs": {"total": 1, "reused": 0},
            "seconds": 1.0,
            "floor": {"sharpness": 0.1, "count": 10, "fid": 0.5},
            "advice": {"near_0_or_1": 0.9, "loss": "l1", "words": "L1"},
            "images": {"train": {"used": 10, "held": 2}, "test": {"used": 5}},
        },
    )
    assert set(results.rows[0].test or {}) == {"loss"}
    assert results.rows[0].config == {
        "optimizer": {"eps": 1e-8, "lr_milestones": None},
        "objective": {"reconstruction_weight": 1.0},
    }
    assert results.fid_floor is not None
    assert results.fid_floor.fid == 0.5
    assert results.images is not None
    assert results.images["train"].held_out == 2
    assert results.environment.more == {"code": "d"}
    evaluation = from_json(
        RunEvaluation,
        {
            "metrics": {"fid": 1.0},
            "test": {"objective": 2.0},
            "features": None,
            "evaluation": {"sharpness_images": 10, "fid_images": 10, "seed": 0, "features": None},
            "real": {"split": "test", "count": 5, "fingerprint": "f"},
            "training_seconds": 1.0,
            "version": 1,
            "environment": environment,
            "seconds": 1.0,
        },
    )
    assert evaluation.test == {"loss": 2.0}


@pytest.mark.parametrize("version", [None, "x", [], 1])
@pytest.mark.parametrize("rows", [None, "x", [None], [{"config": None}]])
def test_damaged_results_are_named(version: Any, rows: Any, tmp_path: Path) -> None:
    values = json.loads((RESULTS[0].parent / "table1-laptop.json").read_text(encoding="utf-8"))
    path = tmp_path / "table1-laptop.json"
    path.write_text(json.dumps(values | {"schema_version": version, "rows": rows}))
    with pytest.raises(RecordError, match=r"table1-laptop\.json"):
        read_results(path)
