"""The random attacks of `tools/soak`: some trials of each pass, and planted faults are found."""

import importlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tools.soak import attack, images, kills, record, tampering
from tools.soak.attack import FailedError, check_outcome
from tools.soak.process import Run
from tools.soak.registry import ATTACKS
from tools.soak.session import Session
from tools.soak.worker import Result, Worker

from logcosh_vae.base.records import read_record, write_record

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_trials_of_each_attack_pass(tmp_path: Path) -> None:
    counts = {"images": 60, "configs": 40, "command-lines": 6, "kills": 2, "tampering": 2, "disk-faults": 2}
    out = tmp_path / "soak.json"
    usual = [
        sys.executable,
        "-m",
        "tools.soak",
        "--jobs",
        "1",
        "--resume",
        "--out",
        str(out),
        "--failures",
        str(tmp_path),
    ]
    for name, count in counts.items():
        words = [*usual, "--only", name, "--count", str(count)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    results = read_record(record.SoakResults, out)
    assert {name: (results.attacks[name].tried, results.attacks[name].failed) for name in counts} == {
        name: (count, 0) for name, count in counts.items()
    }


def hang() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)


def leave_a_process() -> None:
    subprocess.Popen(["sleep", "60"])


def fail(text: str, code: int = 1) -> Callable[[], None]:
    def main() -> None:
        sys.stderr.write(text)
        sys.exit(code)

    return main


def raise_an_error() -> None:
    raise ZeroDivisionError("planted")


def allocate() -> None:
    assert len(bytes(range(256)) * (1 << 16)) == 1 << 24


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (hang, "still running"),
        (leave_a_process, "processes that it started"),
        (raise_an_error, "traceback: ZeroDivisionError: planted"),
        (allocate, "took "),
        (fail("/lib/x.py:3: UserWarning: planted\n", 0), "not a message of the program"),
        (fail("error: one\nerror: two\n"), "2 lines that begin"),
        (fail(""), "0 lines that begin"),
        (fail("error: " + "x" * 4_000 + "\n"), "a message of 4,007 characters"),
        (fail("error: \x1b[31mred\n"), "control characters"),
        (fail("error: wrong\n", 3), "exit code 3"),
    ],
)
def test_fault_of_a_command_is_found(
    main: Callable[[], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("logcosh_vae.cli"), "main", main)
    monkeypatch.setattr("tools.soak.process.INTERRUPT_SECONDS", 0.5)
    monkeypatch.setattr("tools.soak.process.ORPHAN_SECONDS", 0.5)
    if main is allocate:
        monkeypatch.setattr(attack, "MAX_BYTES", 1 << 24)
    with pytest.raises(FailedError, match=message):
        check_outcome(Run([], tmp_path, seconds=6.0).outcome())


def test_image_that_is_neither_used_nor_named_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path))
    monkeypatch.setattr(images, "load_images", lambda *_, **__: SimpleNamespace(images=[], left_out=[]))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.png").touch()
    with pytest.raises(FailedError, match="0 are used and 0 are named"):
        images.check_set(tmp_path / "set" / "x.png", random.Random(0))


def test_damage_without_effect_on_the_exit_code_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that differs, a file of the user that is changed, and weights that are lost."""
    use = tampering.Use(("sample", "run"), "run", "new")
    for name in ("run", "new", "outside"):
        (tmp_path / name).mkdir()
    weights, victim = tmp_path / "run" / "weights.safetensors", tmp_path / "outside" / "victim.txt"
    weights.write_bytes(b"1")
    program = importlib.import_module("logcosh_vae.cli")

    def tried(main: Callable[[], object]) -> None:
        monkeypatch.setattr(program, "main", main)
        tampering.check_use(use, tmp_path, tmp_path / "run" / "config.json", {"s.png": "other"})

    with pytest.raises(FailedError, match="the result is another"):
        tried(lambda: None)
    with pytest.raises(FailedError, match="outside of the folder was changed"):
        tried(victim.touch)
    with pytest.raises(FailedError, match="the undamaged weights are gone"):
        tried(lambda: (weights.unlink(), fail("error: no\n")()))


def test_file_that_a_killed_command_leaves_is_found(tmp_path: Path) -> None:
    workplace = kills.Workplace(tmp_path)
    place = tmp_path / "trial"
    workplace.start("data info", place)
    (place / "out" / ".sheet.tmp").touch()
    with pytest.raises(FailedError, match=r"out/.sheet.tmp is left"):
        workplace.continue_and_compare("data info", place)


def test_a_failure_is_recorded_without_folders_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(worker: Worker, index: int) -> Result:
        place = worker.trial_folder(index)
        place.mkdir(parents=True)
        return Result(index, "", f"{place / 'a.png'} is left, and {tmp_path / 'work' / 'b.png'}", 0)

    monkeypatch.setattr(Worker, "run", run)
    environment = record.Environment("machine", 2, None, {"torch": "2", "python": "3"}, "abc")
    kept = Session(record.started(None, 7, environment), None, tmp_path / "work", tmp_path / "kept")
    kept.run("images", [3], time.monotonic() + 60, jobs=1)
    (failure,) = kept.results.failures
    assert failure.message == "TRIAL/a.png is left, and WORK/b.png"


def test_figures_are_continued_and_shown(tmp_path: Path) -> None:
    environment = record.Environment("machine", 2, None, {"torch": "2", "python": "3"}, "abc")
    results = record.started(None, 7, environment).with_trial("images", 0, "", 1.0, 5)
    write_record(results, tmp_path / "soak.json")
    later = record.started(read_record(record.SoakResults, tmp_path / "soak.json"), 0, environment)
    later = later.with_trial("images", 1, "took 3 GiB", 1.0, 2**30)
    assert later.failures == (record.Failure("images", 7, 1, "abc", "took 3 GiB"),)
    assert later.attacks["images"] == record.AttackCounts(20_000, 2, 1, 2.0, 2**30)
    again = record.started(later, 0, environment, anew=["images"])
    assert (again.seed, again.failures, again.attacks["images"].tried) == (7, (), 0)
    assert record.started(later, 0, environment, anew=["kills"]).failures == later.failures
    text = record.markdown(later)
    assert "| 20,000 | 2 | 1 | 0.0 |" in text
    assert all(attack.promise in text for attack in ATTACKS.values())
