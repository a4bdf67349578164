"""`gpu.py --merge`: put a session's results into `results/`, and its pictures into `docs/images/`.

Everything is read, checked and measured before the first file is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_restoration import complete, networks, unmeasured
from gpu_session import read_pictures, read_results

from logcosh_vae.base.errors import DataError, RecordError
from logcosh_vae.base.files import atomic_write, one_line, read_json, write_json
from logcosh_vae.bench.gpu_results import Result, conflict, is_current, is_finite, joined, layout_of, with_origin
from logcosh_vae.data import data_root, text_removal

Complete = Callable[[str, Result, Path], Result]


def merge(folder: Path, repository: Path, measure: Complete = complete) -> int:
    """Merge a session's folder into the repository; the exit code: 1 if a result had to be left out.

    Args:
        folder: the session's `--out`.
        repository: whose `results/` and `docs/images/` are changed.
        measure: completes results of figure 10 by measuring their networks.

    Raises:
        DataError: the folder or the data that is needed cannot be used; nothing has been written.
    """
    if not (folder / "results.json").exists():
        raise DataError(f"{folder} holds no results.json: there is nothing to merge; give the --out of a session")
    results, pictures = read_results(folder), read_pictures(folder)
    refused = False
    wanted: dict[str, tuple[Result, Result]] = {}
    for name, result in results.items():
        known = _known(repository, name)
        if result["profile"] == "smoke":
            print(f"{name}: left out, it is of a smoke run")
        elif reason := _refusal(name, known, result):
            refused = True
            print(f"{name}: left out, {reason}")
        else:
            wanted[name] = known, result
    for name, (known, result) in wanted.items():
        _check(name, known, result, folder)
    merged = {}
    for name, (known, result) in wanted.items():
        try:
            merged[name] = _merged(name, known, result, folder, measure)
        except _LeftOutError as error:
            refused = True
            print(f"{name}: left out, {error}")
    for name, result in merged.items():
        path = repository / "results" / f"{name}.json"
        write_json(path, result)
        print(f"{path}: {len(result['rows'])} rows, {len(wanted[name][0]['rows'])} were there")
    for name, content in pictures.items():
        _put_picture(name, content, merged, repository)
    return int(refused)


class _LeftOutError(Exception):
    """A result cannot be merged; the message says why."""


def _known(repository: Path, name: str) -> Result:
    """The result that is in the repository, without rows where there is none."""
    path = repository / "results" / f"{name}.json"
    return with_origin(read_json(path)) if path.exists() else {"rows": []}


def _refusal(name: str, known: Result, result: Result) -> str:
    """Why a result cannot be merged; empty where it can."""
    if not is_finite(result):
        return "a measure of it is infinite or not a number"
    if not all(is_current(row) for row in result["rows"]):
        return "the code has changed since in a way that changes its numbers (see base/versions.py)"
    if differing := conflict(name, known, result):
        return f"it differs from the rows that are there in: {differing}"
    return ""


def _check(name: str, known: Result, result: Result, folder: Path) -> None:
    """See that what measuring needs is there; `DataError` names what is not."""
    if name.startswith("figure10") and (rows := unmeasured(known["rows"], result["rows"])):
        for part in ("train", "test"):
            text_removal(part, data_root())
        networks(name, rows, folder)


def _merged(name: str, known: Result, result: Result, folder: Path, measure: Complete) -> Result:
    """The result with the rows of both."""
    if name.startswith("figure10"):
        rows = unmeasured(known["rows"], result["rows"])
        if not rows:
            return known
        result = measure(name, {**result, "rows": rows}, folder)
        if differing := conflict(name, known, result):  # what was measured is compared, too
            raise _LeftOutError(f"it differs from the rows that are there in: {differing}")
        # corrupted pictures are measured alike for all rows of a task
        result["corrupted"] = known.get("corrupted", {}) | result["corrupted"]
    rows = joined(name, known["rows"], result["rows"])
    counts: dict[str, Any] = (
        {"runs": {"total": len(rows), "reused": len(known["rows"])}} if "what" not in rows[0] else {}
    )
    try:
        return layout_of(name, json.loads(json.dumps({**result, "rows": rows, **counts})))
    except RecordError as error:
        raise _LeftOutError(one_line(error)) from None


def _put_picture(name: str, content: bytes, merged: dict[str, Result], repository: Path) -> None:
    """Put a picture beside the docs if its result was merged and its images may be shown."""
    result = merged.get(name.removesuffix(".png"))
    if re.fullmatch(r"[a-z0-9-]+\.png", name) is None or result is None:
        print(f"{name}: left out, its result was not merged")
    elif any(row["data"] == "celeba" for row in result["rows"]):
        print(f"{name}: left out, the licence of CelebA does not allow to show its images")
    else:
        path = repository / "docs" / "images" / name
        with atomic_write(path) as aside:
            aside.write_bytes(content)
        print(path)
