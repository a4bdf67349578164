"""The environment that is recorded with every result: machine, versions of the software, commit."""

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
    """Return the processor's model name, which only Linux lists in full in /proc/cpuinfo."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version() -> str:
    """Return the installed version of this package, or `uninstalled` if it runs from a source folder."""
    try:
        return metadata.version("logcosh-vae")
    except metadata.PackageNotFoundError:
        return "uninstalled"


@cache
def commit() -> str:
    """Return the git commit of this code (12 digits), with `+` appended if tracked files have changed since.

    The environment variable `LOGCOSH_VAE_COMMIT` overrides it, for copies without a git history. Without git, the
    result is `v` and the package's version.
    """
    if named := os.environ.get("LOGCOSH_VAE_COMMIT"):
        return named
    try:
        root = ["git", "-C", str(PACKAGE)]
        # an installed package may lie inside another project's repository, whose commit would be the wrong one
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
