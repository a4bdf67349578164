"""Standard output and standard error as the command uses them, and what `--quiet` and `--json` make of them.

- `result` prints the result of a command to standard output; with `--json` it prints one JSON document instead.
- `say` prints names of written files and parts of a result to standard output, with `--json` to standard error.
- `inform` prints progress and advice in the same way, but nothing with `--quiet`.
- `tell` prints notes to standard error, but nothing with `--quiet`.
- `complain` and `fail` print errors to standard error.

`protect` prepares both streams. Printing then never fails, so that a closed stream, a full disk or a reader that has
gone away cannot end a command before its work is done, and no name of a file can send control characters to the
terminal. Standard error shows only what is printed here: what libraries and worker processes write to it is discarded,
and in a block of `silenced`, or with `--json`, so is what they write to standard output.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

from ..base.errors import ConfigError
from ..base.launch import rank_and_world_size
from ..base.text import message, visible
from .safe_stream import ESCAPE, KEEP_BYTES, RawStream, Stream, discard, register_error_handlers


def _raw(stream: Any) -> Any:
    return RawStream(stream) if isinstance(stream, Stream) else stream


_messages: Stream | None = None
"""Standard error while `protect` is in effect."""

_results: Stream | None = None
"""Standard output while `silenced` is in effect."""

_is_quiet = False
_prints_json = False


def output() -> Any:
    """Return the stream of `say` for rich, whose escape sequences pass; the text has to be `visible` already."""
    if _prints_json:
        return _raw(Stream(None)) if _is_quiet else messages()
    return _raw(_results or sys.stdout or Stream(None))


def messages() -> Any:
    """Return the stream of messages for rich, as `output` does."""
    return _raw(_messages or sys.stderr or Stream(None))


def is_quiet() -> bool:
    """Return whether `--quiet` leaves out progress, notes and advice."""
    return _is_quiet


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


def _take_descriptor(stream: IO[str] | None, descriptor: int, cleanup: ExitStack) -> IO[str] | None:
    """Return a standard stream that only this process uses, and discard what others write to its descriptor, 1 or 2.

    Others are C libraries and worker processes. The descriptor is as before after `cleanup`.
    """
    try:
        if not isinstance(stream, io.TextIOWrapper) or stream.fileno() != descriptor:
            return stream
        stream.flush()
        own = os.dup(descriptor)
        taken = open(own, "w", encoding=stream.encoding, errors=stream.errors, buffering=1)  # noqa: PTH123, SIM115 - a number
    except (OSError, ValueError):
        return stream

    def give_back() -> None:
        with suppress(OSError):
            os.dup2(own, descriptor)
            taken.close()

    cleanup.callback(give_back)
    with suppress(OSError):
        discard(descriptor)
    return taken


@contextmanager
def protect(*, debug: bool = False, quiet: bool = False) -> Iterator[Stream]:
    """Prepare both streams in a `with` block; yield standard output.

    Args:
        debug: also show what libraries and worker processes write to standard error.
        quiet: print only results and errors.
    """
    global _messages, _is_quiet
    register_error_handlers()
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    results = Stream(before[0], exact=True)
    with ExitStack() as cleanup, open(os.devnull, "w", encoding="utf-8") as null:  # noqa: PTH123 - pathlib is slow
        _tolerate(before[0], KEEP_BYTES if results.exact else ESCAPE, cleanup)
        _tolerate(before[1], ESCAPE, cleanup)
        _messages = Stream(before[1] if debug else _take_descriptor(before[1], 2, cleanup))
        _is_quiet = quiet
        sys.stdout, sys.stderr = results, _messages if debug else null
        try:
            yield results
        finally:
            results.flush()
            _messages.flush()
            _messages, _is_quiet = None, False
            sys.stdout, sys.stderr = before


@contextmanager
def silenced() -> Iterator[None]:
    """Discard what libraries and other processes write to standard output in a `with` block; `say` still prints."""
    global _results
    before = sys.stdout
    if _results is not None or not isinstance(before, Stream):
        yield
        return
    with ExitStack() as cleanup, open(os.devnull, "w", encoding="utf-8") as null:  # noqa: PTH123 - pathlib is slow
        _results = Stream(_take_descriptor(before.underlying, 1, cleanup), exact=True)
        sys.stdout = null
        try:
            yield
        finally:
            _results.flush()
            before.failure = before.failure or _results.failure
            _results, sys.stdout = None, before


@contextmanager
def json_output() -> Iterator[None]:
    """In a `with` block, `result` prints JSON, and nothing else reaches standard output."""
    global _prints_json
    with silenced():
        _prints_json = True
        try:
            yield
        finally:
            _prints_json = False


def result(document: Any, *lines: object) -> None:
    """Print the result of a command: `lines`, or with `--json` the document. A command calls this once.

    Args:
        document: a record, or anything made of records and JSON values.
        lines: the same for a reader, as far as it has not been printed yet.
    """
    if not _prints_json:
        say(*lines)
        return
    import json

    from ..base.records import to_json

    stream = _results or sys.stdout
    print(json.dumps(to_json(document)), file=stream, flush=True)


def say(*lines: object) -> None:
    """Print names of files or parts of a result, each on one line whatever names it contains."""
    if _prints_json:
        for line in lines:
            tell(line)
        return
    stream = _results or sys.stdout
    for line in lines:
        print(visible(line, exact=True), file=stream)
    if stream is not None:
        stream.flush()


def inform(*lines: object) -> None:
    """Print progress or advice, as `say` does, unless the command is quiet."""
    if not _is_quiet:
        say(*lines)


def tell(text: object) -> None:
    """Print a message on one line to standard error, unless the command is quiet."""
    if not _is_quiet:
        complain(text)


def complain(text: object) -> None:
    """Print a message about an error on one line to standard error."""
    stream = _messages or sys.stderr
    if stream is not None:  # print would take standard output for it
        print(message(text), file=stream, flush=True)


def fail(text: object, code: int) -> int:
    """Print an error on one line and return the exit code."""
    complain(f"error: {text}")
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
        complain(f"stopped; {hint}" if hint else "stopped")
    _has_told_of_stop = True


def write_stopped() -> None:
    """Do what `stopped` does, in a signal handler that may have interrupted another write."""
    if not _has_told_of_stop and reports():
        with suppress(OSError, ValueError):
            os.write(_messages.fileno() if _messages else 2, b"stopped\n")
