"""Results extended by further seeds equal those of one command, and only results that fit are extended."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logcosh_vae.base import versions
from logcosh_vae.base.errors import RunError, UsageError
from logcosh_vae.experiments.extension import extended, missing_seeds
from logcosh_vae.experiments.results import ExperimentResults, RowResult, Summary, read_results, write_results
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.reporting.narrative import provenance

RESULTS = Path(__file__).parents[2] / "results"

RECORDED = ("likelihood-paper", "table1-paper", "figure10-laptop")
"""Results of three seeds: with densities, with the paper's values, and with a value per picture."""


def _with_seeds(results: ExperimentResults, seeds: Sequence[int]) -> ExperimentResults:
    """Return what a command with only these seeds would have recorded."""

    def take(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[seed] for seed in seeds)

    def summaries(values: Any) -> Any:
        return values and {name: Summary.of(take(each.values)) for name, each in values.items()}

    def lists(values: Any) -> Any:
        return values and {name: take(each) for name, each in values.items()}

    def row(whole: RowResult) -> RowResult:
        return replace(
            whole,
            seeds=take(whole.seeds),
            metrics=summaries(whole.metrics),
            training_seconds=Summary.of(take(whole.training_seconds.values)),
            runs=take(whole.runs),
            test=summaries(whole.test),
            density=summaries(whole.density),
            pictures=lists(whole.pictures),
            validation=lists(whole.validation),
        )

    runs = replace(results.runs, total=len(seeds) * len(results.rows), reused=0)
    return replace(results, rows=tuple(map(row, results.rows)), runs=runs, seconds=10.0 * len(seeds))


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("parts", [([0], [1, 2]), ([0, 1], [2]), ([0], [1], [2])])
def test_parts_make_the_whole(name: str, parts: Sequence[Sequence[int]]) -> None:
    whole = read_results(RESULTS / f"{name}.json")
    joined = _with_seeds(whole, parts[0])
    for part in parts[1:]:
        joined = extended(joined, _with_seeds(whole, part))
    assert joined.rows == whole.rows
    assert (joined.runs.total, joined.seconds) == (3 * len(whole.rows), 30.0)
    assert joined.sessions is not None
    assert [list(session.seeds) for session in joined.sessions] == list(parts)
    assert [session.seconds for session in joined.sessions] == [10.0 * len(part) for part in parts]


def test_every_machine_and_commit_is_named() -> None:
    whole = read_results(RESULTS / "likelihood-paper.json")
    first, second = _with_seeds(whole, [0]), _with_seeds(whole, [1, 2])
    elsewhere = replace(whole.environment, machine="Another processor", commit="0123456789ab")
    text = provenance(extended(first, replace(second, environment=elsewhere)))
    for part in (whole.environment.machine, whole.environment.commit, "Another processor", "0123456789ab", "3 seeds"):
        assert text.count(part) == 1
    assert provenance(extended(first, second)) == provenance(whole)  # one machine and commit are named once


def _missing(results: ExperimentResults, seeds: int = 3) -> range:
    return missing_seeds(results, EXPERIMENTS[results.experiment].experiment(results.profile), seeds, "the file")


def test_missing_seeds_follow_the_recorded_ones() -> None:
    whole = read_results(RESULTS / "likelihood-paper.json")
    assert _missing(_with_seeds(whole, [0])) == range(1, 3)
    assert _missing(_with_seeds(whole, [0, 1])) == range(2, 3)
    assert _missing(whole, 5) == range(3, 5)


def test_results_that_do_not_fit_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_results(RESULTS / "likelihood-paper.json")
    first = _with_seeds(whole, [0])
    with pytest.raises(UsageError, match="the file holds 3 seeds already"):
        _missing(whole)
    with pytest.raises(UsageError, match="other rows"):
        _missing(replace(first, rows=first.rows[1:]))
    with pytest.raises(UsageError, match="other rows"):
        _missing(replace(first, profile="laptop"))
    with pytest.raises(UsageError, match="seeds 0, 1"):
        _missing(_with_seeds(whole, [1, 2]))
    with pytest.raises(UsageError, match="nothing is trained"):
        _missing(read_results(RESULTS / "figure1-laptop.json"))
    monkeypatch.setattr(versions, "RESTORATION", versions.RESTORATION + 1)
    assert _missing(first) == range(1, 3)  # autoencoders do not depend on it
    monkeypatch.setattr(versions, "TRAINING", versions.TRAINING + 1)
    with pytest.raises(UsageError, match="in another way"):
        _missing(first)


@pytest.mark.parametrize("field", ["features", "evaluation", "real"])
def test_seeds_that_were_measured_differently_do_not_stand_in_one_table(field: str) -> None:
    whole = read_results(RESULTS / "likelihood-paper.json")
    other: Any = {
        "features": replace(whole.features, fingerprint="0" * 12),  # type: ignore[type-var]
        "evaluation": replace(whole.evaluation, fid_images=500),  # type: ignore[type-var]
        "real": replace(whole.real, count=500),  # type: ignore[type-var]
    }
    with pytest.raises(RunError, match=f"{field} of the new seeds differ"):
        extended(_with_seeds(whole, [0]), replace(_with_seeds(whole, [1, 2]), **{field: other[field]}))


def test_layouts_of_extended_results_are_read_again(tmp_path: Path) -> None:
    whole = read_results(RESULTS / "figure10-laptop.json")
    joined = extended(_with_seeds(whole, [0]), _with_seeds(whole, [1, 2]))
    write_results(joined, tmp_path / "extended.json")
    assert read_results(tmp_path / "extended.json") == joined
    assert "sessions" not in json.loads((RESULTS / "figure10-laptop.json").read_text())
