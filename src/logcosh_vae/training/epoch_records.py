"""The records of epochs in `metrics.jsonl`: one JSON object per line, for epochs 1, 2, 3 and so on.

Each line has a digest of its values, so that a changed number is noticed; lines of earlier versions have none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..base.errors import DamagedJsonError
from ..base.files import JSON_BYTES, parse_json, read_regular
from ..base.records import SEAL, seal

Record = dict[str, Any]
"""`epoch`, `train` and `validation` (losses by name), `seconds`, and `tracked` (losses at logged steps).

If the likelihood is learned, `validation` has its `scale` and, if there is one, its `shape` at the end of the epoch."""


def to_text(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records as lines with digests.

    Raises:
        ValueError: a number is not finite.
    """
    return "".join(json.dumps({**record, SEAL: seal(record)}, allow_nan=False) + "\n" for record in records)


def parse_records(text: str, path: Path) -> list[Record]:
    """Return the records in `text`, the content of `path`.

    Raises:
        DamagedJsonError: a line is not the record of the next epoch, or does not match its digest.
    """
    records = []
    for number, line in enumerate((line for line in text.split("\n") if line), start=1):
        record = parse_json(line, path)
        if not _is_record(record, number):
            raise DamagedJsonError(f"{path} is damaged: line {number} is not the record of epoch {number}")
        digest, record = record.pop(SEAL, None), _rename_former_keys(record)
        if digest not in (None, seal(record)):
            raise DamagedJsonError(f"{path} is damaged: line {number} does not match its digest")
        records.append(record)
    return records


def read_records(path: Path) -> list[Record]:
    """Read a file of records; a missing file has none.

    Raises:
        DamagedJsonError: it is damaged.
        OSError: it cannot be read, or is a link or a special file.
    """
    try:
        return parse_records(read_regular(path, JSON_BYTES, follow=True).decode("utf-8"), path)
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
    return _is_number(record.get("seconds")) and all(
        isinstance(each, dict) and all(map(_is_number, each.values())) for each in losses
    )


def _is_number(value: Any) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _rename_former_keys(record: Record) -> Record:
    """Rename `objective` to `loss` in an epoch's record; version 0.1 used the former name."""
    for losses in (record.get("train"), record.get("validation"), *record.get("tracked", ())):
        if isinstance(losses, dict) and "objective" in losses:
            losses["loss"] = losses.pop("objective")
    return record
