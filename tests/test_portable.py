"""What only Linux has is not needed: a small model trains where it is absent."""

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import os, sys, warnings
for name in ("sched_getaffinity", "posix_fadvise"):
    delattr(os, name)
sys.modules["fcntl"] = None  # as on Windows, where importing it fails
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*soft file lock.*")
import ctypes
ctypes.CDLL = type("CDLL", (), {"__init__": lambda self, *_, **__: None})  # a C library without mallopt
from logcosh_vae.cli import main
main()
"""


def test_a_model_trains_without_what_only_linux_has(tmp_path: Path, data_root: Path) -> None:
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
        [sys.executable, "-c", WITHOUT, *arguments, *settings], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "weights.safetensors").is_file()
