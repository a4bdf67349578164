"""Run one long call of `fit` on a thread of its own and have it take training steps on demand."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from threading import Thread

import torch

from ..data.batches import Batch


class OnDemandSteps:
    """A source of batches for one long `fit` that pauses after the number of steps that `run` asks for.

    With it, a step is recorded as a CUDA graph once, as in a real run, and not again in every timed turn.

    Args:
        batches: batches of one epoch, drawn with a generator; called again when they are used up.
        wait: waits until the device has finished the steps that were started.
    """

    def __init__(self, batches: Callable[[torch.Generator], Iterable[Batch]], wait: Callable[[], None]) -> None:
        self._batches, self._wait = batches, wait
        self._requests: queue.Queue[int | None] = queue.Queue()
        self._answers: queue.Queue[BaseException | None] = queue.Queue()

    def __call__(self, generator: torch.Generator) -> Iterator[Batch]:
        """Yield batches for `fit`; blocks while no steps are requested."""
        left = self._requests.get()
        while left is not None:
            for batch in self._batches(generator):
                yield batch
                left -= 1
                while left == 0:
                    self._wait()
                    self._answers.put(None)
                    left = self._requests.get()
                if left is None:
                    return

    def start(self, train: Callable[[], None]) -> None:
        """Call `train` on a new thread; an exception in it is raised by `run`."""

        def guarded() -> None:
            try:
                train()
            except BaseException as error:
                self._answers.put(error)

        Thread(target=guarded, daemon=True).start()

    def run(self, count: int) -> None:
        """Take `count` steps; returns when the device has finished them."""
        self._requests.put(count)
        if (error := self._answers.get()) is not None:
            raise error

    def close(self) -> None:
        """End the training and its thread."""
        self._requests.put(None)
