"""The command that examines an installation: what it prints, and that it works where nearly everything is missing."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.test_packaging import ROOT, names

from logcosh_vae.base import installation
from logcosh_vae.base.extras import EXTRAS
from logcosh_vae.base.installation import examine, folder_status
from logcosh_vae.losses import cpu_kernel

ONLY_TYPER = """
import runpy, sys
sys.modules.update(dict.fromkeys(["PIL", "jinja2", "platformdirs", "matplotlib", "scipy", "sklearn", "torchmetrics"]))
sys.argv = ["logcosh-vae", "doctor", *sys.argv[1:]]
runpy.run_module("logcosh_vae", run_name="__main__")
"""


def test_extras_are_those_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"dev", "docs", "dist"}  # these are for work on the project
    for name, (_, distributions) in EXTRAS.items():
        assert set(distributions) >= names(extras[name])


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_it_works_without_extras_and_names_what_they_would_add(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOGCOSH_VAE_")}
    environment |= {"HOME": str(tmp_path), "LOGCOSH_VAE_MODELS": str(tmp_path / "models"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ONLY_TYPER, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if arguments:
        found = json.loads(done.stdout)
        assert found["folders"] == {"data": None, "cache": None}
        assert found["core"]["torch"] == found["environment"]["versions"]["torch"]
        assert set(found["extras"]) == set(EXTRAS)
        return
    lines = done.stdout.splitlines()
    assert lines[0].startswith("logcosh-vae ")
    assert "environment variables: LOGCOSH_VAE_MODELS=~/models, OMP_NUM_THREADS=1" in lines
    assert "data folder: unknown: platformdirs is missing" in lines
    starts = ("python: ", "packages: torch ", "threads: ", "device cpu: ", "compiled kernel: ", "extra all (")
    assert all(any(line.startswith(start) for line in lines) for start in starts)


def test_the_reason_for_a_missing_kernel_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (None, b"no library"):
        path = tmp_path / "_log_cosh.so"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setattr(cpu_kernel, "LIBRARY", str(path))
        monkeypatch.setattr(cpu_kernel, "library", lambda: None)
        kernel = examine().kernel
        assert not kernel.used
        assert kernel.reason is not None
        assert str(path) in kernel.reason
        assert "install a C compiler" in kernel.reason


def test_folders_are_counted_for_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1", "a/2", "b/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = folder_status(tmp_path)
    assert (found.exists, found.writable, found.files, found.bytes, found.complete) == (True, True, 3, 15, True)
    missing = folder_status(tmp_path / "no" / "folder")
    assert (missing.exists, missing.writable, missing.files) == (False, True, 0)
    monkeypatch.setattr(installation, "COUNT_SECONDS", -1.0)
    assert not folder_status(tmp_path).complete
