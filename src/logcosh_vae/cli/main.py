"""The entry point of the command: prints errors as one line, sets exit codes and handles Ctrl-C.

Exit codes: 0 for success, 2 for a command that cannot work as written, 1 for other failures, 130 for Ctrl-C.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import warnings
from typing import Annotated, Any, NoReturn

import typer

from ..base.errors import RenamedWarning, UsageError, UserError
from ..base.files import one_line
from ..base.launch import rank_and_world_size
from ..base.memory import keep_freed_memory
from . import bench, compare, data, evaluate, reproduce, restoration, train  # noqa: F401 - each adds its verbs to app
from .options import app

__all__ = ["main"]

SECONDS_FOR_MAIN_PROCESS = 30.0
"""How long the other processes of torchrun wait, on an error that all of them find, for process 0 to report it."""

INTERRUPTED = 128 + signal.SIGINT


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        print(f"logcosh-vae {version('logcosh-vae')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")] = False,
) -> None:
    """Declare the options of all verbs; `main` removes `--debug`, so that it may stand after the verb as well."""


def _leave_at_once(code: int) -> NoReturn:
    """Exit without waiting for worker processes: they end with this one, and files are written atomically."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fail(message: str, code: int) -> NoReturn:
    """Print an error and exit.

    Under torchrun every process finds the same usage error. Process 0 prints it and exits, after which torchrun ends
    the others.
    """
    if rank_and_world_size()[0] > 0 and code == UsageError.exit_code:
        time.sleep(SECONDS_FOR_MAIN_PROCESS)
    else:
        print(f"error: {message}", file=sys.stderr)
    _leave_at_once(code)


_python_showwarning = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Print the use of a former name as a note of one line, and other warnings as Python does."""
    if issubclass(category, RenamedWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        _python_showwarning(message, category, *where)


def _report(error: Exception) -> NoReturn:
    """Print an error as one line and exit with its code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())  # type: ignore[attr-defined]
        _leave_at_once(UsageError.exit_code)
    if isinstance(error, _PARSER_ERROR):
        verb = getattr(getattr(error, "ctx", None), "command_path", "logcosh-vae")
        message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
        _fail(f"{message} (see '{verb} --help')", UsageError.exit_code)
    if isinstance(error, UserError):
        _fail(str(error), error.exit_code)
    if isinstance(error, OSError) and error.filename is not None:
        _fail(f"{error.filename}: {error.strerror}", 1)
    _fail(f"{type(error).__name__}: {one_line(error)} (add --debug to see where)", 1)


_PARSER_ERROR = typer.BadParameter.__mro__[1]
"""The base class of errors in options and arguments, which typer does not export."""


def main() -> None:
    """Run the command line given in `sys.argv` and exit."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    verb = next((argument for argument in arguments if not argument.startswith("-")), "train")
    keep_freed_memory()
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name may hold bytes that are not text in any encoding
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        if rank_and_world_size()[1] > 1 and verb != "train":
            raise UsageError(f"torchrun is for train; run {verb} without it (--jobs uses several cores)")
        code = app(args=arguments, prog_name="logcosh-vae", standalone_mode=False)
        if code == INTERRUPTED:
            _leave_at_once(INTERRUPTED)
        sys.exit(code or 0)
    except (KeyboardInterrupt, typer.Abort):
        _leave_at_once(INTERRUPTED)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        if debug:
            raise
        _report(error)
