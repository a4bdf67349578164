"""Commands that are killed early: the same command is accepted afterwards, and nothing of ours is left behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def _train(out: Path, data_root: Path) -> list[str]:
    settings = ["--set", "data.limit=1000", "--set", "model.hidden=[8]", "--epochs", "2"]
    return [sys.executable, "-m", "logcosh_vae", "train", "--data-root", str(data_root), *settings, "--out", str(out)]


@pytest.mark.slow
def test_training_killed_at_its_first_files_is_accepted_again(tmp_path: Path, data_root: Path) -> None:
    whole = tmp_path / "whole"
    subprocess.run(_train(whole, data_root), check=True, capture_output=True)
    for number, name in enumerate([".lock", "config.json", "environment.json", "samples"]):
        out = tmp_path / str(number)
        process = subprocess.Popen(_train(out, data_root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (out / name).exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (out / "weights.safetensors").exists(), "the run was over before it was killed"
        started = ["--resume"] if (out / "metrics.jsonl").exists() else []
        done = subprocess.run([*_train(out, data_root), *started], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (out / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
        assert not list(out.rglob(".tmp-*"))


@pytest.mark.slow
def test_commands_beside_a_training_change_nothing(tmp_path: Path, data_root: Path) -> None:
    out, mine = tmp_path / "run", tmp_path / "mine"
    command = _train(out, data_root)
    subprocess.run(command, check=True, capture_output=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    longer = [*command, "--resume", "--epochs", "100000"]
    process = subprocess.Popen(longer, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len((out / "metrics.jsonl").read_text().splitlines()) < 3 and process.poll() is None:
            time.sleep(0.01)
        evaluate = [sys.executable, "-m", "logcosh_vae", "evaluate", str(out), "--data-root", str(data_root)]
        for refused in ([*command, "--resume", "--epochs", "200000"], evaluate):
            done = subprocess.run(refused, capture_output=True, text=True, check=False)
            assert (done.returncode, "another process" in done.stderr) == (1, True), done.stderr
            assert len(done.stderr.splitlines()) == 1
        for name in ("config.json", "weights.safetensors"):
            assert (out / name).read_bytes() == before[out / name], "the finished run stands while it is continued"
        assert not (out / "evaluation.json").exists()
    finally:
        process.kill()
        process.wait()
    mine.write_text("mine")
    (out / ".lock").unlink()
    (out / ".lock").symlink_to(mine)
    for refused in (longer, evaluate):
        done = subprocess.run(refused, capture_output=True, text=True, check=False)
        assert (done.returncode, ".lock" in done.stderr) == (1, True), done.stderr
    assert mine.read_text() == "mine"
