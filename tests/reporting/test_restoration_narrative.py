"""Sentences about restoration experiments."""

import pytest

from logcosh_vae.reporting.restoration_narrative import introduction


@pytest.mark.parametrize("key", ["crop_size", "patch"])
def test_results_with_the_former_name_of_the_crop_size_are_read(key: str) -> None:
    results = {
        "profile": "smoke",
        "rows": [{"seeds": [0], "config": {"epochs": 2, "steps": 50, "batch_size": 16, key: 64}}],
        "images": {"train": {"used": 20, "held": 2}, "test": {"used": 3, "complete": 100}},
        "side": None,
    }
    assert "100 steps of 16 patches of 64x64 pixels" in introduction(results)
