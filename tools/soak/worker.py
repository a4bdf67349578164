"""A worker process that runs the trials of one attack, and is ended if a trial takes too long."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from . import process
from .attack import MAX_BYTES, Attack, FailedError, Trial
from .privileges import adopt_orphans, die_with_parent
from .registry import ATTACKS

ROOT = Path(__file__).resolve().parents[2]

PREPARE_SECONDS = 600.0
"""Limit for making what the trials of an attack use."""


@dataclass(frozen=True)
class Result:
    """The result of one trial.

    Attributes:
        index: number of the trial.
        tried: what was tried, as far as it is known.
        failure: what went wrong; empty if nothing did.
        peak_bytes: largest memory of the worker itself during the trial.
    """

    index: int
    tried: str
    failure: str
    peak_bytes: int = 0


class Worker:
    """Runs trials of one attack in a process of its own, which is started again after a crash or a hang.

    Args:
        name: name of the attack.
        seed: seed of all trials.
        folder: folder for inputs and trials.
    """

    def __init__(self, name: str, seed: int, folder: Path) -> None:
        self.attack, self.seed, self.folder = ATTACKS[name], seed, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def trial_folder(self, index: int) -> Path:
        """Return the folder of a trial; it stays if the trial fails."""
        return self.folder / f"trial-{index}"

    def run(self, index: int) -> Result:
        """Run a trial.

        Raises:
            RuntimeError: the worker cannot prepare the inputs; its message has the traceback.
        """
        if self._connection is None:
            self._start()
        assert self._connection is not None
        self._connection.send(index)
        what = self._receive(self.attack.seconds)
        if isinstance(what, Result):
            return what
        self.stop()
        return Result(index, "", "hangs" if what is None else "the process crashed")

    def _start(self) -> None:
        """Start the worker.

        It is not a process of `multiprocessing`, so that commands which are forked from it start that module's helper
        processes themselves, as they do for users.
        """
        self._connection, theirs = Pipe()
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [str(theirs.fileno()), self.attack.name, str(self.seed), str(self.folder)]
        with (self.folder / "worker.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.soak.serve", *words],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        theirs.close()
        answer = self._receive(PREPARE_SECONDS)
        if answer != "ready":
            self.stop()
            raise RuntimeError(f"{self.attack.name}: the inputs cannot be made: {answer or 'no answer'}")

    def _receive(self, seconds: float) -> object:
        """Return the worker's answer; None if there is none in time, and the text "died" if it has ended."""
        assert self._connection is not None
        try:
            return self._connection.recv() if self._connection.poll(seconds) else None
        except (EOFError, ConnectionError):
            return "died"

    def stop(self) -> None:
        """End the worker; the commands that it started end with it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def serve(connection: Connection, name: str, seed: int, folder: Path) -> None:
    """Prepare the attack's inputs, then run the trials whose numbers arrive."""
    die_with_parent()
    adopt_orphans()
    attack = ATTACKS[name]
    try:
        process.import_program()
        trial = attack.prepare(folder / "inputs")
    except BaseException:
        connection.send(traceback.format_exc())
        return
    process.limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    with suppress(EOFError):
        while True:
            connection.send(_run_trial(attack, trial, seed, connection.recv(), folder))


def _run_trial(attack: Attack, trial: Trial, seed: int, index: int, folder: Path) -> Result:
    """Run one trial in a folder of its own, which is removed unless the trial fails."""
    place = folder / f"trial-{index}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    _reset_peak()
    tried, failure = "", ""
    try:
        tried = trial(attack.generator(seed, index), place)
    except FailedError as failed:
        failure = str(failed)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        (folder / "last-traceback.txt").write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
    peak = _peak()
    if not failure and peak > MAX_BYTES:
        failure = f"took {peak / 2**30:.1f} GiB"
    if not failure:
        shutil.rmtree(place, ignore_errors=True)
    return Result(index, tried, re.sub(r"\s+", " ", failure)[:500], peak)


def _reset_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """Return the largest resident memory of this process since `_reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
