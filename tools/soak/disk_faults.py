"""Full disks, few file handles, closed pipes and read-only folders, during the long commands."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .attack import Attack, FailedError, Trial, check_outcome
from .kills import Workplace, patch_calls
from .privileges import drop_privileges, is_privileged, mount_privately, open_to_all

NAMES = ("train", "train-features", "restore --train", "restore", "data info", "evaluate")
"""The commands of `kills` that are tried."""

CALLS = ("replace", "rename", "fsync", "open", "mkdir", "scandir", "unlink", "stat")
"""Functions of `os` that an injected fault lets fail."""

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EROFS)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        name: for messages.
        setup: called in the new process.
        before, after: called before the command and after it.
        can_print: whether standard error still works.
        fresh: fraction of the trials in new interpreters; 0 where `setup` changes the interpreter itself.
    """

    name: str
    setup: Callable[[], None] = _nothing
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing
    can_print: bool = True
    fresh: float = 0.1


def _file_size(draw: random.Random, place: Path) -> Fault:  # noqa: ARG001
    size = int(2 ** draw.uniform(0, 17))
    return Fault(f"no file above {size} bytes", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


def _few_handles(draw: random.Random, place: Path) -> Fault:  # noqa: ARG001
    count = draw.randint(4, 32)
    return Fault(f"{count} file handles", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count)), fresh=0.0)


def _closed(draw: random.Random, place: Path) -> Fault:  # noqa: ARG001
    closed = draw.choice([(1,), (2,), (1, 2), (0,), (0, 1, 2)])

    def close() -> None:
        for number in closed:
            os.close(number)

    return Fault(f"handles {closed} are closed", close, can_print=2 not in closed)


def _useless_output(draw: random.Random, place: Path) -> Fault:  # noqa: ARG001
    """Output to a full disk, or to a pipe that nobody reads."""
    numbers, full = draw.choice([(1,), (2,), (1, 2)]), draw.random() < 0.5

    def redirect() -> None:
        reader, writer = os.pipe()
        if full:
            os.close(writer)
            writer = os.open("/dev/full", os.O_WRONLY)
        os.close(reader)
        for number in numbers:
            os.dup2(writer, number)
        os.close(writer)

    return Fault(f"{'a full disk' if full else 'a closed pipe'} takes {numbers}", redirect, can_print=2 not in numbers)


def _injected(draw: random.Random, place: Path) -> Fault:
    """Let a call of the system that names a file of the trial fail, once or always."""
    name, number = draw.choice(CALLS), draw.choice(ERRORS)
    after, once = int(2 ** draw.uniform(0, 6)) - 1, draw.random() < 0.5

    def act(count: int, file: str | None) -> None:
        if count == after + 1 or (count > after and not once):
            raise OSError(number, os.strerror(number), file)

    def inject() -> None:
        patch_calls((name,), place, act)

    often = "once" if once else "always"
    return Fault(f"{errno.errorcode[number]} from os.{name} {often} after {after} calls", inject, fresh=0.0)


def _full_disk(draw: random.Random, place: Path) -> Fault:
    """A file system that is too small, which is enlarged afterwards."""
    if not is_privileged() or shutil.which("mount") is None:
        return _injected(draw, place)
    size = int(2 ** draw.uniform(12, 19))
    target, content = draw.choice([place / "out", place / "prepared"]), place / "content"

    def mount() -> None:
        target.mkdir(exist_ok=True)
        shutil.copytree(target, content)
        total = size + sum(file.stat().st_size + 4096 for file in content.rglob("*"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={total}", "tmpfs", str(target)], check=True)
        shutil.copytree(content, target, dirs_exist_ok=True)

    def enlarge() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(target)], check=True)

    return Fault(f"{size:,} bytes free for {target.name}", before=mount, after=enlarge)


def _read_only(draw: random.Random, place: Path) -> Fault:
    """A folder that cannot be written."""
    target = draw.choice([place / "out", place / "out" / "run", place / "prepared"])

    def protect() -> None:
        target.mkdir(parents=True, exist_ok=True)
        open_to_all(place)
        target.chmod(0o555)

    def release() -> None:
        target.chmod(0o777)
        if target.name == "run" and not any(target.iterdir()):
            target.rmdir()  # so that the command may create it

    return Fault(f"{target.name} is read-only", drop_privileges, protect, release)


FAULTS: tuple[Callable[[random.Random, Path], Fault], ...] = (
    _file_size, _few_handles, _closed, _useless_output, _injected, _injected, _full_disk, _full_disk, _read_only,
)  # fmt: skip


def prepare(folder: Path) -> Trial:
    """Make the inputs; each command is run undisturbed when it is first chosen."""
    mount_privately()
    workplace = Workplace(folder)

    def trial(draw: random.Random, place: Path) -> str:
        name = draw.choice(NAMES)
        workplace.undisturbed(name)
        workplace.start(name, place)
        fault = draw.choice(FAULTS)(draw, place)
        fresh = draw.random() < fault.fresh
        fault.before()
        try:
            try:
                outcome = workplace.run(name, place, setup=fault.setup, fresh=fresh, can_print=fault.can_print)
                if outcome.code != 120:  # the interpreter's own code when it cannot write the last output
                    check_outcome(outcome)
            finally:
                fault.after()
            workplace.continue_and_compare(name, place)
        except FailedError as error:
            raise FailedError(f"{name}, {fault.name}: {error}") from None
        finally:
            for folder in (place / "out", place / "prepared"):
                if os.path.ismount(folder):
                    subprocess.run(["umount", str(folder)], check=False)
        return f"{name}, {fault.name}"

    return trial


ATTACK = Attack(
    "disk-faults",
    "full disks, few file handles, closed pipes and read-only folders",
    200,
    400.0,
    0.1,
    prepare,
    "one line; once the fault is gone, the command ends as undisturbed",
)
