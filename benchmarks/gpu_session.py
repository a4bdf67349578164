"""What the stages of `gpu.py` share: deadlines, what is known already, and files that are whole at any moment."""

from __future__ import annotations

import io
import time
import traceback
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import atomic_write, read_json, write_json

Key = tuple[Any, ...]


class TimeUpError(Exception):
    """The stage's deadline has come."""


def key_of(row: Mapping[str, Any]) -> Key:
    """What tells a row of a result from the others; the same run on another card would give the same row."""
    names = ("accelerator", "what") if "what" in row else ("data", "model", "task", "loss", "a", "weight")
    return tuple(row.get(name) for name in names)


class Session:
    """One run of the script.

    Attributes:
        out: folder of what comes back; runs: of what can be resumed.
        device, smoke: as given on the command line.
        jobs: runs at once, in the present stage.
        results: what was measured, by the name of its file in `results/`.
    """

    def __init__(self, out: Path, runs: Path, device: str, smoke: bool, ends: float, repository: Path) -> None:
        self.out, self.runs, self.device, self.smoke = out, runs, device, smoke
        self.jobs = 1
        self.started = time.monotonic()
        self.ends = self.deadline = ends
        self.stage = ""
        self._repository = repository
        out.mkdir(parents=True, exist_ok=True)
        runs.mkdir(parents=True, exist_ok=True)
        path = out / "results.json"
        self.results: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}

    def say(self, text: str) -> None:
        """A line with the seconds since the start; also kept in `log.txt`."""
        line = f"[{time.monotonic() - self.started:6.1f} s] {self.stage}: {text}"
        print(line, flush=True)
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def begin(self, stage: str, seconds: float, jobs: int) -> None:
        """The next stage, with its deadline; a stage that is done early leaves its time to the next ones."""
        self.stage, self.jobs = stage, jobs
        self.deadline = min(self.ends, time.monotonic() + seconds)
        self.say(f"{self.left():.0f} s")

    def left(self) -> float:
        """Seconds until the stage's deadline."""
        return self.deadline - time.monotonic()

    def check_time(self) -> None:
        """`TimeUpError` once the deadline has come."""
        if self.left() <= 0:
            raise TimeUpError

    def fail(self, error: BaseException) -> None:
        """Say what went wrong in a stage, with the traceback in the log."""
        self.say(f"failed: {type(error).__name__}: {error}")
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a result that are known: measured here, or committed; a smoke run looks at its own only."""
        path = self._repository / "results" / f"{name}.json"
        committed = read_json(path)["rows"] if path.exists() and not self.smoke else []
        return joined(committed, self.results.get(name, {}).get("rows", []))

    def record(self, name: str, result: Mapping[str, Any]) -> None:
        """Keep a result, beside rows of it that were measured here before."""
        before = self.results.get(name, {}).get("rows", [])
        environment = describe()
        own = [{"accelerator": environment["accelerator"], **row} for row in result["rows"]]
        self.results[name] = {**result, "rows": joined(before, own), "environment": environment}
        write_json(self.out / "results.json", self.results)

    def picture(self, name: str, image: Image.Image) -> None:
        """Keep a picture as PNG."""
        path, content = self.out / "pictures.zip", io.BytesIO()
        image.save(content, format="PNG", optimize=True)
        with atomic_write(path) as aside:
            others = {}
            if path.exists():
                with zipfile.ZipFile(path) as archive:
                    others = {each: archive.read(each) for each in archive.namelist()}
            with zipfile.ZipFile(aside, "w") as archive:
                for each, data in (others | {f"{name}.png": content.getvalue()}).items():
                    archive.writestr(each, data)


def joined(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by key, the newer one of two; in the order of their first coming."""
    return list(({key_of(row): row for row in old} | {key_of(row): row for row in new}).values())


def merge(folder: Path, repository: Path, complete: Callable[[str, dict[str, Any], Path], dict[str, Any]]) -> int:
    """Put the results and pictures of a run into the repository, rows beside the rows that are there.

    Args:
        folder: the run's `--out`.
        repository: whose `results/` and `docs/images/` are changed.
        complete: adds to a result what is measured elsewhere than on the GPU; given its name, itself and `folder`.
    """
    for name, result in read_json(folder / "results.json").items():
        if result["profile"] == "smoke":
            print(f"{name}: left out, it is of a smoke run")
            continue
        path = repository / "results" / f"{name}.json"
        known = read_json(path)["rows"] if path.exists() else []
        rows = joined(known, result["rows"])
        whole = complete(name, {**result, "rows": rows}, folder)
        if "workers" in result:
            whole["runs"] = {"total": len(rows), "reused": len(known)}
        write_json(path, whole)
        print(f"{path}: {len(result['rows'])} rows, {len(known)} were there")
    pictures = folder / "pictures.zip"
    if pictures.exists():
        with zipfile.ZipFile(pictures) as archive:
            for name in archive.namelist():
                with atomic_write(repository / "docs" / "images" / Path(name).name) as aside:
                    aside.write_bytes(archive.read(name))
                print(repository / "docs" / "images" / Path(name).name)
    return 0
