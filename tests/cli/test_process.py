"""The command as a process: locales, names of files, closed and full streams, signals."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = [sys.executable, "-m", "logcosh_vae"]
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = [
    b"byte\xff.png",
    b"escape\x1b[31m.png",
    b"line\nbreak.png",
    "grün 漢字.png".encode(),
    b"-dash.png",
    b"[red]{x}%s $HOME `x` '\".png",
    b"a" * 251 + b".png",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of unusual name with images of unusual names."""
    folder = tmp_path / os.fsdecode(b"set\xff\x1b]0;x\x07\n\xc3\xa9")
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in NAMES:
        with (folder / os.fsdecode(name)).open("wb") as file:
            Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
    return folder


def run(
    *arguments: str | Path, cwd: Path, redirect: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a shell; `redirect` follows it."""
    line = b" ".join(os.fsencode(shlex.quote(str(word))) for word in [*COMMAND, *arguments])
    return subprocess.run(
        ["bash", "-c", line + b" " + redirect.encode()],
        cwd=cwd,
        env={**os.environ, "LOGCOSH_VAE_CACHE": str(cwd / "cache"), **(environment or {})},
        capture_output=True,
        timeout=300,
    )


def test_any_name_works_in_any_locale_and_gives_the_same_set(folder: Path, tmp_path: Path) -> None:
    seen = []
    for number, environment in enumerate([{}, C_LOCALE]):
        out = tmp_path / os.fsdecode(b"sheet\xff%d.png" % number)
        result = run("data", "info", folder, "--size", "16", "--out", out, cwd=tmp_path, environment=environment)
        assert result.returncode == 0, result.stderr
        assert b"6 training and 1 test images" in result.stdout
        assert not {b"\x1b", b"\x07"} & {bytes([byte]) for byte in result.stdout + result.stderr}
        assert out.exists()
        seen.append((result.stdout.replace(os.fsencode(out.name), b""), out.read_bytes()))
    assert seen[0] == seen[1]
    assert len(list((tmp_path / "cache").glob("[!.]*"))) == 1  # prepared once


@pytest.mark.parametrize(
    ("redirect", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        ("2>/dev/full", 0),
        (">/dev/full", 1),
        ("| true; exit ${PIPESTATUS[0]}", 0),
        ("2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_the_work_is_done_whatever_happens_to_the_streams(
    folder: Path, tmp_path: Path, redirect: str, code: int
) -> None:
    result = run("data", "info", folder, "--size", "16", "--out", "sheet.png", cwd=tmp_path, redirect=redirect)
    assert result.returncode == code
    assert (b"No space left on device" in result.stderr) == bool(code)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_deleted_working_directory_is_named(tmp_path: Path) -> None:
    line = f"mkdir gone; cd gone; rmdir ../gone; {shlex.join(COMMAND)}"
    for arguments, code in (("sample /run --out /picture.png", 2), ("--help", 0)):
        result = subprocess.run(["bash", "-c", f"{line} {arguments}"], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == code
        expected = "error: the current folder cannot be used (No such file or directory); change to an existing one\n"
        assert result.stderr == (expected if code else "")


@pytest.mark.parametrize("count", range(5, 10))  # Python needs 4 to start
def test_a_limit_of_open_files_is_one_line(folder: Path, tmp_path: Path, count: int) -> None:
    command = shlex.join([*COMMAND, "data", "info", str(folder), "--size", "16", "--out", "sheet.png"])
    result = subprocess.run(
        ["bash", "-c", f"ulimit -n {count}; exec {command}"],
        cwd=tmp_path,
        env={**os.environ, "LOGCOSH_VAE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        timeout=300,
    )
    assert result.returncode in (0, 1)
    assert b"Traceback" not in result.stderr
    assert result.stderr.count(b"error: ") == result.returncode


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_leaves_one_line(number: signal.Signals, folder: Path, tmp_path: Path) -> None:
    generator = random.Random(0)
    for _ in range(8):
        process = subprocess.Popen(
            [*COMMAND, "data", "info", folder, "--size", "16", "--overwrite"],
            cwd=tmp_path,
            env={**os.environ, "LOGCOSH_VAE_CACHE": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(0.15 + 3 * generator.random() ** 2)  # Python itself takes less than 0.1 s to start
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 128 + number, -number)
        lines = errors.splitlines()
        assert [line for line in lines if not line.startswith(b"preparing")] in ([], [b"stopped"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_an_import_waits_for_its_end(number: signal.Signals, tmp_path: Path) -> None:
    """An exception during the initialisation of torch can end the process with SIGABRT."""
    Path(tmp_path / "interrupted.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nprint('imported')\n")
    code = """
import time
from logcosh_vae.cli.entry import Signals
signals = Signals()
with signals.handled():
    signals.unwinds = True
    try:
        import interrupted
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", signals.exit_code)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.stdout.splitlines() == ["imported", f"interrupted {128 + number}"], result.stderr
