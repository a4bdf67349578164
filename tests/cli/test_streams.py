"""Standard output and standard error: closed, full, broken, of any encoding; what libraries write; what names do."""

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import logcosh_vae.cli
from logcosh_vae.cli import streams
from logcosh_vae.cli.safe_stream import Stream

NAME = os.fsdecode(b"n\xff\x1b[31m\n\xc3\xa9\xe2\x80\xae.png")
"""A name with a byte that is not UTF-8, an escape sequence, a line break, an accent and a change of direction."""


class _Broken(io.StringIO):
    """Fails in every write, or only when it is flushed, like a full disk."""

    def __init__(self, number: int, in_flush: bool) -> None:
        super().__init__()
        self.error, self.in_flush = OSError(number, os.strerror(number)), in_flush

    def write(self, text: str) -> int:
        if not self.in_flush:
            raise self.error
        return len(text)

    def flush(self) -> None:
        if self.in_flush:
            raise self.error


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("in_flush", [False, True])
@pytest.mark.parametrize(("number", "is_failure"), [(errno.EPIPE, False), (errno.EBADF, False), (errno.ENOSPC, True)])
def test_printing_to_a_broken_stream_does_not_raise(number: int, is_failure: bool, in_flush: bool) -> None:
    stream = Stream(_Broken(number, in_flush))
    for _ in range(3):
        print("a line", file=stream, flush=True)
    assert (stream.failure is not None) == is_failure


@pytest.mark.parametrize("stream", [None, _Broken(errno.EPIPE, False)])
def test_closed_streams_are_accepted(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with streams.protect():
        streams.say("a result")
        streams.tell("a message")
        streams.output().write("x")
        streams.messages().write("x")


@pytest.mark.parametrize("make", [io.StringIO, _Terminal])
def test_no_name_sends_a_terminal_control_characters(
    make: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, messages = make(), make()
    monkeypatch.setattr(sys, "stdout", result)
    monkeypatch.setattr(sys, "stderr", messages)
    with streams.protect():
        streams.say(NAME)
        streams.tell(NAME)
        print(f"{NAME}|")
    for text in (result.getvalue(), messages.getvalue()):
        assert "\x1b" not in text
        assert "\\x1b[31m" in text
    assert messages.getvalue() == "n\\xff\\x1b[31m\\né\\u202e.png\n"
    assert result.getvalue().splitlines()[0] == (
        "n\\xff\\x1b[31m\\né\\u202e.png" if make is _Terminal else "n\udcff\\x1b[31m\\né\u202e.png"
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_every_encoding_can_show_everything(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with streams.protect():
        streams.say("33.7 ± 2.0 (\N{MINUS SIGN}66%) “a” 漢 " + os.fsdecode(b"\xff"))
    shown = raw.getvalue()
    assert shown.endswith("漢 ".encode() + b"\xff\n")  # in UTF-8, so that a script can use the name
    assert shown.startswith(
        {"ascii": b"33.7 +- 2.0 (-66%)", "latin-1": b"33.7 \xb1 2.0 (-66%)"}.get(encoding, b"33.7 ")
    )


NOISE = """
import os, sys, threading, warnings
from logcosh_vae.cli import streams
from logcosh_vae.cli.safe_stream import Stream
with streams.protect(debug={debug}):
    print("from a library", file=sys.stderr)
    warnings.warn("from a library")
    os.write(2, b"from a C library\\n")
    os.system("echo from a child process >&2")
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    streams.tell("from the command")
"""


@pytest.mark.parametrize("debug", [False, True])
def test_only_the_command_writes_to_standard_error(debug: bool) -> None:
    result = subprocess.run(
        [sys.executable, "-c", NOISE.format(debug=debug)], capture_output=True, text=True, timeout=60, check=True
    )
    if debug:
        assert result.stderr.count("from a ") >= 4
        assert "ZeroDivisionError" in result.stderr
        assert "from the command" in result.stderr
    else:
        assert result.stderr == "from the command\n"


@pytest.mark.parametrize(
    "source", sorted(Path(logcosh_vae.cli.__file__).parent.glob("*.py")), ids=lambda path: path.name
)
def test_commands_print_with_say_and_tell_only(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert source.name == "streams.py" or not re.search(r"(?<![\w.])print\(|file=sys\.", text)
