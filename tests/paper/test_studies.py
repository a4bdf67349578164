"""The scripts in `studies/` build the configs that they name."""

import importlib
from pathlib import Path

import pytest

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def test_celeba_study_varies_one_setting_of_the_laptop_profile_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STUDIES))
    study = importlib.import_module("celeba_study")
    configs = study.configs()
    assert len(configs) == 2 * len(study.SETTINGS) + 1 + len(study.A_VALUES)
    assert {config.epochs for config in configs} == {24}
    assert [config.objective.a for config in configs[-len(study.A_VALUES) :]] == list(study.A_VALUES)
    assert {(config.batch_size, config.optimizer.learning_rate) for config in configs[:-4]} == set(study.SETTINGS)
