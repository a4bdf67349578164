"""What surrounds a command: UTF-8, protected standard streams, signals and the warnings of libraries.

`enter` prepares the process, runs the command line and exits. Only the standard library is imported here at first, so
that a Ctrl-C is handled from the first moment on.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any, NoReturn

from ..base.launch import is_distributed
from . import streams

GLOBAL_OPTIONS = {"--debug", "--quiet"}
"""Options of all verbs, which may stand before and after the verb."""

HAS_TIMER = hasattr(signal, "setitimer")
"""Whether the system can send a signal to this process a moment later; Windows cannot."""

SECONDS_UNTIL_NEXT_INTERRUPT = 0.05


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported at a frame.

    An exception in Python code that is called by the initialisation of a C++ extension, such as torch's, can end the
    process with SIGABRT.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Signals:
    """Handles Ctrl-C and SIGTERM: exits at once, or raises `KeyboardInterrupt` while a command is at work.

    Attributes:
        received: number of the signal that has been received, None without one.
        unwinds: whether a command is at work, whose files and worker processes have to be cleaned up. A second signal
            then ends the process at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.unwinds = False

    @property
    def exit_code(self) -> int:
        """The exit code of shells for a process that the signal ends: 130 for Ctrl-C and 143 for SIGTERM."""
        return 128 + (self.received or signal.SIGINT)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, see the class."""
        again, self.received = self.received is not None, number
        if not self.unwinds or again:
            streams.write_stopped()
            os._exit(self.exit_code)
        self._interrupt(frame)

    def interrupt_later(self) -> None:
        """Raise `KeyboardInterrupt` a moment later, because Python would drop it now or has dropped it."""
        signal.setitimer(signal.ITIMER_REAL, SECONDS_UNTIL_NEXT_INTERRUPT)

    def _interrupt(self, frame: FrameType | None) -> None:
        if self.unwinds and HAS_TIMER and _is_importing(frame):
            self.interrupt_later()
        elif self.unwinds:
            raise KeyboardInterrupt

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Install the handlers in a `with` block, unless a parent process has asked for something else.

        Processes of torchrun keep the default for SIGTERM: it ends them at once, also while they wait for the others.
        """
        defaults: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
        if not is_distributed():
            defaults[signal.SIGTERM] = signal.SIG_DFL
        replaced = [number for number, default in defaults.items() if signal.getsignal(number) == default]
        if threading.current_thread() is not threading.main_thread():
            replaced = []
        for number in replaced:
            signal.signal(number, self.handle)
        if replaced and HAS_TIMER:
            signal.signal(signal.SIGALRM, lambda _, frame: self._interrupt(frame))
        try:
            yield
        finally:
            if replaced and HAS_TIMER:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
            for number in replaced:
                signal.signal(number, defaults[number])


@contextmanager
def library_hooks(signals: Signals) -> Iterator[None]:
    """Ignore the warnings of libraries in a `with` block, and an interrupt that one of them drops is raised again.

    Python drops an exception in a callback of a C library or a destructor. The use of a former name is printed as a
    note of one line.
    """
    import warnings

    from ..base.errors import RenamedWarning

    def show_warning(text: Warning | str, category: type[Warning], *_: Any) -> None:
        if issubclass(category, RenamedWarning):
            streams.tell(f"note: {text}")

    def on_dropped(dropped: Any) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt) and HAS_TIMER:
            signals.interrupt_later()

    before = sys.unraisablehook, threading.excepthook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", RenamedWarning)
        warnings.showwarning = show_warning  # type: ignore[assignment]
        sys.unraisablehook = threading.excepthook = on_dropped
        try:
            yield
        finally:
            sys.unraisablehook, threading.excepthook = before


def use_utf8() -> None:
    """Start again with Python's UTF-8 mode if the locale has another encoding.

    Names of files and their order, and so the images of a set, then do not depend on the locale. The text that is
    printed keeps the encoding of the locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or "utf8" in sys._xoptions or not sys.executable or os.name != "posix":
        return
    if os.path.basename(sys.argv[0]) not in ("logcosh-vae", "__main__.py"):  # noqa: PTH119 - pathlib is slow to import
        return  # called by another program
    if sys.stdout is not None:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def leave(code: int) -> NoReturn:
    """Exit without waiting for worker processes: they end with this one, and files are written atomically."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _without_global_options(arguments: list[str]) -> tuple[list[str], set[str]]:
    """Split off `--debug` and `--quiet`, which may stand anywhere before `--`; return the rest and those given."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = GLOBAL_OPTIONS & set(arguments[:end])
    return [each for each in arguments[:end] if each not in given] + arguments[end:], given


def _run(arguments: list[str], signals: Signals, debug: bool) -> int:
    from ..base.errors import MissingPackageError
    from ..base.extras import require

    try:
        require("the command logcosh-vae", "typer", "rich")
    except MissingPackageError as error:
        return streams.fail(error, error.exit_code)
    try:
        from .command import run
    except Exception as error:  # such as a damaged installation
        if debug:
            raise
        return streams.fail(f"the command cannot start: {error} (add --debug to see where)", 1)
    return run(arguments, signals, debug=debug)


def enter() -> None:
    """Run the command line in `sys.argv` and exit."""
    use_utf8()
    signals, (arguments, given) = Signals(), _without_global_options(sys.argv[1:])
    debug = "--debug" in given
    with signals.handled(), streams.protect(debug=debug, quiet="--quiet" in given) as output:
        try:
            with nullcontext() if debug else library_hooks(signals):
                code = _run(arguments, signals, debug)
        except KeyboardInterrupt:
            code = signals.exit_code
        signals.unwinds = False
        if signals.received is not None:
            code = signals.exit_code
            streams.stopped()
        output.flush()
        if output.failure is not None and code == 0:
            code = streams.fail(f"standard output could not be written: {output.failure.strerror}", 1)
        if code:
            leave(code)
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)  # nothing is left to clean up
    if not debug:
        atexit.register(streams.discard_errors)
    sys.exit(0)
