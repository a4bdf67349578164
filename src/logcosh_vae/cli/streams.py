"""Standard output and standard error as the command uses them: `say` prints results, `tell` prints messages.

`protect` prepares both. Printing then never fails, so that a closed stream, a full disk or a reader that has gone away
cannot end a command before its work is done, and no name of a file can send control characters to the terminal.
Standard error shows only what is printed here: what libraries and worker processes write to it is discarded.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, TextIO

from ..base.errors import ConfigError
from ..base.launch import rank_and_world_size
from ..base.text import message, visible
from .safe_stream import ESCAPE, KEEP_BYTES, RawStream, Stream, discard, register_error_handlers


def _raw(stream: Any) -> Any:
    return RawStream(stream) if isinstance(stream, Stream) else stream


_messages: Stream | None = None
"""Standard error while `protect` is in effect."""


def output() -> Any:
    """Return standard output for rich, whose escape sequences pass; the text has to be `visible` already."""
    return _raw(sys.stdout or Stream(None))


def messages() -> Any:
    """Return the stream of messages for rich, as `output` does."""
    return _raw(_messages or sys.stderr or Stream(None))


def discard_errors() -> None:
    """Discard what is written to descriptor 2 from now on."""
    with suppress(OSError):
        discard(2)


def _open_missing_descriptors() -> None:
    """Open the null device in place of a closed standard stream.

    Otherwise the next file that is opened gets its number, and what a C library prints to standard error goes into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(opened, True)


def _tolerate(stream: IO[str] | None, handler: str, cleanup: ExitStack) -> None:
    """Write characters that the encoding of a stream lacks with an error handler, until `cleanup`."""

    if not isinstance(stream, io.TextIOWrapper):
        return
    before = stream.errors or "strict"

    def restore() -> None:
        with suppress(OSError, ValueError):
            stream.reconfigure(errors=before)

    cleanup.callback(restore)
    stream.reconfigure(errors=handler)


def _take_descriptor(stream: TextIO | None, cleanup: ExitStack) -> TextIO | None:
    """Return a stream to standard error that only this process uses, and discard what others write to descriptor 2.

    Others are C libraries and worker processes. Descriptor 2 is as before after `cleanup`.
    """
    try:
        if stream is None or stream.fileno() != 2:
            return stream
        stream.flush()
        own = os.dup(2)
        taken = open(own, "w", encoding=stream.encoding, errors=ESCAPE, buffering=1)  # noqa: PTH123, SIM115 - a number
    except (OSError, ValueError):
        return stream

    def give_back() -> None:
        with suppress(OSError):
            os.dup2(own, 2)
            taken.close()

    cleanup.callback(give_back)
    discard_errors()
    return taken


@contextmanager
def protect(*, debug: bool = False) -> Iterator[Stream]:
    """Prepare both streams in a `with` block; yield standard output.

    Args:
        debug: also show what libraries and worker processes write to standard error.
    """
    global _messages
    register_error_handlers()
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    results = Stream(before[0], exact=True)
    with ExitStack() as cleanup, open(os.devnull, "w", encoding="utf-8") as null:  # noqa: PTH123 - pathlib is slow
        _tolerate(before[0], KEEP_BYTES if results.exact else ESCAPE, cleanup)
        _tolerate(before[1], ESCAPE, cleanup)
        _messages = Stream(before[1] if debug else _take_descriptor(before[1], cleanup))
        sys.stdout, sys.stderr = results, _messages if debug else null
        try:
            yield results
        finally:
            results.flush()
            _messages.flush()
            _messages = None
            sys.stdout, sys.stderr = before


def say(*lines: object) -> None:
    """Print results, each on one line whatever names it contains, to standard output."""
    for line in lines:
        print(visible(line, exact=True))
    if sys.stdout is not None:
        sys.stdout.flush()


def tell(text: object) -> None:
    """Print a message on one line to standard error."""
    stream = _messages or sys.stderr
    if stream is not None:  # print would take standard output for it
        print(message(text), file=stream, flush=True)


def fail(text: object, code: int) -> int:
    """Print an error on one line and return the exit code."""
    tell(f"error: {text}")
    return code


_has_told_of_stop = False


def reports() -> bool:
    """Return whether this process prints what all processes of torchrun have to say."""
    try:
        return rank_and_world_size()[0] == 0
    except ConfigError:
        return True


def stopped(hint: str = "") -> None:
    """Print, once, that the command was stopped, and how to go on."""
    global _has_told_of_stop
    if not _has_told_of_stop and reports():
        tell(f"stopped; {hint}" if hint else "stopped")
    _has_told_of_stop = True


def write_stopped() -> None:
    """Do what `stopped` does, in a signal handler that may have interrupted another write."""
    if not _has_told_of_stop and reports():
        with suppress(OSError, ValueError):
            os.write(_messages.fileno() if _messages else 2, b"stopped\n")
