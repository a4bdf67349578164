"""A training step recorded once as a CUDA graph and replayed.

On a GPU a step of a small network is limited by the host, which starts a hundred kernels one by one. Recorded, they are
started together. Forward pass, backward pass and the optimizer's step are all in the graph; only the batch and the
noise are put into place before each replay.
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
"""Steps that are taken before one is recorded: libraries choose their algorithms and allocate in them."""

Update = Callable[[Batch, torch.Generator | StaticNoise], object]
"""One step of training with a batch and a source of noise."""


@contextmanager
def on_own_stream() -> Iterator[None]:
    """Work on a stream that can be recorded, which the default one cannot; both wait for each other at the ends."""
    before = torch.cuda.current_stream()
    own = torch.cuda.Stream()
    own.wait_stream(before)
    with torch.cuda.stream(own):
        yield
    before.wait_stream(own)


def make_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Have an optimizer keep its learning rates in tensors on the GPU, where a recorded step reads them."""
    for group in optimizer.param_groups:
        group["capturable"] = True
        if not isinstance(group["lr"], Tensor):
            group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)


def record(graph: torch.cuda.CUDAGraph, step: Callable[[], object]) -> None:
    """Have `graph` hold what `step` starts on the current stream; nothing of it is carried out."""
    # other threads of this process may use the GPU meanwhile
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
        step()


class GraphedUpdate:
    """A step that is taken as it is at first, then recorded, then replayed; all on the current stream.

    The parameters, their gradients and the optimizer's state stay where they are, so recorded steps and others can
    take turns. A batch of another shape than the recorded one is trained on without the graph.

    Args:
        update: one step. Of random numbers it may use the given source only, and it must not wait for the GPU.
        optimizer: that `update` uses; see `make_capturable`.

    Reference: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, update: Update, optimizer: torch.optim.Optimizer) -> None:
        self._update, self._optimizer = update, optimizer
        self._noise = StaticNoise()
        self._taken = 0
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
        if self._taken < WARM_UP:
            self._update(batch, self._noise)
            self._taken += 1
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
        self._optimizer.zero_grad(set_to_none=True)  # gradients have to be allocated within the graph
        self._noise.rewind()
        static = self._batch
        try:
            record(self._graph, lambda: self._update(static, self._noise))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise TrainingError(
                f"the training step cannot be recorded as a CUDA graph ({reason}); set cuda_graph=false"
            ) from error
