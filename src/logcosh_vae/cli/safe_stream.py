"""A text stream that never raises, shows every character, and lets no name send control characters to a terminal."""

from __future__ import annotations

import codecs
import errno
import io
import os
from contextlib import suppress
from typing import IO, Any

from ..base.text import is_escaped_byte, visible

TYPOGRAPHIC = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MINUS SIGN}": "-",
    "\N{MICRO SIGN}": "u",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{EN DASH}": "-",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "-",
}
"""What is written where the encoding of a stream, such as ASCII, lacks a character that the program itself prints."""

ESCAPE = "logcosh_vae.escape"
"""Error handler of codecs that writes what an encoding lacks as in `TYPOGRAPHIC`, or as an escape such as `\\xe9`."""
KEEP_BYTES = "logcosh_vae.keep_bytes"
"""The same, but writes other characters in UTF-8, the encoding of file names; for scripts that use the names."""


def _encode_as(other: str) -> Any:
    """Return an error handler of codecs that uses `TYPOGRAPHIC` and encodes other characters as `other`."""

    def replace(error: UnicodeError) -> tuple[str | bytes, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        written = b""
        for each in error.object[error.start : error.end]:
            if is_escaped_byte(each):
                written += bytes([ord(each) - 0xDC00])
            elif each in TYPOGRAPHIC:
                written += TYPOGRAPHIC[each].encode("ascii")
            else:
                written += each.encode(other)
        return written, error.end

    return replace


def register_error_handlers() -> None:
    """Make the error handlers `ESCAPE` and `KEEP_BYTES` known to codecs."""
    codecs.register_error(ESCAPE, _encode_as("unicode_escape"))
    codecs.register_error(KEEP_BYTES, _encode_as("utf-8"))


def discard(descriptor: int) -> None:
    """Let a file descriptor write to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class Stream(io.TextIOBase):
    """A text stream that passes on to another one what is written, and never raises.

    After the first failure everything is discarded. What a terminal obeys, other than line breaks, is made visible.

    Args:
        stream: the underlying stream; None to discard everything.
        exact: if the stream is not a terminal, change as little as possible, so that a script can use names of files.

    Attributes:
        failure: the first error of the underlying stream, None while there is none. A reader of a pipe that has gone
            away is not a failure: it has seen what it wanted.
    """

    def __init__(self, stream: IO[str] | None, *, exact: bool = False) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        self.exact = exact and not self.isatty()

    @property
    def underlying(self) -> IO[str] | None:
        """The underlying stream; None after a failure."""
        return self._stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the underlying stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether the underlying stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the file descriptor of the underlying stream."""
        if self._stream is None:
            raise io.UnsupportedOperation("the stream is closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the text with its control characters made visible."""
        if not isinstance(text, str):  # click tries whether it can write bytes
            raise TypeError("this stream takes text")
        lines = [visible(line, exact=self.exact) for line in text.split("\n")]
        return self.write_raw("\n".join(lines))

    def write_raw(self, text: str) -> int:
        """Write the text with its control characters, for the escape sequences of rich."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def _fail(self, error: OSError | ValueError) -> None:
        stream, self._stream = self._stream, None
        if isinstance(error, OSError) and error.errno not in (errno.EPIPE, errno.EBADF):
            self.failure = self.failure or error
        with suppress(OSError, ValueError, AttributeError):  # the rest must not fail again when the interpreter exits
            discard(stream.fileno())  # type: ignore[union-attr]


class RawStream(io.TextIOBase):
    """A view of a `Stream` that lets escape sequences through."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.write = stream.write_raw  # type: ignore[method-assign]
        self.flush = stream.flush  # type: ignore[method-assign]
        self.isatty = stream.isatty  # type: ignore[method-assign]
        self.fileno = stream.fileno  # type: ignore[method-assign]

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the underlying stream."""
        return self._stream.encoding
