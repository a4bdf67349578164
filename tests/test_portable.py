"""Portability: the package works without functions that only Linux or only Unix has."""

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import os, sys, warnings
for name in ("sched_getaffinity", "posix_fadvise", "pread", "preadv"):
    delattr(os, name)
sys.modules["fcntl"] = None  # as on Windows, where importing it fails
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*soft file lock.*")
import ctypes
ctypes.CDLL = type("CDLL", (), {"__init__": lambda self, *_, **__: None})  # a C library without mallopt
"""

TRAIN = f"{WITHOUT}from logcosh_vae.cli import main\nmain()"

IMPORT = f"""{WITHOUT}
import importlib, pkgutil
import logcosh_vae.base, logcosh_vae.data
for package in (logcosh_vae.base, logcosh_vae.data):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
"""


def test_base_and_data_are_imported_without_linux_functions() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_model_trains_without_linux_functions(tmp_path: Path, data_root: Path) -> None:
    arguments = [
        "train",
        "--data",
        "mnist",
        "--data-root",
        str(data_root),
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    settings = ["--set", "model.hidden=[16]", "--set", "data.limit=500"]
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, *arguments, *settings], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "weights.safetensors").is_file()
