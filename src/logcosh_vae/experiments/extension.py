"""Extending results by further seeds: the recorded ones are kept, and only the missing ones are trained.

A study of many hours can so be made of several commands, on several machines, without moving run folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..base.errors import ConfigError, RecordError, RunError, UsageError
from ..base.records import to_json
from ..base.settings import from_dict
from ..base.versions import OF_AUTOENCODERS, OF_RESTORATION, numerics
from .experiment import Experiment
from .results import ExperimentResults, RowResult, RunCounts, Session, Summary

SAME = ("features", "evaluation", "real", "images", "pictures", "side")
"""Fields of results that must be equal for their rows to be comparable."""


def missing_seeds(known: ExperimentResults, experiment: Experiment[Any], seeds: int, path: object) -> range:
    """Return the seeds that results lack, after checking that this code and experiment can add them.

    Args:
        known: the results so far.
        experiment: whose runs are to be added.
        seeds: number of seeds that are wanted, 0, 1, ...
        path: the file of `known`, for messages.

    Raises:
        UsageError: nothing is missing, or the results are of other rows or of another version of the computations.
    """
    if not known.rows:
        raise UsageError(f"{path} cannot be extended: it has no seeds, because nothing is trained for it")
    recorded = {row.seeds for row in known.rows}
    count = len(min(recorded))
    if recorded != {tuple(range(count))}:
        raise UsageError(f"{path} cannot be extended: its rows do not have the seeds 0, 1, ... alike")
    if count >= seeds:
        raise UsageError(f"{path} holds {count} seed{'s' if count > 1 else ''} already; ask for more with --seeds")
    configs = experiment.configs()
    if len(configs) != len(known.rows) or not all(map(_is_config, known.rows, configs)):
        raise UsageError(
            f"{path} cannot be extended: it holds other rows than this command trains; add --overwrite in place of "
            "--extend, or choose another --results"
        )
    sessions = known.sessions or (_session(known),)
    if not all(_is_current(session, known.rows[0]) for session in sessions):
        raise UsageError(
            f"{path} cannot be extended: this version computes its numbers in another way; train all seeds again with "
            "--overwrite in place of --extend"
        )
    return range(count, seeds)


def _is_config(row: RowResult, config: Any) -> bool:
    """Whether a row was trained with a config, whatever its seed."""
    try:
        return bool(from_dict(type(config), {**row.config, "seed": config.seed}) == config)
    except ConfigError:
        return False


def _is_current(session: Session, row: RowResult) -> bool:
    """Whether this code would give the numbers of a session; one from before versions were recorded counts as such."""
    recorded, current = session.environment.numerics or {}, numerics()
    names = OF_AUTOENCODERS if row.task is None else OF_RESTORATION
    return all(recorded.get(name, current[name]) == current[name] for name in names)


def extended(known: ExperimentResults, new: ExperimentResults) -> ExperimentResults:
    """Return results with the seeds of both.

    Args:
        known: the results so far.
        new: the same rows with the seeds from `missing_seeds`.

    Raises:
        RunError: they were measured with other features, images or settings.
    """
    known_values, new_values = to_json(known), to_json(new)
    differing = [name for name in SAME if not same_field(name, known_values.get(name), new_values.get(name))]
    if differing:
        raise RunError(
            f"{new.experiment} cannot be extended: {', '.join(differing)} of the new seeds differ from those before; "
            "choose another --results for them"
        )
    try:
        rows = tuple(map(_joined_row, known.rows, new.rows))
    except KeyError as error:
        raise RecordError(f"the results of {new.experiment} so far lack {error}") from None
    return replace(
        new,
        rows=rows,
        runs=RunCounts(known.runs.total + new.runs.total, known.runs.total + new.runs.reused),
        seconds=round(known.seconds + new.seconds, 1),
        sessions=(*(known.sessions or (_session(known),)), _session(new)),
    )


def _session(results: ExperimentResults) -> Session:
    """The only session of results that were not extended."""
    return Session(results.rows[0].seeds, results.environment, results.workers, results.runs, results.seconds)


def _joined_row(known: RowResult, new: RowResult) -> RowResult:
    """A row with the seeds of both."""
    return replace(
        new,
        seeds=known.seeds + new.seeds,
        metrics=_joined(known.metrics, new.metrics),
        training_seconds=Summary.of(known.training_seconds.values + new.training_seconds.values),
        runs=known.runs + new.runs,
        test=None if new.test is None else _joined(known.test or {}, new.test),
        density=None if new.density is None else _joined(known.density or {}, new.density),
        pictures=None if new.pictures is None else _chained(known.pictures or {}, new.pictures),
        validation=None if new.validation is None else _chained(known.validation or {}, new.validation),
    )


def _joined(known: Mapping[str, Summary], new: Mapping[str, Summary]) -> dict[str, Summary]:
    return {name: Summary.of(known[name].values + summary.values) for name, summary in new.items()}


def _chained(known: Mapping[str, tuple[Any, ...]], new: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {name: known[name] + values for name, values in new.items()}


def same_field(name: str, known: Any, new: Any) -> bool:
    """Return whether a field of two results, as JSON values, lets their rows stand side by side.

    A field that one of both lacks is not compared, nor are keys that only one of both has, because layouts grow.

    Args:
        name: one of `SAME`.
        known, new: the values.
    """
    if known is None or new is None:
        return True
    if name == "features":
        return bool(known["fingerprint"] == new["fingerprint"])
    if name == "evaluation":  # where the features lie differs between machines; their fingerprint is compared
        known, new = ({key: value for key, value in each.items() if key != "features"} for each in (known, new))
    return _agree(known, new)


def _agree(known: Any, new: Any) -> bool:
    if isinstance(known, Mapping) and isinstance(new, Mapping):
        return all(_agree(known[key], new[key]) for key in known.keys() & new.keys())
    if _is_sequence(known) and _is_sequence(new):
        return len(known) == len(new) and all(map(_agree, known, new))
    return bool(known == new)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
