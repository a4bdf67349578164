"""Memory of runs that are trained at the same time, checked as a sum before the first of them starts.

Each run also checks its own need when it starts, but then the others may not have taken their share yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest
from itertools import groupby

import torch

from ..base.devices import resolve_auto
from ..base.memory import available_bytes, check_memory
from .job import Job

PROCESS_BYTES = 128 << 20
"""Memory of a worker process with torch and no images, a lower bound."""


def _device(job: Job) -> torch.device:
    """Return the device whose memory a job takes; the CPU for one that the job itself will refuse."""
    name = resolve_auto(job.device)
    index = int(name.removeprefix("cuda:")) if name.removeprefix("cuda:").isdecimal() else 0
    is_gpu = name.startswith("cuda") and torch.cuda.is_available() and index < torch.cuda.device_count()
    return torch.device("cuda", index) if is_gpu else torch.device("cpu")


def _needs(jobs: Sequence[tuple[torch.device, int]], count: int) -> Iterator[tuple[torch.device, int]]:
    """Yield each device and how many bytes `count` of the jobs need there, those that need most."""
    host = [PROCESS_BYTES + (needed if device.type == "cpu" else 0) for device, needed in jobs]
    yield torch.device("cpu"), sum(nlargest(count, host))
    on_gpu = sorted((pair for pair in jobs if pair[0].type != "cpu"), key=lambda pair: str(pair[0]))
    for device, pairs in groupby(on_gpu, key=lambda pair: pair[0]):
        yield device, sum(nlargest(count, (needed for _, needed in pairs)))


def _devices(jobs: Sequence[Job]) -> list[tuple[torch.device, int]]:
    return [(_device(job), job.memory()) for job in jobs]


def fitting_count(jobs: Sequence[Job], count: int) -> int:
    """Return how many of the jobs, at most `count`, this machine has the memory to run at the same time; at least 1."""
    pairs = _devices(jobs)
    available = {device: available_bytes(device, shared=True) for device, _ in _needs(pairs, 1)}

    def fits(number: int) -> bool:
        found = ((available[device], needed) for device, needed in _needs(pairs, number))
        return all(left is None or needed <= left for left, needed in found)

    while count > 1 and not fits(count):
        count -= 1
    return max(1, count)


def check_jobs_memory(jobs: Sequence[Job], count: int) -> None:
    """Check that this machine has the memory for `count` of the jobs at the same time.

    Raises:
        ConfigError: it does not; the message has both numbers, and a number of jobs that fits.
    """
    count = min(count, len(jobs))
    for device, needed in _needs(_devices(jobs), count):
        advice = f"use --jobs {fitting_count(jobs, count)}" if count > 1 else "choose smaller batches or networks"
        check_memory(needed, f"training {count} runs at the same time on {device}", advice, device, shared=True)
