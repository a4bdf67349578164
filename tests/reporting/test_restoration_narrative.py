"""Sentences about restoration experiments."""

import json
from pathlib import Path

from logcosh_vae.base.records import from_json
from logcosh_vae.experiments.results import ExperimentResults
from logcosh_vae.reporting.restoration_narrative import introduction

RESULTS = Path(__file__).parents[2] / "results" / "figure10-laptop.json"


def test_results_of_version_0_1_are_described_like_present_ones() -> None:
    """They called the crop size `patch`, and had no schema version."""
    values = json.loads(RESULTS.read_text(encoding="utf-8"))
    present = introduction(from_json(ExperimentResults, values))
    del values["schema_version"]
    for row in values["rows"]:
        row["config"]["patch"] = row["config"].pop("crop_size")
    assert introduction(from_json(ExperimentResults, values)) == present
    assert "crops of 64x64 pixels" in present
