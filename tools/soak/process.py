"""Run the command in a process of its own, with limits, kills and injected faults.

By default the process is forked from this one, in which the program's modules are imported already: this saves two
seconds of start-up. `Run.fresh` starts a new interpreter instead, as a user does.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import io
import os
import pkgutil
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .attack import MAX_BYTES
from .privileges import die_with_parent

INTERRUPT_SECONDS = 10.0
"""A command that is interrupted has to end within this time."""

ORPHAN_SECONDS = 10.0
"""Processes that a command started have to end within this time after it."""

PIPE_BYTES = 1 << 20
"""Size of the pipes for what a command prints: the largest that any user may set."""

Setup = Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: exit code, or the negative number of the signal that ended the process.
        output, errors: what it wrote to standard output and standard error.
        peak_bytes: largest resident memory.
        seconds: time until it ended.
        hung: whether it did not end in time, also after Ctrl-C.
        late: whether it was interrupted by Ctrl-C because it took longer than `Run.seconds`.
        orphans: whether processes that it started went on after its end.
        can_print: whether standard error was open.
    """

    code: int
    output: str
    errors: str
    peak_bytes: int
    seconds: float
    hung: bool = False
    late: bool = False
    orphans: bool = False
    can_print: bool = True


@dataclass(frozen=True)
class Run:
    """A command and the conditions under which it runs.

    Attributes:
        arguments: after `logcosh-vae`.
        folder: working folder.
        environment: variables that are set in addition.
        seconds: time after which it is interrupted as by Ctrl-C.
        kill: time after which it gets a signal, and the signal; None for no signal.
        setup: called in the new process before the program starts, for limits and injected faults.
        fresh: start a new interpreter.
        can_print: whether `setup` leaves standard error open.
    """

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    kill: tuple[float, signal.Signals] | None = None
    setup: Setup | None = None
    fresh: bool = False
    can_print: bool = True

    def outcome(self) -> Outcome:
        """Run the command to its end."""
        # pipes, because the trial's limits and faults apply to files
        readers, writers = zip(*(_wide_pipe() for _ in range(2)), strict=True)
        start = time.monotonic()
        try:
            pid = self._start(writers, readers)
            status, used, late, hung = self._wait(pid, start)
            orphans = _end_group(pid, ORPHAN_SECONDS)
            output, errors = map(_read_available, readers)
        finally:
            for handle in (*readers, *writers):
                os.close(handle)
        code = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        peak = used.ru_maxrss * 1024
        return Outcome(code, output, errors, peak, seconds, hung, late, orphans, self.can_print)

    def _start(self, handles: Sequence[int], readers: Sequence[int]) -> int:
        if self.fresh:
            process = subprocess.Popen(
                [sys.executable, "-m", "logcosh_vae", *self.arguments],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=handles[0],
                stderr=handles[1],
                preexec_fn=self._prepare_process,
            )
            process.returncode = 0  # it is waited for here, not by `Popen`
            return process.pid
        gc.collect()  # a decoder whose threads do not exist in the new process would wait for them when it is freed
        pid = os.fork()
        if pid == 0:
            try:
                for reader in readers:
                    os.close(reader)
                self._prepare_process()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.chdir(self.folder)
                os.environ.update(self.environment)
                _run_program(self.arguments, handles, self.setup)
            finally:
                os._exit(99)
        return pid

    def _prepare_process(self) -> None:
        os.setpgid(0, 0)
        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler if self.fresh else _end_early)
        if self.fresh and self.setup is not None:
            self.setup()

    def _wait(self, pid: int, start: float) -> tuple[int, resource.struct_rusage, bool, bool]:
        """Wait for the process, sending the signals that are due.

        Returns:
            The status, the use of resources, whether it was interrupted for its time, and whether it hung.
        """
        signals = [self.kill] if self.kill is not None else []
        limit = self.seconds
        signals += [(limit, signal.SIGINT), (limit + INTERRUPT_SECONDS, signal.SIGKILL)]
        handle = os.pidfd_open(pid)
        late = hung = False
        try:
            for after, number in signals:
                if select.select([handle], [], [], max(0.0, start + after - time.monotonic()))[0]:
                    break
                late, hung = after >= limit, after > limit
                with suppress(ProcessLookupError):
                    # Ctrl-C and the end of a hang reach every process of the command; other signals only the first
                    (os.killpg if number == signal.SIGINT or hung else os.kill)(pid, number)
            _, status, used = os.wait4(pid, 0)
        finally:
            os.close(handle)
        return status, used, late, hung


def _run_program(arguments: Sequence[str], handles: Sequence[int], setup: Setup | None) -> None:
    """Run the command as an interpreter would, and exit."""
    for number, handle in zip((1, 2), handles, strict=True):
        os.dup2(handle, number)
        os.close(handle)
    if setup is not None:
        setup()
    sys.stdout, sys.stderr = _standard_stream(1), _standard_stream(2)
    sys.argv = ["logcosh-vae", *arguments]
    code: object = 0
    main = importlib.import_module("logcosh_vae.cli").main
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        code = 1
        with suppress(OSError, ValueError, AttributeError):
            traceback.print_exc()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        os._exit(120)  # as an interpreter that cannot flush its output
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _end_early(*_: object) -> None:
    """End a process that is interrupted before the program has begun, as an interpreter that starts would."""
    os._exit(128 + signal.SIGINT)


def _wide_pipe() -> tuple[int, int]:
    """Return the ends of a pipe that holds all that a command prints, so that nobody has to read meanwhile."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader, writer


def _read_available(handle: int) -> str:
    """Return the text in a pipe."""
    content = b""
    with suppress(BlockingIOError):
        while block := os.read(handle, PIPE_BYTES):
            content += block
    return content.decode("utf-8", "surrogateescape")


def _standard_stream(handle: int) -> io.TextIOWrapper | None:
    """Return the stream of an open handle as the interpreter makes it; None if the handle is closed."""
    try:
        os.fstat(handle)
    except OSError:
        return None
    errors = "strict" if handle == 1 else "backslashreplace"
    return open(handle, "w", encoding="utf-8", errors=errors, closefd=False, buffering=1 if handle == 2 else -1)


def _end_group(leader: int, seconds: float) -> bool:
    """Wait for the other processes of a group and end those that remain; return whether any remained."""
    end = time.monotonic() + seconds
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-leader, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(leader, 0)
        except (ProcessLookupError, PermissionError):
            return False
        if time.monotonic() > end:
            os.killpg(leader, signal.SIGKILL)
            return True
        time.sleep(0.01)


def import_program() -> None:
    """Import every module of the program, so that forked commands start at once."""
    package, command = (importlib.import_module(name) for name in ("logcosh_vae", "logcosh_vae.cli"))
    entry_point: Callable[[], None] = vars(command)["main"]
    for module in pkgutil.walk_packages(package.__path__, "logcosh_vae."):
        if module.name != "logcosh_vae.__main__":
            with suppress(ImportError):
                importlib.import_module(module.name)
    for name in ("torch._dynamo", "torchmetrics.functional.image"):  # slow; commands import them late
        with suppress(ImportError):
            importlib.import_module(name)
    vars(command)["main"] = entry_point  # importing the module `cli.main` has replaced it


def limit_memory() -> None:
    """Let this process allocate at most 1 GiB more than `MAX_BYTES`, so that no trial exhausts the machine."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MAX_BYTES + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
