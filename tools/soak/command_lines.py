"""Damaged command lines, generated from the declaration of the command's options."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from logcosh_vae.cli.options import app

from .attack import Attack, FailedError, Trial, check_outcome
from .inputs import AUTOENCODER, FEATURES, TINY, environment, make_runs, restoration_arguments
from .privileges import drop_privileges, open_to_all
from .process import Run

SECONDS = 8.0
"""After this time a command is interrupted as by Ctrl-C, which has to end it."""

FRESH = 0.01
"""Fraction of the trials in new interpreters."""

STRANGE = (
    "", " ", "-", "--", "-1", "0", "1", "2", "\u00b2", "\u0661", "1e400", "nan", "inf", "-inf", "9" * 5_000, "1_000",
    "0x10", "é", "\x1b[31mred", "a\nb", "\udcff", "[bold]x[/bold]", "{}", "[1,2]", "=", "a=b", "null", "true", "l2",
    "vae-mlp", "captions", "celeba", "mnist", "text", "/dev/null", "/dev/zero", "/proc/self/mem", "/etc/passwd", "run",
    "missing.png", "missing/x", "pictures", "pictures.zip", "pipe", "restoration", "pictures/00.png", "meta", "cuda:99",
    "mps", "cuda:", "20000x20000", "1x1", "0x0", "8x8x8", "100000000", "4294967296", "x" * 300, "0,0,4,4",
)  # fmt: skip
"""Values for any option or argument. The working folder has the files that some of them name."""

PLAUSIBLE = ("run", "restoration", "pictures", "pictures/00.png", "pictures.zip", "celeba", "text", "l2", "2", "4")
"""Values that commands mostly accept."""

USUAL: tuple[tuple[str, ...], ...] = (
    (*AUTOENCODER, "--out", "new"),
    (*AUTOENCODER, "--out", "run", "--resume"),
    ("compare", *TINY, "--epochs", "1", "--jobs", "1", "--out", "comparison"),
    (*restoration_arguments(Path("pictures"), 1), "--out", "new"),
    ("restore", "pictures/00.png", "-o", "clean.png", "--box", "1,1,8,8"),
    ("restore", "pictures", "-o", "cleaned", "--model", "restoration"),
    ("restore", "pictures", "-o", "cleaned", "--sheet", "sheet.png", "--keep-box", "0,0,4,4"),
    ("restore", "pictures/00.png", "-o", "clean.png", "--show-mask", "mask.png"),
    ("evaluate", "run"),
    ("sample", "run", "--count", "4"),
    ("reconstruct", "run", "--count", "4"),
    ("interpolate", "run"),
    ("explore", "run", "-o", "page.html", "--images", "4"),
    ("save", "run", "-o", "saved", "--precision", "int8"),
    ("models",),
    (*AUTOENCODER, "--print-config"),
    ("doctor", "--json"),
    ("export", "run", "-o", "decoder.pt2", "--part", "decoder"),
    ("data", "info", "pictures", "--size", "8"),
    ("data", "info", "pictures.zip", "--size", "8"),
    ("data",),
    (*FEATURES, "--out", "features", "--install", "installed"),
    ("reproduce", "figure11", "--profile", "smoke", "--jobs", "1"),
)
"""Command lines that work, which are then changed."""


@dataclass(frozen=True)
class Verb:
    """A command: its words, and its parameters as the parser declares them."""

    words: tuple[str, ...]
    parameters: tuple[Any, ...]


def verbs(command: Any = None, words: tuple[str, ...] = ()) -> list[Verb]:
    """Return every command that the application declares."""
    command = typer.main.get_command(app) if command is None else command
    inner = getattr(command, "commands", {}).items()
    return [Verb(words, tuple(command.params)), *(verb for name, c in inner for verb in verbs(c, (*words, name)))]


def option_words(option: Any, draw: random.Random) -> list[str]:
    """Return a spelling of an option, and a value if it takes one."""
    value = draw.choice(draw.choice([STRANGE, STRANGE, PLAUSIBLE]))
    return [draw.choice(option.opts), *([] if getattr(option, "is_flag", False) else [value])]


def generated(verb: Verb, draw: random.Random) -> list[str]:
    """Return a command line from the declaration alone."""
    words = list(verb.words)
    for parameter in verb.parameters:
        if parameter.param_type_name == "argument":
            words += [draw.choice(draw.choice([STRANGE, PLAUSIBLE])) for _ in range(draw.choice([0, 1, 1, 1, 2]))]
        elif draw.random() < (0.8 if parameter.required else 0.2):
            words += option_words(parameter, draw)
    return words


def changed(usual: Sequence[str], known: Sequence[Verb], draw: random.Random) -> list[str]:
    """Return a working command line with one to three changes."""
    words = list(usual)
    verb = next(verb for verb in reversed(known) if tuple(words[: len(verb.words)]) == verb.words)
    options = [parameter for parameter in verb.parameters if parameter.param_type_name == "option"]
    for _ in range(draw.choice([1, 1, 2, 3])):
        place = draw.randrange(len(words))
        action = draw.randrange(6)
        if action < 2 and place >= len(verb.words) and not words[place].startswith("--"):
            words[place] = draw.choice(STRANGE)
        elif action == 2 and options:
            words += option_words(draw.choice(options), draw)
        elif action == 3:
            words.insert(place + 1, draw.choice(STRANGE))
        elif action == 4 and len(words) > 1:
            words.pop(place)
        else:
            words[place] = words[place].replace(draw.choice("aeilt-=1"), draw.choice(["", "x", "-", "\u00b2", "é"]), 1)
    return words


def prepare(folder: Path) -> Trial:
    """Train runs and read the declaration."""
    runs, known = make_runs(folder), verbs()
    shutil.make_archive(str(folder / "pictures"), "zip", folder / "pictures")
    open_to_all(folder)  # the commands run without privileges: a damaged command line may name any file

    def trial(draw: random.Random, place: Path) -> str:
        words = generated(draw.choice(known), draw) if draw.random() < 0.2 else changed(draw.choice(USUAL), known, draw)
        words = [word for word in words if word != "--debug"]  # which asks for tracebacks
        work = place / "work"
        shutil.copytree(folder / "pictures", work / "pictures")
        shutil.copytree(runs["autoencoder"], work / "run")
        shutil.copytree(runs["restoration"], work / "restoration")
        shutil.copy(folder / "pictures.zip", work)
        os.mkfifo(work / "pipe")
        open_to_all(place)
        variables = environment(folder) | {"HOME": str(place / "home"), "XDG_CACHE_HOME": str(place / "home")}
        fresh = draw.random() < FRESH
        outcome = Run(words, work, variables, seconds=SECONDS, fresh=fresh, setup=drop_privileges).outcome()
        shown = " ".join(repr(word[:60]) for word in words)
        try:
            check_outcome(outcome, may_be_late=True, only_messages="--json" not in words)
        except FailedError as error:
            raise FailedError(f"{shown}: {error}") from None
        return shown

    return trial


ATTACK = Attack(
    "command-lines",
    "command lines with other words, options and values",
    2_000,
    90.0,
    0.2,
    prepare,
    "exit code 0, 1 or 2 and at most one error of one line; Ctrl-C ends what takes long",
)
