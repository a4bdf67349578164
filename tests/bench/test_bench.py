"""Timing on a simulated clock, and benchmarks that do the work that they claim to measure."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from logcosh_vae.base.devices import takes_bfloat16
from logcosh_vae.base.environment import describe
from logcosh_vae.base.errors import PeerError
from logcosh_vae.bench import batches, measuring, side_by_side, step, suite
from logcosh_vae.bench.loss import LIMIT, LOSSES, MSE
from logcosh_vae.bench.peer import peer
from logcosh_vae.bench.timing import Contender, in_turns, ratio, row
from logcosh_vae.cli.tables import bench_table
from logcosh_vae.reporting.tables import time_text
from logcosh_vae.training.loop import make_generator


class Machine:
    """A simulated machine that slows down over time."""

    def __init__(self, drift: float) -> None:
        self.now, self.drift = 0.0, drift
        self.counts: dict[str, list[int]] = {}

    def contender(self, name: str, cost: float, unit: int = 1) -> Contender:
        def run(count: int) -> None:
            self.counts.setdefault(name, []).append(count)
            self.now += count * cost * (1.0 + self.drift * self.now)

        return Contender(name, run, unit)


@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_drift_of_the_machine_does_not_bias_the_ratio(drift: float) -> None:
    machine = Machine(drift)
    both = [machine.contender("a", 3e-3, unit=5), machine.contender("b", 1e-3)]
    times = in_turns(both, rounds=10, seconds=0.5, clock=lambda: machine.now)
    assert [len(values) for values in times.values()] == [10, 10]
    assert ratio(times, "a", "b").median == pytest.approx(3.0, rel=0.01)
    assert all(count % 5 == 0 for count in machine.counts["a"])
    assert len(set(machine.counts["b"][-10:])) == 1
    result = row("work", times, "b", threads=1)
    assert result.ratio.keys() == {"a"}
    low, median, high = (getattr(result.seconds["b"], name) for name in ("low", "median", "high"))
    assert low <= median <= high
    if drift:
        assert high > low
    with pytest.raises(ValueError, match="different names"):
        in_turns([both[0], both[0]], rounds=1, seconds=0.01, clock=lambda: machine.now)


@pytest.mark.parametrize(("network", "width"), [("mlp", None), ("conv", 0.0625)])
def test_limit_has_the_same_flops_as_a_training_step(network: str, width: float | None) -> None:
    def count_flops(contender: Contender) -> int:
        with FlopCounterMode(display=False) as counter:
            contender.run(1)
        return int(counter.get_total_flops())

    config, pixels = step.config_of(network, width), step.images()
    counts = {count_flops(make(config, pixels)) for make in (step.ours, step.plain, lambda c, _: step.limit(c))}
    assert len(counts) == 1
    with step.contenders(network, width) as contenders:
        for contender in contenders:
            contender.run(2)
    names = [contender.name for contender in contenders]
    assert [name for name in names if name != step.BFLOAT16] == [step.OURS, step.PLAIN, step.LIMIT]
    assert (step.BFLOAT16 in names) == takes_bfloat16(torch.device("cpu"))


def test_all_forms_of_log_cosh_have_the_gradient_tanh() -> None:
    # residuals as large as the published formulas can handle: 100 * 0.8 is below 89, where they overflow
    target, prediction = 0.8 * torch.rand(2, 50, generator=make_generator(0, "x"))
    prediction.requires_grad_()
    for name, loss in LOSSES.items():
        (grad,) = torch.autograd.grad(loss(prediction, target), prediction)
        if "log" in name:
            assert torch.allclose(grad, (100.0 * (prediction - target)).tanh(), atol=1e-5)


def test_benchmark_result_records_environment_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(suite.SUITE["loss"][0], seconds=0.002)
    monkeypatch.setitem(suite.SUITE, "loss", (quick,))
    seen = []
    result = suite.run("loss", rounds=2, progress=lambda *where: seen.append(where))
    assert seen == [("1,000 elements", 1, 2), ("1,000 elements", 2, 2)]
    assert result.environment == describe()
    assert result.rows[0].more["elements"] == 1000
    assert result.rows[0].ratio.keys() == {*LOSSES, LIMIT} - {MSE}
    assert bench_table(result).row_count == len(LOSSES) + 1
    assert [time_text(seconds) for seconds in (2.5, 0.0123, 4.56e-6)] == ["2.5 s", "12.3 ms", "4.56 µs"]


PEER = """
import sys
print("counter", *sys.argv[1:], flush=True)
for line in sys.stdin:
    if int(line) > 100:
        sys.exit("too many")
    print("done", flush=True)
"""


def test_peer_takes_steps_and_reports_its_failures() -> None:
    command = f"{sys.executable} -c '{PEER}'"
    with peer(command, {"network": "mlp", "threads": 2}) as contender:
        assert contender.name == "counter --network mlp --threads 2"
        contender.run(100)
        with pytest.raises(PeerError, match="ended during the benchmark: too many"):
            contender.run(101)
    for wrong, message in [
        ("/nowhere/program", "cannot be started"),
        ("/bin/false", "it wrote nothing to standard error"),
    ]:
        with pytest.raises(PeerError, match=message), peer(wrong, {}):
            pass


def test_contenders_of_the_other_benchmarks_run() -> None:
    for contenders in (batches.contenders(3, 16), measuring.restoration_contenders()):
        for contender in contenders:
            contender.run(1)
    with side_by_side.contenders("mlp") as both:
        for contender in both:
            contender.run(3)


FAULTS = """
import resource, torch
from logcosh_vae.base.memory import keep_freed_memory
keep_freed_memory()
before = 0
for _ in range(60):
    torch.ones(1 << 22)  # 16 MiB; the heap reaches its final size after a few
    now = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    faults, before = now - before, now
print(faults)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_freed_memory_is_reused_without_page_faults() -> None:
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120)
    assert int(result.stdout) < 100, "page faults, of 4096 pages"
