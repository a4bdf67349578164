"""The GPU script on a CPU: every stage, killed in the middle and started again."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
ROWS = {"table3-smoke": 12, "table4-smoke": 6, "figure6-smoke": 16, "figure10-smoke": 3, "figure2-smoke": 8}


def _command(folder: Path, root: Path, *more: str) -> list[str]:
    where = ["--out", str(folder / "out"), "--runs", str(folder / "runs"), "--data-root", str(root)]
    return [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--smoke", "--jobs", "1", *where, *more]


def _results(folder: Path) -> dict[str, Any]:
    path = folder / "out" / "results.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _wait_for(folder: Path, name: str, rows: int) -> None:
    deadline = time.monotonic() + 300
    while len(_results(folder).get(name, {}).get("rows", [])) < rows:
        assert time.monotonic() < deadline, (folder / "out" / "log.txt").read_text(encoding="utf-8")
        time.sleep(0.05)


@pytest.mark.slow
def test_every_stage_runs_and_goes_on_after_kills(celeba_root: Path, tmp_path: Path) -> None:
    if not (celeba_root / "text-removal" / "train").is_dir():
        pytest.skip("there are no pictures to learn restoration from")
    command = _command(tmp_path, celeba_root, "--minutes", "15")
    known: dict[str, Any] = {}
    for name, rows in (("bench-gpu", 2), ("table3-smoke", 3)):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
            _wait_for(tmp_path, name, rows)
            os.killpg(process.pid, signal.SIGKILL)
        known = _results(tmp_path)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout
    results = _results(tmp_path)
    assert {name: len(results[name]["rows"]) for name in ROWS} == ROWS
    for name in ("bench-gpu", "table3-smoke"):  # what was known is not measured again
        count = len(known[name]["rows"])
        assert results[name]["rows"][:count] == known[name]["rows"]
    with zipfile.ZipFile(tmp_path / "out" / "pictures.zip") as archive:
        assert archive.testzip() is None
        assert {"figure2-smoke.png", "figure6-smoke.png", "figure9-smoke.png"} <= set(archive.namelist())
    for loss in ("l2", "l1", "log-cosh"):
        assert load_file(tmp_path / "out" / f"weights-figure10-smoke-{loss}.safetensors")
    for path in (tmp_path / "out").iterdir():
        assert path.stat().st_size < 16 << 20, path
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert again.stdout.count("done before") >= 4
    merged = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--merge", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert merged.stdout.count("left out, it is of a smoke run") == len(results)


def test_the_deadline_ends_a_stage_and_leaves_what_was_done(data_root: Path, tmp_path: Path) -> None:
    command = _command(tmp_path, data_root, "--minutes", "0.01", "--stages", "speed,table3")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the time is up" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --out or --merge"),
        (["--out", "x", "--merge", "y"], "give either --out or --merge"),
        (["--out", "x", "--stages", "table5"], "unknown stage 'table5'"),
        (["--out", "x", "--minutes", "0"], "--minutes must be positive; got 0"),
        (["--out", "x", "--jobs", "0"], "--jobs must be at least 1; got 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    done = subprocess.run([sys.executable, "benchmarks/gpu.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_cannot_be_used_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    (tmp_path / "file").touch()
    for arguments, message in (
        (["--out", str(tmp_path), "--device", "cpu"], "results.json is damaged"),
        (["--merge", str(tmp_path / "nothing")], "results.json"),
        (["--out", str(tmp_path / "file" / "out"), "--device", "cpu"], "Not a directory"),
        (["--out", str(tmp_path / "out"), "--device", "gpu"], "device 'gpu' cannot be used"),
    ):
        command = [sys.executable, "benchmarks/gpu.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("gpu.py: ")
        assert message in line
