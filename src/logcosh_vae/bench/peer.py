"""Another program in the same turns: it says its name, and does so many training steps for each number it is given.

It is started with `--network NAME --width FACTOR --batch-size B --threads T`, writes one line with its name when it is
ready, then reads numbers of steps, a line each, and answers each with a line when they are done.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..base.errors import PeerError
from .timing import Contender


@contextmanager
def peer(command: str, settings: Mapping[str, object]) -> Iterator[Contender]:
    """The program of a command line as a contender; it ends with the context.

    Raises:
        PeerError: it cannot be started, or ends before its time.
    """
    arguments = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would fill up
        try:
            process = subprocess.Popen(
                [*shlex.split(command), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        except (OSError, ValueError) as error:
            raise PeerError(f"{command!r} cannot be started: {error}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        given, said = process.stdin, process.stdout

        def answer() -> str:
            line = said.readline().strip()
            if not line:
                process.wait()
                errors.seek(0)
                last = errors.read().strip().splitlines()[-1:] or ["it wrote nothing"]
                raise PeerError(f"{command!r} ended before its time: {last[0]}")
            return line

        def run(count: int) -> None:
            given.write(f"{count}\n")
            given.flush()
            answer()

        try:
            yield Contender(answer(), run)
        finally:
            process.kill()
            process.communicate()
