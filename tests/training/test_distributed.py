"""A run shared by two processes equals the run of one process up to rounding, and ends if one of them does."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from logcosh_vae.base.errors import ConfigError
from logcosh_vae.base.settings import override
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
from logcosh_vae.training.process_watch import TIMEOUT_VARIABLE, is_running, stall_seconds
from logcosh_vae.training.run_folder import RunFolder

SETTINGS = ["data.limit=1000", "log_every=1", "picture_every=2"]
WIDTH = {"mlp": "model.hidden=[800,800]", "conv": "model.width=0.03125"}  # the MLP's gradients fill several buckets
ROUNDING = 1e-5


def on_two(*arguments: str | Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command = [*launcher, "--standalone", "-m", "logcosh_vae", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


# With batch normalisation and Adam, rounding differences of any origin grow about tenfold in eight steps.
@pytest.mark.parametrize(("model", "steps"), [("vae-mlp", 20), ("wae-mlp", 20), ("wae-conv", 2)])
def test_two_processes_equal_one_process(model: str, steps: int, tmp_path: Path, data_root: Path) -> None:
    family, _, network = model.partition("-")
    settings = [*SETTINGS, WIDTH[network]]
    alone = override(TrainConfig(epochs=2), [f"model.family={family}", f"model.network={network}", *settings])
    whole = train(alone, tmp_path / "one", root=data_root).metrics()
    given = [part for setting in settings for part in ("--set", setting)]
    arguments = ("train", "--model", model, *given, "--data-root", data_root, "--out", tmp_path / "two")
    shared = on_two(*arguments, "--epochs", 1)
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("to evaluate it") == 1
    # one process resumes what two have begun
    parts = train(replace(alone, epochs=2), tmp_path / "two", root=data_root, resume=True).metrics()
    first, second = ([point for record in records for point in record["tracked"]] for records in (whole, parts))
    assert [point["step"] for point in first] == [point["step"] for point in second] == list(range(1, 21))
    for point, other in zip(first[:steps], second[:steps], strict=True):
        assert point == pytest.approx(other, rel=ROUNDING, abs=ROUNDING)
    for name, value in whole[0]["train"].items():
        assert parts[0]["train"][name] == pytest.approx(value, rel=ROUNDING if network == "mlp" else 1e-2)


NORMALISED = """
import copy
from itertools import product

import torch
import torch.distributed as dist
from logcosh_vae.training.distributed import SharedBatchNorm2d

dist.init_process_group("gloo")
torch.manual_seed(0)
own = slice(4 * dist.get_rank(), 4 * dist.get_rank() + 4)
x, g = 3.0 * torch.randn(8, 5, 6, 7, dtype=torch.float64) + 10.0, torch.randn(8, 5, 6, 7, dtype=torch.float64)
layouts = (torch.contiguous_format, torch.channels_last)
# bfloat16 as under autocast: images in bfloat16, everything else in float32
for (dtype, rounding), layout in product(((torch.float64, 1e-12), (torch.bfloat16, 2e-2)), layouts):
    whole = torch.nn.BatchNorm2d(5, dtype=torch.promote_types(dtype, torch.float32))
    torch.nn.init.normal_(whole.weight)
    torch.nn.init.normal_(whole.bias)
    shared = copy.deepcopy(whole)
    shared.__class__ = SharedBatchNorm2d
    results = []
    for norm, rows in ((whole, slice(None)), (shared, own)):
        leaf = x[rows].to(dtype=dtype, memory_format=layout).clone().requires_grad_()
        y = norm(leaf)
        assert y.dtype == dtype
        y.backward(g[rows].to(dtype))
        results.append((y.detach(), leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var))
    (y, x_grad, *expected), (part, part_grad, *obtained) = results
    for grad in obtained[:2]:
        dist.all_reduce(grad)
    for one, other in zip([part, part_grad, *obtained], [y[own], x_grad[own], *expected], strict=True):
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding)
"""


def test_shared_batch_norm_equals_batch_norm_of_the_whole_batch(tmp_path: Path) -> None:
    (tmp_path / "normalised.py").write_text(NORMALISED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run([*command, tmp_path / "normalised.py"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


def test_errors_of_several_processes_are_printed_once(tmp_path: Path, data_root: Path) -> None:
    odd = on_two("train", "--data-root", data_root, "--set", "batch_size=25", "--out", tmp_path / "run")
    assert odd.returncode != 0
    assert odd.stderr.count("error: batch_size 25 cannot be divided among 2 processes") == 1
    assert not RunFolder(tmp_path / "run").config_path.exists()
    other = on_two("compare", "--out", tmp_path / "c")
    assert other.returncode != 0
    assert other.stderr.count("error: torchrun is for train; run compare without it") == 1


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def ranks_of(launcher: int) -> dict[int, int]:
    """Return the processes that torchrun started, by rank."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pids = [int(pid) for pid, parent in (line.split() for line in listed.splitlines()) if int(parent) == launcher]
    found = {}
    for pid in pids:
        rank = re.search(rb"\0RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())
        if rank is not None:
            found[int(rank[1])] = pid
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("victim", "number", "seconds", "line"),
    [
        (1, signal.SIGKILL, 10, "has died"),
        (1, signal.SIGSTOP, 20, r"has not answered for \d+ seconds"),
        (None, signal.SIGKILL, 10, "has ended"),
        pytest.param(0, signal.SIGKILL, 10, "has died", marks=pytest.mark.slow),
        pytest.param(0, signal.SIGTERM, 10, "was ended by SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_ends_or_stops_ends_the_others_with_one_line(
    victim: int | None, number: signal.Signals, seconds: float, line: str, tmp_path: Path, data_root: Path
) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train_arguments = ["-m", "logcosh_vae", "train", "--out", str(tmp_path / "run"), "--epochs", "10000"]
    settings = ["--set", "data.limit=200", "--set", "model.hidden=[8]", "--data-root", str(data_root)]
    with (tmp_path / "output").open("w") as output:
        torchrun = subprocess.Popen(
            [*launcher, *train_arguments, *settings],
            stdout=output,
            stderr=output,
            env=os.environ | {TIMEOUT_VARIABLE: "5"},
            start_new_session=True,
        )
    ranks: dict[int, int] = {}
    try:
        wait_for(lambda: torchrun.poll() is not None or (tmp_path / "run" / "progress.json").exists(), 120)
        ranks = ranks_of(torchrun.pid)
        assert set(ranks) == {0, 1}
        time.sleep(1.5)  # both have exchanged heartbeats
        pid = torchrun.pid if victim is None else ranks[victim]
        os.kill(pid, number)
        others = [each for rank, each in ranks.items() if rank != victim]
        wait_for(lambda: not any(is_running(each) for each in others), seconds)
    finally:
        for each in (*ranks.values(), torchrun.pid):
            if is_running(each):
                os.kill(each, signal.SIGKILL)
        torchrun.wait()
    text = (tmp_path / "output").read_text()
    (error,) = re.findall(r"^error: .*", text, re.MULTILINE)
    name = "torchrun" if victim is None else f"rank {victim} of 2 processes"
    pattern = rf"error: {name} \(pid {pid} on .*\) {line}.*; training stops; continue it with --resume"
    assert re.fullmatch(pattern, error), error


@pytest.mark.parametrize("text", ["", "abc", "1", "nan", "inf", "-5"])
def test_timeout_of_processes_is_checked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TIMEOUT_VARIABLE, raising=False)
    assert stall_seconds() == 60.0
    monkeypatch.setenv(TIMEOUT_VARIABLE, text)
    with pytest.raises(ConfigError, match="LOGCOSH_VAE_PROCESS_TIMEOUT must be a number of seconds of at least 5"):
        stall_seconds()
