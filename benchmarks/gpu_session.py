"""What the stages of `gpu.py` share: the clock, signals, the results known so far, and files that are always whole."""

from __future__ import annotations

import io
import json
import signal
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.base.errors import DataError, RunError
from logcosh_vae.base.files import atomic_write, read_json, write_json
from logcosh_vae.base.records import to_json
from logcosh_vae.bench.gpu_results import (
    Result,
    Row,
    check_results,
    conflict,
    is_current,
    is_finite,
    joined,
    label_of,
    origin_of,
    with_origin,
)

LINE = 160
"""Characters of the longest line that is printed."""


class TimeUpError(Exception):
    """The stage's deadline has come; the message may say what there was no time for."""


class Interrupts:
    """SIGINT and SIGTERM as `KeyboardInterrupt`, and remembered where a library swallows the exception."""

    def __init__(self) -> None:
        self.came = False

    def install(self) -> None:
        """Handle both signals from now on; SIGTERM too, so that child processes end with the script."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:  # noqa: ARG002 - the signature of a handler
        self.came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """`KeyboardInterrupt` if a signal came."""
        if self.came:
            raise KeyboardInterrupt


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep `folder`, which is created where it is missing, to this session.

    Raises:
        RunError: another session is writing there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        raise RunError(f"{folder}: another session is writing there; wait for it, or choose another --out") from None
    with lock:
        yield


def read_results(folder: Path) -> dict[str, Result]:
    """The results of a session's folder, none where there is no file; `DataError` where it is not what it should be."""
    path = folder / "results.json"
    return check_results(read_json(path), path) if path.exists() else {}


def read_pictures(folder: Path) -> dict[str, bytes]:
    """The pictures of a session's folder by file name; `DataError` where `pictures.zip` is damaged."""
    path = folder / "pictures.zip"
    if not path.exists():
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        raise DataError(
            f"{path} is damaged ({error}); delete it, and its figures are drawn again from --runs"
        ) from None


class Session:
    """One run of the script.

    Attributes:
        out: folder of what is brought back; runs: of what can be resumed, and what figures are drawn from.
        device, smoke: as given on the command line.
        jobs: runs at once, in the present stage.
        results: what was measured, by the name of its file in `results/`.
        failed: whether something went wrong that does not stop the stage.
    """

    def __init__(
        self, out: Path, runs: Path, device: str, smoke: bool, repository: Path, interrupts: Interrupts | None = None
    ) -> None:
        self.out, self.runs, self.device, self.smoke = out, runs, device, smoke
        self.interrupts = interrupts or Interrupts()
        self.jobs = 1
        self.failed = False
        self.started = self.stage_started = time.monotonic()
        self.ends = self.deadline = float("inf")
        self.stage = "start"
        self.not_drawn: dict[str, str] = {}
        self._repository = repository
        self._said: set[str] = set()
        out.mkdir(parents=True, exist_ok=True)
        runs.mkdir(parents=True, exist_ok=True)
        self.results = read_results(out)
        self._pictures = set(read_pictures(out))
        self._plan = self._read_plan()

    def _read_plan(self) -> dict[str, Any]:
        """The folder's plan; it says whether the folder is of a smoke run, and keeps the lengths of the excerpts."""
        path = self.out / "plan.json"
        plan: Any = read_json(path) if path.exists() else {}
        if not isinstance(plan, dict):
            raise DataError(f"{path} is damaged: it holds no object")
        kinds = {plan["smoke"]} if "smoke" in plan else {r["profile"] == "smoke" for r in self.results.values()}
        if kinds - {self.smoke}:
            kind, other = ("smoke", "without --smoke") if self.smoke else ("real", "with --smoke")
            raise DataError(f"{self.out} was made {other}, and this is a {kind} run; choose another --out")
        if "smoke" not in plan:
            plan = {**plan, "smoke": self.smoke}
            write_json(path, plan)
        return plan

    @property
    def accelerator(self) -> str | None:
        """The name of the session's card; None on the CPU."""
        device = torch.device(self.device)
        return torch.cuda.get_device_name(device) if device.type == "cuda" else None

    def name(self, base: str, profile: str = "") -> str:
        """The name of a result: `base`, with a profile where it has one; those of smoke runs end with `-smoke`."""
        profile = self.profile(profile)
        return f"{base}-{profile}" if profile else base

    def profile(self, real: str = "paper") -> str:
        """The profile of the session's results."""
        return "smoke" if self.smoke else real

    def say(self, text: str) -> None:
        """Print a message with the seconds since the start, in short lines, and keep it in `log.txt`."""
        lines = [line if len(line) <= LINE else f"{line[: LINE - 3]}..." for line in text.splitlines() or [""]]
        message = f"[{time.monotonic() - self.started:6.1f} s] {self.stage}: " + "\n    ".join(lines)
        print(message, flush=True)
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(message + "\n")

    def say_once(self, text: str) -> None:
        """`say`, the first time only."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def start_clock(self, minutes: float) -> None:
        """Count the session's time from now."""
        self.ends = self.deadline = time.monotonic() + 60 * minutes

    def begin(self, stage: str, seconds: float, jobs: int) -> None:
        """Begin a stage, with its deadline; a stage that is done early leaves its time to the next ones."""
        self.stage, self.jobs, self.stage_started = stage, jobs, time.monotonic()
        self.deadline = min(self.ends, self.stage_started + seconds)
        self.say(f"begins, with at most {self.left():.0f} s")

    def left(self) -> float:
        """Seconds until the stage's deadline, 0 when it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def check_time(self) -> None:
        """`TimeUpError` once the deadline has come; `KeyboardInterrupt` once a signal has."""
        self.interrupts.check()
        if self.left() <= 0:
            raise TimeUpError

    def fail(self, error: BaseException) -> None:
        """Say what went wrong in a stage, with the traceback in the log."""
        self.failed = True
        self.say(f"failed: {type(error).__name__}: {error}")
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)

    def committed(self, name: str) -> Result | None:
        """A result in the repository, with origins; None where there is none, and in a smoke run."""
        path = self._repository / "results" / f"{name}.json"
        return with_origin(read_json(path)) if path.exists() and not self.smoke else None

    def rows(self, name: str) -> list[Row]:
        """The rows of a result that are known: committed, or measured in this folder, with the numbers of this code."""
        committed = self.committed(name)
        own = self.results.get(name, {"rows": []})["rows"]
        return [row for row in joined(name, committed["rows"] if committed else [], own) if is_current(row)]

    def chosen(self, what: str, name: str, field: str, choose: Callable[[], int]) -> int:
        """A number that is chosen once, so that every session trains the same: epochs or steps of an excerpt.

        It is that of the folder's rows, of its plan, or of the committed rows of result `name`, in this order; else it
        is chosen, and written to the plan at once unless it is 0.
        """
        own, committed = self.results.get(name), self.committed(name)
        if own and (current := [row for row in own["rows"] if is_current(row)]):
            return int(current[0]["config"][field])
        if isinstance(number := self._plan.get(what), int):
            return number
        current = [row for row in committed["rows"] if is_current(row)] if committed else []
        number = int(current[0]["config"][field]) if current else max(0, choose())
        if number:
            plan = {**self._plan, what: number}
            write_json(self.out / "plan.json", plan)
            self._plan = plan
        return number

    def record(self, name: str, result: Mapping[str, Any]) -> None:
        """Keep a result, beside rows of it that were measured here before; rows that are not finite are left out."""
        environment = to_json(describe()) | {"accelerator": self.accelerator}
        rows = []
        for row in result["rows"]:
            if is_finite(row):
                rows.append({**origin_of(environment), **row})
            else:
                self.say_once(f"{name}: left out {label_of(row)}: a measure of it is infinite or not a number")
        if not rows:
            return
        fields = {key: value for key, value in result.items() if key != "rows" and is_finite(value)}
        new: Result = json.loads(json.dumps({**fields, "rows": rows, "environment": environment}))
        before = self.results.get(name)
        if before and (differing := conflict(name, before, new)):
            self.say(f"{name}: rows of earlier sessions are dropped, because of other {differing}")
            before = None
        new["rows"] = joined(name, before["rows"] if before else [], new["rows"])
        new["seconds"] = round(time.monotonic() - self.stage_started, 1)
        results = self.results | {name: new}
        write_json(self.out / "results.json", results)
        self.results = results

    def has_picture(self, name: str) -> bool:
        """Whether a figure was drawn."""
        return f"{name}.png" in self._pictures

    def picture(self, name: str, image: Image.Image) -> None:
        """Keep a picture as PNG."""
        path, content = self.out / "pictures.zip", io.BytesIO()
        image.save(content, format="PNG", optimize=True)
        pictures = read_pictures(self.out) | {f"{name}.png": content.getvalue()}
        with atomic_write(path) as aside, zipfile.ZipFile(aside, "w") as archive:
            for each, data in pictures.items():
                archive.writestr(each, data)
        self._pictures = set(pictures)
