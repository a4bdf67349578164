"""The records of epochs in `metrics.jsonl`: one JSON object per line, for epochs 1, 2, 3 and so on.

Each line has the identifier of its run and a digest of its values, so that lines of another run and changed numbers are
noticed. Lines of earlier versions have neither.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..base.errors import DamagedJsonError
from ..base.files import JSON_BYTES, parse_json, read_regular
from ..base.records import SEAL, seal
from .run_identity import RUN_KEY, shown

Record = dict[str, Any]
"""`epoch`, `train` and `validation` (losses by name), `seconds`, and `tracked` (losses at logged steps).

If the likelihood is learned, `validation` has its `scale` and, if there is one, its `shape` at the end of the epoch."""


def to_text(records: Iterable[Mapping[str, Any]], run: str | None = None) -> str:
    """Return records as lines with digests and, if it is given, the identifier of their run.

    Raises:
        ValueError: a number is not finite.
    """
    origin = {} if run is None else {RUN_KEY: run}
    lines = ({**record, **origin} for record in records)
    return "".join(json.dumps({**line, SEAL: seal(line)}, allow_nan=False) + "\n" for line in lines)


def parse_records(text: str, path: Path, run: str | None = None) -> list[Record]:
    """Return the records in `text`, the content of `path`.

    Args:
        text: lines that end with a line feed, or with a carriage return and a line feed; a byte-order mark is ignored.
        path: for messages.
        run: identifier of the run that the records must belong to, where they have one; None for any.

    Raises:
        DamagedJsonError: a line is not the record of the next epoch, does not match its digest, or belongs to another
            run.
    """
    records = []
    for number, line in enumerate(filter(None, map(str.strip, text.split("\n"))), start=1):
        record = parse_json(line, path)
        if not _is_record(record, number):
            raise DamagedJsonError(f"{path} is damaged: line {number} is not the record of epoch {number}")
        if not _can_be_written(record):
            raise DamagedJsonError(f"{path} is damaged: line {number} has values that are not finite, or nested deeply")
        digest, record = record.pop(SEAL, None), _rename_former_keys(record)
        if digest not in (None, seal(record)):
            raise DamagedJsonError(f"{path} is damaged: line {number} does not match its digest")
        if (origin := record.pop(RUN_KEY, run)) != run and run is not None:
            raise DamagedJsonError(
                f"{path} was written by another run: line {number} belongs to {shown(origin)}, not to {shown(run)}"
            )
        records.append(record)
    return records


def read_records(path: Path, run: str | None = None) -> list[Record]:
    """Read a file of records; a missing file has none. `run` is as in `parse_records`.

    Raises:
        DamagedJsonError: it is damaged.
        OSError: it cannot be read, or is a link or a special file.
    """
    try:
        return parse_records(read_regular(path, JSON_BYTES, follow=True).decode("utf-8"), path, run)
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise DamagedJsonError(f"{path} is damaged: it is not text ({error})") from None


def merge(first: Iterable[Record], second: Iterable[Record]) -> list[Record]:
    """Return the records of both in order of epochs; those of `second` replace those of the same epoch in `first`."""
    by_epoch = {record["epoch"]: record for records in (first, second) for record in records}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def _is_record(record: Any, epoch: int) -> bool:
    if not isinstance(record, dict) or type(record.get("epoch")) is not int or record["epoch"] != epoch:
        return False
    tracked = record.get("tracked", [])
    losses = [record.get("train"), record.get("validation"), *(tracked if isinstance(tracked, list) else [None])]
    if not _is_number(record.get("seconds")) or record["seconds"] < 0:
        return False
    return all(isinstance(each, dict) and all(map(_is_number, each.values())) for each in losses)


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold; JSON has integers of any size, NaN and infinity."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _can_be_written(record: Record) -> bool:
    """Whether `to_text` accepts a record, whose unknown keys may hold any value."""
    try:
        json.dumps(record, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def same_losses(first: Iterable[Record], second: Iterable[Record]) -> bool:
    """Whether the epochs that are in both have the same losses; their times differ if an epoch was trained twice."""
    losses = {record["epoch"]: (record["train"], record["validation"]) for record in first}
    others = {record["epoch"]: (record["train"], record["validation"]) for record in second}
    return all(losses[epoch] == others[epoch] for epoch in losses.keys() & others.keys())


def _rename_former_keys(record: Record) -> Record:
    """Rename `objective` to `loss` in an epoch's record; version 0.1 used the former name."""
    for losses in (record.get("train"), record.get("validation"), *record.get("tracked", ())):
        if isinstance(losses, dict) and "objective" in losses:
            losses["loss"] = losses.pop("objective")
    return record
