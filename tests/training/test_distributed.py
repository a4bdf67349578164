"""A run shared by two processes equals the run of one process up to rounding."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from logcosh_vae.base.settings import override
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig
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
