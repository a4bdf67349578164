"""Where a result came from: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .records import free, optional

PACKAGE = Path(__file__).parents[1]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version() -> str:
    """The installed version; of files that are used without being installed, `uninstalled`."""
    try:
        return metadata.version("logcosh-vae")
    except metadata.PackageNotFoundError:
        return "uninstalled"


@cache
def commit() -> str:
    """The commit this code stands at, `+` appended when it was changed since; the version when there is no git.

    `LOGCOSH_VAE_COMMIT` names it for a copy of the files without their history.
    """
    if named := os.environ.get("LOGCOSH_VAE_COMMIT"):
        return named
    try:
        root = ["git", "-C", str(PACKAGE)]
        # an installed package may lie within another project's repository, whose commit says nothing of it
        subprocess.run([*root, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True, timeout=10)
        name = subprocess.run(
            [*root, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changed = subprocess.run(
            [*root, "status", "--porcelain", "--untracked-files=no", "--", "."],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"v{_version()}"
    return name + ("+" if changed else "")


@dataclass(frozen=True)
class Environment:
    """Where a result was made.

    Attributes:
        machine: processor and system; cores: of the machine; accelerator: name of the GPU, None without one.
        versions: of Python, torch, NumPy and this package.
        commit: that the code stands at, see `commit`.
        numerics: versions of what decides the numbers, see `versions`; older results have none.
        compiled_losses: whether the fused CPU kernel of the losses was in use.
    """

    machine: str
    cores: int | None
    accelerator: str | None
    versions: Mapping[str, str]
    commit: str
    numerics: Mapping[str, int] | None = optional()
    compiled_losses: bool | None = optional()
    more: Mapping[str, Any] = free()


def describe() -> Environment:
    """The environment of this process, as every result carries it."""
    import torch

    from ..losses.cpu_kernel import library
    from .versions import numerics

    return Environment(
        machine=f"{_processor()}, {platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": metadata.version("numpy"),
            "logcosh-vae": _version(),
        },
        commit=commit(),
        numerics=numerics(),
        compiled_losses=library() is not None,
    )
