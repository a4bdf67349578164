"""What an attack is, and what counts as a failure."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from .process import Outcome

MAX_BYTES = 2 << 30
"""Most memory that a process of the program may take, in bytes."""

MAX_LINE = 3_100
"""Longest line of an error message, in characters."""

EXIT_CODES = (0, 1, 2, 130)

INTERRUPTED = -signal.SIGINT
"""How a command ends whose work is done when Ctrl-C comes: nothing is left to clean up or to say."""

PLAIN_LINE = re.compile(
    r"(error|note|left out|skipped|stopped|preparing|fetching|kept|resumed|finished|warning)\b"  # messages
    r"|epoch \d+|\d+/\d+ |\d+% |features-|Usage:|Try "  # progress and the parser's help
    r"|[\d,]+ pictures? restored|  | ─"  # the table of `restore` for several pictures
)
"""How a line on standard error begins that the program means to print; anything else is a library's noise."""

Trial = Callable[[random.Random, Path], str]
"""Makes one attempt in an empty folder, with all its choices from the generator.

It returns what was tried, and raises `FailedError`.
"""


class FailedError(Exception):
    """The program did not do what it promises. The message says what was tried and what happened."""


@dataclass(frozen=True)
class Attack:
    """A kind of attempt that is repeated with random choices.

    Attributes:
        name: the value of `--only`.
        title: what is tried, for the table.
        target: number of trials that the promise rests on.
        seconds: limit for one trial; a longer one counts as a hang.
        share: part of the time of a session.
        prepare: makes what all trials use in a folder, unless it is there already, and returns the trial.
        promise: what has to hold in every trial, for the table.
    """

    name: str
    title: str
    target: int
    seconds: float
    share: float
    prepare: Callable[[Path], Trial]
    promise: str

    def generator(self, seed: int, index: int) -> random.Random:
        """Return the generator of one trial."""
        return random.Random(f"{seed} {self.name} {index}")


def check_message(text: str) -> None:
    """Check that an error's text is one line of at most `MAX_LINE` characters without control characters.

    Raises:
        FailedError: it is not.
    """
    if not text.strip():
        raise FailedError("the error has no message")
    if len(text) > MAX_LINE:
        raise FailedError(f"a message of {len(text):,} characters: {text[:80]!r}...")
    if any(category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise FailedError(f"control characters in a message: {text[:200]!r}")


def check_outcome(outcome: Outcome, *, may_be_late: bool = False, only_messages: bool = True) -> None:
    """Check how a command ended: exit code, output, memory and time.

    Args:
        outcome: how it ended.
        may_be_late: accept a command that had to be interrupted, since it may have much to do.
        only_messages: refuse lines on standard error that are no messages of the program; false for commands with
            `--json`, which print there what usually goes to standard output.

    Raises:
        FailedError: the command hung, crashed, took too much memory, or printed a traceback, a library's warning or
            more than one error.
    """
    printed = outcome.errors + outcome.output
    if outcome.hung or (outcome.late and not may_be_late):
        raise FailedError(f"still running after {outcome.seconds:.0f} s")
    if outcome.orphans:
        raise FailedError("processes that it started went on after its end")
    if "Traceback (most recent call last)" in printed:
        raise FailedError(f"traceback: {_last_line(outcome.errors)}")
    if outcome.peak_bytes > MAX_BYTES:
        raise FailedError(f"took {outcome.peak_bytes / 2**30:.1f} GiB; exit code {outcome.code}")
    if outcome.code not in EXIT_CODES and not (outcome.late and outcome.code == INTERRUPTED):
        raise FailedError(f"exit code {outcome.code}: {_last_line(outcome.errors)}")
    if "add --debug to see where" in outcome.errors:
        raise FailedError(f"an unexpected exception: {_last_line(outcome.errors)}")
    lines = [line for line in outcome.errors.split("\n") if line.strip()]
    for line in lines:
        check_message(line)
        if only_messages and not PLAIN_LINE.match(line):
            raise FailedError(f"not a message of the program: {line[:200]}")
    errors = [line for line in lines if line.startswith("error: ")]
    help_printed = outcome.output.startswith("Usage: ")
    if outcome.code in (1, 2) and outcome.can_print and len(errors) != 1 and not help_printed:
        raise FailedError(f"exit code {outcome.code} with {len(errors)} lines that begin with 'error: '")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "(no output)"
