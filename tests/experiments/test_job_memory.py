"""Runs at the same time are refused before any of them starts if they do not fit into memory together."""

from pathlib import Path
from typing import Any

import pytest

from logcosh_vae.base import memory
from logcosh_vae.base.errors import ConfigError
from logcosh_vae.base.settings import override
from logcosh_vae.cli.experiments import _workers
from logcosh_vae.evaluation.evaluate import evaluation_for
from logcosh_vae.experiments import job_memory
from logcosh_vae.experiments.autoencoders import AutoencoderJob
from logcosh_vae.experiments.job import Job
from logcosh_vae.experiments.job_memory import PROCESS_BYTES, check_jobs_memory, fitting_count
from logcosh_vae.experiments.scheduler import run_jobs
from logcosh_vae.experiments.workers import Workers
from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.evaluation import RestorationJob
from logcosh_vae.training.config import TrainConfig, resolve
from logcosh_vae.training.limits import check_training_memory

GIB = 1 << 30


class _LargeJob(Job):
    """A job that needs some memory and has a result already, or must not run."""

    def __init__(self, name: int, needed: int, result: Any = None) -> None:
        self.path, self.needed, self.result = Path(f"/nowhere/{name}"), needed, result

    @property
    def label(self) -> str:
        return self.path.name

    def cost(self) -> float:
        return 1.0

    def memory(self) -> int:
        return self.needed

    def cached_result(self) -> Any:
        return self.result

    def run(self) -> Any:
        raise AssertionError("it must not run")


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the machine have 3 GiB left."""
    for module in (memory, job_memory):
        monkeypatch.setattr(module, "available_bytes", lambda *_, **__: 3 * GIB)
    return 3 * GIB


@pytest.mark.usefixtures("available")
def test_runs_that_do_not_fit_together_are_refused_before_they_start() -> None:
    jobs = [_LargeJob(0, 1000), *(_LargeJob(number, GIB) for number in range(1, 4))]
    needed = f"{3 * (GIB + PROCESS_BYTES):,}"
    message = rf"^training 3 runs at the same time on cpu needs at least {needed} bytes \(3.4 GiB\) of memory, and "
    message += rf"{3 * GIB:,} \(3.0 GiB\) are available; use --jobs 2$"
    with pytest.raises(ConfigError, match=message):
        run_jobs(jobs, Workers.local(3))
    assert fitting_count(jobs, 3) == 2
    check_jobs_memory(jobs, 2)
    check_jobs_memory(jobs[:3], 100)
    with pytest.raises(ConfigError, match="smaller batches or networks"):
        check_jobs_memory([_LargeJob(0, 4 * GIB)], 1)


@pytest.mark.usefixtures("available")
def test_finished_runs_need_no_memory() -> None:
    finished = [_LargeJob(number, 2 * GIB, result="done") for number in range(4)]
    assert set(run_jobs(finished, Workers.local(4)).values()) == {"done"}


@pytest.mark.usefixtures("available")
def test_without_a_number_of_runs_as_many_as_fit_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("logcosh_vae.experiments.workers.usable_cores", lambda: 8)
    jobs = [_LargeJob(number, GIB) for number in range(6)]
    with _workers(None, None, jobs, tmp_path) as workers:
        assert workers.count == 2
    assert "2 runs at the same time instead of 6" in capsys.readouterr().err
    with _workers(5, None, jobs, tmp_path) as workers:
        assert workers.count == 5


def test_jobs_know_their_memory(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(TrainConfig())
    autoencoder = AutoencoderJob(config, tmp_path, evaluation_for("mnist"), data_root)
    restoration = RestorationJob(
        resolve_restoration(override(RestorationConfig("pictures"), ["batch_size=64"])), tmp_path, data_root, tmp_path
    )
    for job in (autoencoder, restoration):
        assert 1 << 20 < job.memory() < 64 * GIB
        assert job.device == "cpu"
    monkeypatch.setattr(memory, "available_bytes", lambda *_, **__: autoencoder.memory() - 1)
    with pytest.raises(ConfigError, match=f"at least {autoencoder.memory():,} bytes"):
        check_training_memory(config, (1, 28, 28))


def test_processes_of_torchrun_on_one_machine_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(override(TrainConfig(), ["model.hidden=[4000,4000]"]))
    for name, value in {"MASTER_ADDR": "localhost", "RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(memory, "available_bytes", lambda *_, **__: GIB)
    with pytest.raises(ConfigError, match=r"in 4 processes needs at least .*, or fewer processes"):
        check_training_memory(config, (1, 28, 28))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    check_training_memory(config, (1, 28, 28))


def test_the_memory_of_several_processes_does_not_depend_on_the_limit_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_left_of_address_space", lambda: 7)
    assert memory.available_bytes() == 7
    together = memory.available_bytes(shared=True)
    assert together is None or together > 1 << 20
