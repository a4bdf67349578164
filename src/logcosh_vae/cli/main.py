"""The entry point: errors in one line, exit codes, Ctrl-C."""

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
from . import bench, compare, data, reproduce, restoration, runs
from .options import app

__all__ = ["bench", "compare", "data", "main", "reproduce", "restoration", "runs"]

WAIT_FOR_THE_FIRST = 30.0
INTERRUPTED = 128 + signal.SIGINT


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        print(f"logcosh-vae {version('logcosh-vae')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
) -> None:
    """What every verb understands; `main` takes `--debug` out before it comes here, wherever it stands."""


def _leave_at_once(code: int) -> NoReturn:
    """Leave without waiting for worker processes: they end with this one, and nothing is half-written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fail(message: str, code: int) -> NoReturn:
    if rank_and_world_size()[0] > 0 and code == 2:
        # all processes find the same mistake: the first says so, and torchrun ends the others when it has left
        time.sleep(WAIT_FOR_THE_FIRST)
    else:
        print(f"error: {message}", file=sys.stderr)
    _leave_at_once(code)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    """A renamed option in one line; other warnings as Python shows them."""
    if issubclass(category, RenamedWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        _python_shows(message, category, *where)


_python_shows = warnings.showwarning


def main() -> None:
    """Entry point: one line for an error, a traceback only with `--debug`; 2 for usage, 1 for failure."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    usage_error = typer.BadParameter.__mro__[1]
    verb = next((argument for argument in arguments if not argument.startswith("-")), "train")
    keep_freed_memory()
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what no encoding has; stderr writes it escaped
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        if rank_and_world_size()[1] > 1 and verb != "train":
            raise UsageError(f"torchrun is for train; {verb} is run without it, on several cores by --jobs")
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
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # type: ignore[attr-defined]
            _leave_at_once(2)
        if isinstance(error, usage_error):
            where = getattr(getattr(error, "ctx", None), "command_path", "logcosh-vae")
            message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
            _fail(f"{message} (see '{where} --help')", 2)
        if isinstance(error, UserError):
            _fail(str(error), error.exit_code)
        if isinstance(error, OSError) and error.filename is not None:
            _fail(f"{error.filename}: {error.strerror}", 1)
        _fail(f"{type(error).__name__}: {one_line(error)} (add --debug for where)", 1)
