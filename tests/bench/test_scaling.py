"""The estimates of `benchmarks/scaling.py` can be computed again and agree with the stored results."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_counted_operations_agree_with_the_stored_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    scaling = importlib.import_module("scaling")
    row = json.loads((ROOT / "results" / "scaling.json").read_text(encoding="utf-8"))["rows"][0]
    counts = scaling.counted(tuple(row["image_shape"]))
    assert counts == {name: row[name] for name in counts}
