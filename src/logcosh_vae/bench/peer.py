"""Time another program in the same rounds: the protocol, and the process that runs it.

The program is started with options such as `--network NAME --width FACTOR --batch-size B --threads T`. When it is
ready, it writes one line with its name to standard output. Then it reads lines from standard input, each a number of
training steps, and answers each with one line when the steps are done. `benchmarks/pythae_step.py` is an example.
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
    """Start a program and yield it as a contender; the program is killed when the context ends.

    Args:
        command: command line, split as by a shell.
        settings: options to append, each as `--NAME VALUE`.

    Raises:
        PeerError: the program cannot be started, or ends while it is still needed. The message holds the last line
            that it wrote to standard error.
    """
    arguments = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryFile("w+") as errors:  # a file, as a pipe that is not read would fill up
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
        requests, answers = process.stdin, process.stdout

        def answer() -> str:
            line = answers.readline().strip()
            if not line:
                process.wait()
                errors.seek(0)
                last = errors.read().strip().splitlines()[-1:] or ["it wrote nothing to standard error"]
                raise PeerError(f"{command!r} ended during the benchmark: {last[0]}")
            return line

        def run(count: int) -> None:
            requests.write(f"{count}\n")
            requests.flush()
            answer()

        try:
            yield Contender(answer(), run)
        finally:
            process.kill()
            process.communicate()
