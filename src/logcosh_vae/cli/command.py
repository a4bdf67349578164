"""Runs one command line: parses it, calls the verb and prints an error as one line.

Exit codes: 0 for success, 2 for a command that cannot work as written, 1 for other failures, 130 for Ctrl-C and 143 for
SIGTERM.
"""

from __future__ import annotations

import errno
import os
import time
from itertools import pairwise
from typing import Annotated

import typer

from ..base.errors import UsageError, UserError, for_shell
from ..base.files import one_line
from ..base.launch import rank_and_world_size
from ..base.memory import keep_freed_memory
from . import bench, compare, completion, data, doctor, evaluate, explore, export, models, reproduce, restoration, train  # noqa: F401 - each adds its verbs to app
from .compiler_cache import removed_if_empty
from .entry import Signals
from .options import app
from .streams import fail, reports, say

__all__ = ["run"]

SECONDS_FOR_MAIN_PROCESS = 30.0
"""How long the other processes of torchrun wait, on an error that all of them find, for process 0 to report it."""

UNUSABLE_PATH = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
"""Errors of the operating system about a name that no file can have."""

NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Errors of the operating system that occur only in writing."""

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "bad_alloc")
"""What torch says, in messages of `RuntimeError`, where memory is short."""


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        say(f"logcosh-vae {version('logcosh-vae')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="On an error, show the traceback, and what libraries print.")
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            help="Install completion for this shell: bash, zsh or fish.",
            callback=completion.install,
            is_eager=True,
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            help="Print the script that --install-completion installs.",
            callback=completion.show,
            is_eager=True,
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print results and errors only: no progress, no notes.")
    ] = False,
) -> None:
    """Declare the options of all verbs; `entry` removes `--debug` and `--quiet`, which may stand after the verb too."""


def explain(error: Exception) -> tuple[str, int]:
    """Return the message for an error and the exit code."""
    if isinstance(error, _PARSER_ERROR):
        verb = getattr(getattr(error, "ctx", None), "command_path", "logcosh-vae")
        message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
        return f"{message} (see '{verb} --help')", UsageError.exit_code
    if isinstance(error, UserError):
        return for_shell(error), error.exit_code
    if isinstance(error, OSError) and error.strerror is not None:
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        code = UsageError.exit_code if error.errno in UNUSABLE_PATH else 1
        verb = " cannot be written" if error.errno in NOT_WRITABLE else ""
        return (f"{path}{verb}: {error.strerror}" if path else f"{error.strerror} (add --debug to see where)"), code
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return "not enough memory; use smaller images, batches or networks, or fewer --jobs", 1
    if isinstance(error, RecursionError):
        return "a value is nested too deeply (add --debug to see where)", 1
    text = one_line(error) if str(error).strip() else "unknown reason"
    return f"stopped by an unexpected error: {text} (add --debug to see where)", 1


_PARSER_ERROR = typer.BadParameter.__mro__[1]
"""The base class of errors in options and arguments, which typer does not export."""


def check_values(arguments: list[str]) -> None:
    """Check that no option has an empty value, as `--out "$FOLDER"` has where the variable is not set.

    Raises:
        UsageError: one has; as a path it would be the current folder. `--data` has a check of its own.
    """
    for option, value in pairwise(["", *arguments]):
        is_option = option.startswith("-") and option not in ("--", "--data")
        if (is_option and value == "") or (value.startswith("--") and value.endswith("=")):
            raise UsageError(f"the value of {option if value == '' else value.removesuffix('=')} is empty")


def check_working_directory(arguments: list[str]) -> None:
    """Check that the working directory exists; without it, relative paths have no meaning and MKL ends the process.

    Raises:
        UsageError: it has been deleted, and the command is not about help or the version.
    """
    if {"--help", "--version"} & set(arguments):
        return
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is not needed
    except OSError as error:
        raise UsageError(f"the current folder cannot be used ({error.strerror}); change to an existing one") from None


def run(arguments: list[str], signals: Signals, *, debug: bool) -> int:
    """Run a command line.

    Args:
        arguments: what follows the name of the command, without `--debug` and `--quiet`.
        signals: told when the verb is at work.
        debug: show the traceback of an error.

    Returns:
        The exit code.
    """
    verb = next((argument for argument in arguments if not argument.startswith("-")), "train")
    keep_freed_memory()
    try:
        if rank_and_world_size()[1] > 1 and verb != "train":
            raise UsageError(f"torchrun is for train; run {verb} without it (--jobs uses several cores)")
        check_values(arguments)
        check_working_directory(arguments)
        command = typer.main.get_command(app)
        if completion.VARIABLE in os.environ:
            return completion.complete(command, os.environ[completion.VARIABLE])
        with command.make_context(completion.NAME, arguments, color=False) as context, removed_if_empty():
            signals.unwinds = True
            context.command.invoke(context)
        return 0
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return 1
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            say(*error.format_message().splitlines())  # type: ignore[attr-defined]
            return UsageError.exit_code
        if debug:
            import traceback

            traceback.print_exc()
        if signals.received is not None:  # a library has turned the interrupt into another error
            return signals.exit_code
        return _report(error)


def _report(error: Exception) -> int:
    """Print an error as one line and return the exit code.

    Under torchrun every process finds the same usage error. Process 0 prints it and exits, after which torchrun ends
    the others.
    """
    message, code = explain(error)
    if not reports() and code == UsageError.exit_code:
        time.sleep(SECONDS_FOR_MAIN_PROCESS)
        return code
    return fail(message, code)
