"""CUDA graphs: record a training step once and replay it.

On a GPU, a step of a small network is limited by the host, which launches about a hundred kernels one by one. A graph
launches them together. It contains the forward pass, the backward pass and the optimizer's step; before each replay the
batch and the noise are copied to the addresses that the recorded kernels read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..base.errors import TrainingError
from ..data.batches import Batch
from ..models.distributions import StaticNoise

WARM_UP = 3
"""Steps before the recording, in which libraries select algorithms and allocate memory."""

Update = Callable[[Batch, torch.Generator | StaticNoise], object]
"""A function that trains on one batch with a source of noise."""


@contextmanager
def on_own_stream() -> Iterator[None]:
    """Run the `with` block on a new CUDA stream, because the default stream cannot be recorded.

    The new stream waits for the previous one at the start, and the previous one for it at the end.
    """
    before = torch.cuda.current_stream()
    own = torch.cuda.Stream()
    own.wait_stream(before)
    with torch.cuda.stream(own):
        yield
    before.wait_stream(own)


def make_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Move the learning rates of `optimizer` into tensors on the GPU, which a recorded step reads at each replay."""
    for group in optimizer.param_groups:
        group["capturable"] = True
        if not isinstance(group["lr"], Tensor):
            group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)


def record(graph: torch.cuda.CUDAGraph, step: Callable[[], object]) -> None:
    """Record into `graph` the kernels that `step` launches on the current stream, without running them."""
    # "thread_local": other threads of this process may use the GPU during the recording.
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
        step()


class GraphedUpdate:
    """A training step that runs `WARM_UP` times directly, is then recorded, and is replayed from then on.

    Parameters, gradients and the optimizer's state keep their addresses, so replayed and direct steps can alternate.
    A batch whose shape differs from the first one's is trained on directly. All work is on the current stream.

    Args:
        update: trains on one batch. It must draw random numbers from the given source only and must not synchronize
            with the GPU.
        optimizer: the one that `update` steps; it is changed by `make_capturable`.

    Raises:
        TrainingError: when called, if the step cannot be recorded.

    Reference: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, update: Update, optimizer: torch.optim.Optimizer) -> None:
        self._update, self._optimizer = update, optimizer
        self._noise = StaticNoise()
        self._warm_up_steps = 0
        self._shape: torch.Size | None = None
        self._batch: Batch | None = None
        self._graph = torch.cuda.CUDAGraph()
        make_capturable(optimizer)

    def __call__(self, batch: Batch, generator: torch.Generator) -> None:
        if self._shape is None:
            self._shape = batch.images.shape
        if batch.images.shape != self._shape:
            self._update(batch, generator)
            return
        self._noise.refill(generator)
        if self._warm_up_steps < WARM_UP:
            self._update(batch, self._noise)
            self._warm_up_steps += 1
            return
        if self._batch is None:
            self._record(batch)
        assert self._batch is not None
        self._batch.images.copy_(batch.images)
        if batch.labels is not None and self._batch.labels is not None:
            self._batch.labels.copy_(batch.labels)
        self._graph.replay()

    def _record(self, batch: Batch) -> None:
        self._batch = Batch(batch.images.clone(), None if batch.labels is None else batch.labels.clone())
        self._optimizer.zero_grad(set_to_none=True)  # so that the graph's own memory holds the gradients
        self._noise.rewind()
        static = self._batch
        try:
            record(self._graph, lambda: self._update(static, self._noise))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise TrainingError(
                f"the training step cannot be recorded as a CUDA graph ({reason}); set cuda_graph=false"
            ) from error
