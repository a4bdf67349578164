"""Where a result came from: machine, versions, commit, and a fingerprint of the code that decides the weights."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent

NUMERICAL_SOURCES = (
    "losses.py",
    "compiled.py",
    "cuda_graph.py",
    "cuda_kernels.py",
    "errors.py",
    "log_cosh.c",
    "latent.py",
    "networks.py",
    "models.py",
    "objectives.py",
    "training.py",
    "build.py",
    "processes.py",
    "launch.py",
    "data/batches.py",
    "data/mapped.py",
)
"""Files whose code decides the weights of a run, given its config and its images."""

EVALUATION_SOURCES = (
    "models.py",
    "networks.py",
    "evaluation.py",
    "metrics/sharpness.py",
    "metrics/frechet.py",
    "metrics/classifier.py",
)
"""Files whose code decides the measures of a trained run."""


RESTORATION_SOURCES = (
    "losses.py",
    "compiled.py",
    "log_cosh.c",
    "training.py",
    "data/batches.py",
    "data/mapped.py",
    "restoration/network.py",
    "restoration/optimizer.py",
    "restoration/text.py",
    "restoration/sheets.py",
    "restoration/corruptions.py",
    "restoration/learning.py",
)
"""Files whose code decides the weights of a restoration run."""

RESTORATION_MEASURING_SOURCES = (
    "devices.py",
    "restoration/text.py",
    "restoration/corruptions.py",
    "restoration/network.py",
    "restoration/tiles.py",
    "restoration/measures.py",
    "restoration/measuring.py",
)
"""Files whose code decides the measures of a trained restoration run."""


def _without_comments(source: str) -> str:
    """What a compiler reads of C code."""
    return " ".join(re.sub(r"/\*.*?\*/", " ", source, flags=re.DOTALL).split())


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            # a bare string documents what stands before it
            node.body = [
                part for part in body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.dump(tree)


@cache
def _fingerprint(names: tuple[str, ...]) -> str:
    texts = []
    for name in names:
        meaning = _without_comments if name.endswith(".c") else _without_docstrings
        texts.append(meaning((PACKAGE / name).read_text(encoding="utf-8")))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def code_fingerprint() -> str:
    """Digest of the numerical sources without comments and docstrings: results of other code never mix."""
    return _fingerprint(NUMERICAL_SOURCES)


def evaluation_fingerprint() -> str:
    """The same of the sources that measure a run."""
    return _fingerprint(EVALUATION_SOURCES)


def restoration_fingerprint() -> str:
    """The same of the sources that learn to restore."""
    return _fingerprint(RESTORATION_SOURCES)


def restoration_measuring_fingerprint() -> str:
    """The same of the sources that measure how well that was learnt."""
    return _fingerprint(RESTORATION_MEASURING_SOURCES)


def text_fingerprint() -> str:
    """The same of the source that draws text."""
    return _fingerprint(("restoration/text.py",))


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


def describe() -> dict[str, Any]:
    """Machine, cores, accelerator, versions and commit, as every result carries them."""
    import torch

    from .compiled import library

    return {
        "machine": f"{_processor()}, {platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": metadata.version("numpy"),
            "logcosh-vae": _version(),
        },
        "commit": commit(),
        "code": code_fingerprint(),
        "compiled_losses": library() is not None,
    }
