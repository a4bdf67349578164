"""What is installed here, and what it can use: for `logcosh-vae doctor` and bug reports."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from ..losses import cpu_kernel
from .devices import usable_cores
from .environment import PACKAGE, Environment, describe
from .extras import EXTRAS
from .memory import available_bytes

CORE = ("torch", "numpy", "safetensors", "filelock")

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_ENDPOINT",
    "LOCAL_RANK",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "RANK",
)
"""Environment variables that change what the program does, besides those that start with `LOGCOSH_VAE_`."""

COUNT_SECONDS = 3.0
"""After this time, the files of a folder are no longer counted."""


@dataclass(frozen=True)
class ExtraStatus:
    """An extra of the package.

    Attributes:
        adds: what it adds.
        versions: of its distributions that are installed.
        missing: distributions that are not.
    """

    adds: str
    versions: Mapping[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """The compiled CPU kernel of the log-cosh loss.

    Attributes:
        used: whether it is in use.
        reason: why it is not, and what to do.
        file: path of the compiled library.
    """

    used: bool
    reason: str | None
    file: str


@dataclass(frozen=True)
class Folder:
    """A folder of data.

    Attributes:
        path: the folder.
        exists: whether it is there.
        writable: whether files can be created in it, or, if it is missing, in its nearest parent.
        files: number of files in it.
        bytes: their size.
        complete: false if counting was stopped after `COUNT_SECONDS`.
    """

    path: str
    exists: bool
    writable: bool
    files: int
    bytes: int
    complete: bool


@dataclass(frozen=True)
class Installation:
    """Everything about an installation that a bug report needs.

    Attributes:
        environment: machine, versions of the main packages and commit.
        package: folder of this package.
        python: the interpreter: version, compiler and path.
        system: operating system, and on Linux the C library.
        core: versions of the packages that are always needed.
        extras: by name.
        cores: number of cores that this process may use.
        threads: number of threads that torch computes with.
        vector: vector instructions that torch uses.
        memory: bytes that this process can take; None if the system does not say.
        devices: names of the devices that `--device` accepts, each with a description.
        kernel: the compiled kernel.
        variables: environment variables that matter.
    """

    environment: Environment
    package: str
    python: str
    system: str
    core: Mapping[str, str]
    extras: Mapping[str, ExtraStatus]
    cores: int
    threads: int
    vector: str
    memory: int | None
    devices: Mapping[str, str]
    kernel: Kernel
    variables: Mapping[str, str]


def examine() -> Installation:
    """Return what is installed here and what it can use."""
    reason = cpu_kernel.why_not_used()
    return Installation(
        environment=describe(),
        package=str(PACKAGE),
        python=f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        system=platform.platform(),
        core={name: _version(name) or "unknown" for name in CORE},
        extras={name: _extra(adds, names) for name, (adds, names) in EXTRAS.items()},
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        vector=torch.backends.cpu.get_cpu_capability(),
        memory=available_bytes(),
        devices=_devices(),
        kernel=Kernel(reason is None, reason, cpu_kernel.LIBRARY),
        variables={
            name: value
            for name, value in sorted(os.environ.items())
            if name in VARIABLES or name.startswith("LOGCOSH_VAE_")
        },
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _extra(adds: str, distributions: tuple[str, ...]) -> ExtraStatus:
    versions = {name: version for name in distributions if (version := _version(name)) is not None}
    return ExtraStatus(adds, versions, tuple(name for name in distributions if name not in versions))


def _devices() -> dict[str, str]:
    devices = {"cpu": platform.machine()}
    if torch.version.cuda is None and torch.version.hip is None:
        devices["cuda"] = "not available: this build of torch is for CPUs"
    elif not torch.cuda.is_available():
        devices["cuda"] = f"not available: torch {torch.version.cuda or torch.version.hip} finds no GPU or driver"
    else:
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            size = f"{properties.total_memory / 2**30:.1f} GiB"
            devices[f"cuda:{index}"] = f"{properties.name}, {size}, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        devices["mps"] = "available"
    return devices


def folder_status(path: Path) -> Folder:
    """Return what is in a folder, counted for at most `COUNT_SECONDS`; links are not followed."""
    started, files, size, complete = time.monotonic(), 0, 0, True
    for parent, _, names in os.walk(path):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - folders have many files
            except OSError:
                continue
            files += 1
        if time.monotonic() - started > COUNT_SECONDS:
            complete = False
            break
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    return Folder(str(path), path.is_dir(), os.access(nearest, os.W_OK), files, size, complete)
