"""Ends a run on several processes when one of them dies or stops, instead of waiting for it for ever.

`ProcessWatch` is a thread of each process that `torchrun` started. Twice a second it writes a heartbeat to the store
through which the processes found each other, and reads those of the others. It ends its own process

- within seconds, if another process dies, or if torchrun itself dies, and
- after `stall_seconds()`, if another process does not answer: it is stopped, or its machine cannot be reached.

One of the remaining processes prints one line that names the cause.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # torch exports them

from ..base.errors import ConfigError, UserError

INTERVAL = 0.5
"""Seconds between two heartbeats."""

TIMEOUT_VARIABLE = "LOGCOSH_VAE_PROCESS_TIMEOUT"
STALL_SECONDS = 60.0

_SILENT_SECONDS = 4.0
"""Without a heartbeat for this long, a process counts as dead if torch or torchrun also report a failure."""

CONTINUE = "training stops; continue it with --resume"


def stall_seconds() -> float:
    """Return after how many seconds without a heartbeat a process counts as stopped: 60, or the environment variable.

    Raises:
        ConfigError: `LOGCOSH_VAE_PROCESS_TIMEOUT` is not a number of at least 5.
    """
    text = os.environ.get(TIMEOUT_VARIABLE)
    if text is None:
        return STALL_SECONDS
    with suppress(ValueError):
        if 5.0 <= float(text) < 1e9:
            return float(text)
    raise ConfigError(f"{TIMEOUT_VARIABLE} must be a number of seconds of at least 5; got {text[:40]!r}")


@dataclass
class _Peer:
    """Another process, as far as it is known.

    Attributes:
        host, pid: where it runs; None until it has joined.
        beat: its last heartbeat, and when it was seen.
        ended: whether it has said that it ends, because it is done or has reported an error itself.
    """

    host: str | None = None
    pid: int | None = None
    beat: str = ""
    seen: float = 0.0
    ended: bool = False


def is_running(pid: int) -> bool:
    """Return whether a process of this machine runs or is stopped; False if it has ended, also as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError, IndexError):  # on Linux
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    return True


class ProcessWatch:
    """See the module. Use as a context manager around the work that needs all processes.

    Args:
        rank: the number of this process, from 0.
        size: the number of processes.
        on_failure: called with the message to the user before this process is ended, from any thread.
    """

    def __init__(self, rank: int, size: int, on_failure: Callable[[str], None]) -> None:
        self.rank, self.size, self._on_failure = rank, size, on_failure
        self._timeout = stall_seconds()
        self._host, self._parent = socket.gethostname(), os.getppid()
        self._store = self._connect()
        self._peers = {peer: _Peer() for peer in range(size) if peer != rank}
        self._count = 0
        self._looked = time.monotonic()
        self._closed = threading.Event()
        self._lock = threading.RLock()
        self._wakeup, self._wakeup_sender = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="process watch", daemon=True)
        self._restore: tuple[Any, int] | None = None

    @staticmethod
    def _connect() -> Any:
        """Connect to the store of `torchrun`; an own connection, since another thread can wait on torch's."""
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        limit = timedelta(seconds=10)
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=limit)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return PrefixStore(f"logcosh-vae/{attempt}", store)

    def __enter__(self) -> ProcessWatch:
        self._store.set(f"who/{self.rank}", f"{self._host} {os.getpid()}")
        self._store.set(f"beat/{self.rank}", "0")
        if threading.current_thread() is threading.main_thread():
            # The system writes a byte to the pipe at SIGTERM, which the watching thread reads; a handler in Python
            # would not run while this thread waits for other processes
            os.set_blocking(self._wakeup_sender, False)
            handler = signal.signal(signal.SIGTERM, _ignore)
            self._restore = handler, signal.set_wakeup_fd(self._wakeup_sender, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and _is_connection_error(error):
            self._explain()
        self._announce()
        self._closed.set()
        self._thread.join(5.0)
        if self._restore is not None:
            signal.set_wakeup_fd(self._restore[1])
            signal.signal(signal.SIGTERM, self._restore[0])

    def _announce(self) -> None:
        """Tell the others that this process ends on purpose, or has reported an error itself."""
        with suppress(Exception):
            self._store.set(f"ended/{self.rank}", "1")

    def _watch(self) -> None:
        while not self._closed.is_set():
            terminated = self._sleep()
            if self._closed.is_set():
                return
            with self._lock:
                self._exchange()
                cause = self._cause(failure=False)
                deadline = time.monotonic() + _SILENT_SECONDS + 1.0
                while terminated and cause is None and self._someone_is_remote() and time.monotonic() < deadline:
                    time.sleep(INTERVAL)
                    self._exchange()
                    cause = self._cause(failure=True)
                if cause is not None:
                    self._end(cause)
                if terminated:
                    self._end(f"{self._name(self.rank, self._host, os.getpid())} was ended by SIGTERM; {CONTINUE}", 143)

    def _sleep(self) -> bool:
        """Wait for `INTERVAL` seconds or a signal; returns whether it was SIGTERM."""
        if os.name == "nt":  # where pipes cannot be waited for
            self._closed.wait(INTERVAL)
            return False
        readable, _, _ = select.select([self._wakeup], [], [], INTERVAL)
        return bool(readable) and signal.SIGTERM in os.read(self._wakeup, 256)

    def _exchange(self) -> None:
        """Write a heartbeat and read those of the others. Without a connection, the last ones stay."""
        now = time.monotonic()
        if now - self._looked > self._timeout / 2:  # this process was stopped itself: give the others time to answer
            for peer in self._peers.values():
                peer.seen = now
        self._looked = now
        self._count += 1
        with suppress(Exception):  # torch raises several types
            self._store.set(f"beat/{self.rank}", str(self._count))
            for rank, peer in self._peers.items():
                if peer.pid is None and self._store.check([f"who/{rank}"]):
                    host, _, pid = self._store.get(f"who/{rank}").decode().rpartition(" ")
                    peer.host, peer.pid, peer.seen = host, int(pid), now
                if peer.pid is not None:
                    beat = self._store.get(f"beat/{rank}").decode()
                    if beat != peer.beat:
                        peer.beat, peer.seen = beat, now
                peer.ended = peer.ended or self._store.check([f"ended/{rank}"])

    def _someone_is_remote(self) -> bool:
        return any(peer.host not in (None, self._host) for peer in self._peers.values())

    def _cause(self, *, failure: bool) -> str | None:
        """Return the message about a process that has died or does not answer, or about torchrun; else None.

        Args:
            failure: whether torch or torchrun have reported one; a short silence then is enough.
        """
        if os.getppid() != self._parent:
            return f"torchrun (pid {self._parent} on {self._host}) has ended; {CONTINUE}"
        now = time.monotonic()
        for rank, peer in self._peers.items():
            if peer.pid is None or peer.ended:
                continue
            name = self._name(rank, peer.host, peer.pid)
            if peer.host == self._host and not is_running(peer.pid):
                return f"{name} has died; {CONTINUE}"
            silent = now - peer.seen
            if silent > self._timeout:
                return f"{name} has not answered for {silent:.0f} seconds: it is stopped or out of reach; {CONTINUE}"
            if failure and silent > _SILENT_SECONDS:
                return f"{name} does not answer any more; {CONTINUE}"
        return None

    def _name(self, rank: int, host: str | None, pid: int) -> str:
        return f"rank {rank} of {self.size} processes (pid {pid} on {host})"

    def _explain(self) -> None:
        """End this process with the cause of an error in the communication, if it is another process.

        Returns only if the cause is unknown; the error is then reported as it is.
        """
        deadline = time.monotonic() + _SILENT_SECONDS + 2.0
        while time.monotonic() < deadline:
            with self._lock:
                self._exchange()
                cause = self._cause(failure=True)
                if cause is not None:
                    self._end(cause)
                if any(peer.ended for peer in self._peers.values()):
                    self._announce()
                    _exit(1)  # the other process has reported why it ends
            time.sleep(0.2)

    def _end(self, message: str, code: int = 1) -> NoReturn:
        """End this process; the first one to get here prints the message."""
        first = self.rank == 0
        with suppress(Exception):
            first = self._store.add("reported", 1) == 1
        if first:
            with suppress(Exception):
                self._on_failure(message)
        self._announce()
        _exit(code)


def _ignore(_: int, __: FrameType | None) -> None:
    """Handler of SIGTERM: the watching thread reads it from the pipe."""


def _is_connection_error(error: BaseException) -> bool:
    """Whether an error can be the consequence of another process's end."""
    if isinstance(error, UserError):
        return False
    text = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "nccl", "connection", "timed out"))
    )


def _exit(code: int) -> NoReturn:
    """End at once: the main thread may wait in torch for a process that is gone. Files are written atomically."""
    os._exit(code)
