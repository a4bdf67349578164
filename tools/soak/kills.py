"""Kill the long commands at random moments; after a resume their files have to be those of an undisturbed run."""

from __future__ import annotations

import json
import mmap
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .attack import Attack, FailedError, Trial, check_outcome
from .inputs import AUTOENCODER, FEATURES, TINY, digests, environment, make_runs, restoration_arguments
from .process import Outcome, Run

OPTIONAL = "prepared/text-"
"""The cache of text canvases, which a command does without if it cannot be stored. One that has been trained to its end
without it does not draw it again."""

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)

FRESH = 0.06
"""Fraction of the trials in new interpreters, which are also killed while they import modules."""

COMPARISON = (*TINY, "--epochs", "2", "--jobs", "1")
REPRODUCE = ("figure4", "--profile", "smoke", "--model", "vae-conv", "--jobs", "1")


@dataclass(frozen=True)
class Command:
    """A long command.

    Attributes:
        arguments: all arguments; it writes below the folder `out` of its working folder, which links to the inputs.
        again: arguments that are added to continue after a kill.
        weight: how often it is chosen.
    """

    arguments: tuple[str, ...]
    again: tuple[str, ...] = ("--resume",)
    weight: float = 1.0


OVERWRITE = ("--overwrite",)

COMMANDS = {
    "train": Command((*AUTOENCODER, "--epochs", "3", "--out", "out/run"), weight=6),
    "train-features": Command((*FEATURES, "--install", "out/installed", "--out", "out/run"), weight=3),
    "restore --train": Command((*restoration_arguments(Path("pictures")), "--out", "out/run"), weight=5),
    "restore": Command(("restore", "pictures", "-o", "out"), OVERWRITE, weight=5),
    "data info": Command(("data", "info", "pictures", "--size", "8", "--out", "out/sheet.png"), OVERWRITE, weight=3),
    "evaluate": Command(("evaluate", "out/run"), (), weight=3),
    "compare": Command(("compare", *COMPARISON, "--out", "out"), weight=1),
    "reproduce": Command(
        ("reproduce", *REPRODUCE, "--runs", "out/runs", "--results", "out/results"), OVERWRITE, weight=0.4
    ),
}


class Workplace:
    """The inputs of all commands below a folder, and what the commands make of them undisturbed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inputs = folder, folder / "inputs"
        self.runs = make_runs(self.inputs)

    def start(self, name: str, place: Path) -> None:
        """Prepare the working folder of a command."""
        (place / "out").mkdir(parents=True, exist_ok=True)
        (place / "pictures").symlink_to(self.inputs / "pictures")
        if name == "evaluate":
            shutil.copytree(self.runs["autoencoder"], place / "out" / "run")

    def variables(self, place: Path) -> dict[str, str]:
        """Return the environment's variables of a command."""
        return environment(place, self.inputs / "data")

    def run(
        self,
        name: str,
        place: Path,
        *,
        again: bool = False,
        fresh: bool = False,
        kill: tuple[float, signal.Signals] | None = None,
        setup: Callable[[], None] | None = None,
        can_print: bool = True,
    ) -> Outcome:
        """Run a command; see `Run`. `again` continues it."""
        command = COMMANDS[name]
        words = [*command.arguments, *(command.again if again else ())]
        return Run(words, place, self.variables(place), 90.0, kill, setup, fresh, can_print).outcome()

    def undisturbed(self, name: str) -> Mapping[str, Any]:
        """Return the digests of a command's files, its seconds and its number of `CALLS`, from an undisturbed run."""
        place = self.folder / "undisturbed" / name.replace(" ", "_")
        record = place / "reference.json"
        if not record.exists():
            shutil.rmtree(place, ignore_errors=True)
            self.start(name, place)
            calls = mmap.mmap(-1, 8)  # shared with the process of the command

            def act(count: int, _: str | None) -> None:
                calls[:] = count.to_bytes(8, "little")

            outcome = self.run(name, place, setup=lambda: patch_calls(CALLS, place, act))
            if outcome.code != 0:
                raise RuntimeError(f"{name}: exit code {outcome.code}: {outcome.errors}")
            values = {"seconds": outcome.seconds, "calls": int.from_bytes(calls, "little"), "files": _files(place)}
            record.write_text(json.dumps(values), encoding="utf-8")
        found: Mapping[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return found

    def continue_and_compare(self, name: str, place: Path) -> None:
        """Let a command that was disturbed end, and compare its files with those of an undisturbed run.

        Raises:
            FailedError: it fails, or a file differs, is missing or is left behind.
        """
        files = self.undisturbed(name)["files"]
        outcome = self.run(name, place, again=True)
        try:
            check_outcome(outcome)
            if outcome.code != 0:
                raise FailedError(f"exit code {outcome.code}: {outcome.errors.strip()[-300:]}")
            found = _files(place)
            for file in sorted(files.keys() | found.keys()):
                if file.startswith(OPTIONAL) and file not in found:
                    continue
                if files.get(file) != found.get(file):
                    state = "is missing" if file not in found else "is left" if file not in files else "differs"
                    raise FailedError(f"{file} {state}")
        except FailedError as error:
            raise FailedError(f"continued: {error}") from None


def _files(place: Path) -> dict[str, str]:
    return {
        f"{part}/{name}": digest
        for part in ("out", "prepared")
        for name, digest in digests(place / part, place).items()
    }


def patch_calls(names: Iterable[str], place: Path, act: Callable[[int, str | None], None]) -> None:
    """Call `act` before each call of functions of `os` that names a handle or a file of the trial.

    Args:
        names: the functions.
        place: folder of the trial.
        act: called with the number of the call, from 1, and the file, which is None for a handle.
    """
    count = 0

    def patched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            file = None if isinstance(arguments[0], int) else os.fsdecode(arguments[0])
            if file is None or str(place) in file or not file.startswith("/"):
                count += 1
                act(count, file)
            return original(*arguments, **options)

        return call

    for name in names:
        setattr(os, name, patched(getattr(os, name)))


CALLS = ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir")
"""Functions of `os` before which a process can be killed: between them are the states that a kill can leave."""


def kill_at_call(number: int, kind: signal.Signals, place: Path) -> Callable[[], None]:
    """Return a `setup` after which the process gets a signal before its call of that number among `CALLS`."""

    def act(count: int, _: str | None) -> None:
        if count == number:
            os.kill(os.getpid(), kind)

    return lambda: patch_calls(CALLS, place, act)


def prepare(folder: Path) -> Trial:
    """Make the inputs; each command is run undisturbed, for its files and its time, when it is first chosen."""
    workplace = Workplace(folder)

    def trial(draw: random.Random, place: Path) -> str:
        name = draw.choices(list(COMMANDS), [command.weight for command in COMMANDS.values()])[0]
        undisturbed = workplace.undisturbed(name)
        workplace.start(name, place)
        fresh = draw.random() < FRESH
        seconds = undisturbed["seconds"] + 2.0 * fresh
        kills: list[str] = []
        try:
            for number in range(draw.choice([1, 1, 1, 2, 3])):
                kind = draw.choice(SIGNALS)
                if draw.random() < 0.5 and not fresh:
                    call = draw.randint(1, undisturbed["calls"])
                    kills.append(f"{kind.name} at call {call}")
                    setup = kill_at_call(call, kind, place)
                    outcome = workplace.run(name, place, setup=setup, again=number > 0)
                else:
                    after = draw.choice([draw.uniform(0.0, 1.1), draw.uniform(0.0, 0.2)]) * seconds
                    kills.append(f"{kind.name} after {after:.3f} s")
                    outcome = workplace.run(name, place, fresh=fresh, kill=(after, kind), again=number > 0)
                _check_killed(outcome, kind)
            workplace.continue_and_compare(name, place)
        except FailedError as error:
            raise FailedError(f"{name}, {', '.join(kills)}: {error}") from None
        return f"{name}, {', '.join(kills)}"

    return trial


def _check_killed(outcome: Outcome, kind: signal.Signals) -> None:
    if outcome.orphans or outcome.hung:
        raise FailedError("its processes go on")
    if "Traceback" in outcome.errors and "logcosh_vae" not in outcome.errors:
        return  # Ctrl-C during the interpreter's start, before the program
    if outcome.code not in (0, -kind, 128 + kind) or "Traceback" in outcome.errors:
        check_outcome(outcome)
        raise FailedError(f"exit code {outcome.code}: {outcome.errors.strip()[-300:]}")


ATTACK = Attack(
    "kills",
    "long commands that are killed at random moments, up to three times, and continued",
    500,
    500.0,
    0.28,
    prepare,
    "the files are those of an undisturbed run, byte by byte",
)
