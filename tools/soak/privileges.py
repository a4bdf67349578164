"""Run commands without the rights of the superuser, who ignores permissions and could damage the machine."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from functools import cache
from pathlib import Path

NOBODY = 65534
"""User and group that `drop_privileges` changes to."""

# options of prctl(2), and the capability to read every file (capabilities(7))
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 1, 8, 36, 47
CLONE_NEWNS = 0x20000  # option of unshare(2)
PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, CAPABILITY_VERSION_3 = 2, 2, 0x20080522


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of processes whose parent ends, so that it can wait for them."""
    _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def mount_privately() -> None:
    """Let file systems that this process mounts be seen by it and its children alone, and vanish with them."""
    if is_privileged() and _libc().unshare(CLONE_NEWNS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=False)


def is_privileged() -> bool:
    """Return whether this process may mount file systems and ignore permissions."""
    return os.geteuid() == 0


def drop_privileges() -> None:
    """Change to a user who may write nothing of others.

    The user keeps the right to read every file, since the interpreter may be in the superuser's home.
    """
    if not is_privileged():
        return
    _libc().prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    read_all = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(read_all, read_all, read_all, 0, 0, 0)
    _libc().capset(header, effective_permitted_inheritable)
    _libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)
    die_with_parent()  # the change of the user has reset it


def open_to_all(folder: Path) -> None:
    """Let every user write below a folder, if `drop_privileges` changes the user."""
    if is_privileged():
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o777)
