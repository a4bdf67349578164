"""One run over several processes, as `torchrun` starts them: each takes its part of every batch.

All processes draw the same order and the same noise and keep their own rows of them; gradients, the statistics of batch
normalisation and the reported terms are those of the whole batch, and the MMD is taken over all codes. What is trained
is thus what one process trains, but for the order in which floating-point numbers are added.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..base.launch import rank_and_world_size
from ..models.distributions import NoiseSource, SharedGenerator, StaticNoise
from .objective import Losses

MESSAGE = 1 << 20
"""Gradients are sent as soon as there are so many numbers; fewer would be many messages, more would come late."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this one writes the run folder and speaks to people."""
        return self.rank == 0

    def local_slice(self, batch_size: int) -> slice:
        """This one's rows of a batch; `batch_size` is a multiple of `size`."""
        own = batch_size // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def local_noise(self, generator: torch.Generator | StaticNoise) -> NoiseSource:
        """Where the numbers that belong to the rows of a batch come from."""
        if self.size == 1 or isinstance(generator, StaticNoise):
            return generator
        return SharedGenerator(generator, self.rank, self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in order; every process then computes the same from them."""
        if self.size == 1:
            return rows
        gather: Callable[..., Tensor] = _Gather.apply
        return gather(rows, self.rank, self.size)

    def average(self, losses: Losses) -> Losses:
        """Detached losses, averaged over all processes: those of the whole batch."""
        if self.size == 1 or not losses:
            return losses
        values = torch.stack(list(losses.values())) / self.size
        dist.all_reduce(values)
        return dict(zip(losses, values, strict=True))

    def connect(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Have every step of the optimizer use the gradients and statistics of the whole batch."""
        if self.size == 1:
            return
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SharedBatchNorm2d  # keeps its weights, statistics and place
        optimizer.register_step_pre_hook(_Gradients(model.parameters(), self.size).arrive)

    def barrier(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()


SINGLE_PROCESS = Processes()


def local_device(device: torch.device) -> torch.device:
    """Of `cuda` the card that is this process's own."""
    if device.type == "cuda" and device.index is None and rank_and_world_size()[1] > 1:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextmanager
def process_group(device: torch.device) -> Iterator[Processes]:
    """This process among those that `torchrun` has started, or alone; `device` decides how they talk."""
    if rank_and_world_size()[1] == 1:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        dist.init_process_group("nccl", device_id=device)  # else all would meet on the first card
    else:
        dist.init_process_group("gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


class _Gradients:
    """Gradients averaged over all processes: sent by the message, while the backward pass computes those still missing.

    The backward pass comes to the weights in the same order everywhere, so all send the same messages.
    """

    def __init__(self, weights: Iterable[nn.Parameter], size: int) -> None:
        self.size = size
        self.ready: list[Tensor] = []
        self.sent: list[tuple[list[Tensor], Tensor, dist.Work]] = []
        for weight in weights:
            weight.register_post_accumulate_grad_hook(self.collect)

    def collect(self, weight: Tensor) -> None:
        assert weight.grad is not None
        self.ready.append(weight.grad)
        if sum(gradient.numel() for gradient in self.ready) >= MESSAGE:
            self.send()

    def send(self) -> None:
        whole = torch.cat([gradient.flatten() for gradient in self.ready]).div_(self.size)
        self.sent.append((self.ready, whole, dist.all_reduce(whole, async_op=True)))
        self.ready = []

    def arrive(self, *_: Any) -> None:
        """Send the last ones, wait for all, and put them where the optimizer finds them."""
        if self.ready:
            self.send()
        for gradients, whole, work in self.sent:
            work.wait()
            for gradient, values in zip(gradients, whole.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(values.view_as(gradient))
        self.sent = []


class _Gather(torch.autograd.Function):
    """All rows; what each process computes from them has the same gradient everywhere, of which it takes its own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.own, ctx.size = slice(rank * len(rows), (rank + 1) * len(rows)), size
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # times the number of processes, because gradients are averaged over them and this one is in one alone
        return grads[0][ctx.own] * ctx.size, None, None


class _Normalise(torch.autograd.Function):
    """Batch normalisation over the rows of all processes: torch's fused passes, and one message each way."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        # of bfloat16 the statistics would be bfloat16, too
        wide = x.float() if x.dtype == torch.bfloat16 else x
        own = torch.stack(torch.batch_norm_update_stats(wide, None, None, 0.0))
        parts = [torch.empty_like(own) for _ in range(size)]
        dist.all_gather(parts, own)
        means, variances = torch.stack(parts, dim=1)
        mean = means.mean(dim=0)
        variance = (variances + (means - mean).square()).mean(dim=0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.epsilon, ctx.count = epsilon, size * x.numel() // x.shape[1]
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, eps=epsilon), mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, variance = ctx.saved_tensors
        # as if mean and variance were constants; what they add is a linear function of x, channel by channel
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, variance, None, None, False, ctx.epsilon, [True, True, True]
        )
        whole = torch.stack([of_weight, of_bias]) / ctx.count
        dist.all_reduce(whole)
        inverse = (variance + ctx.epsilon).rsqrt()
        slope = weight * inverse.square() * whole[0]
        offset = weight * inverse * whole[1] - slope * mean
        of_x.addcmul_(x, slope[:, None, None], value=-1.0).sub_(offset[:, None, None])
        return of_x, of_weight, of_bias, None, None


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of all processes' rows, of which each has as many."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        normalise: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Normalise.apply
        y, mean, variance = normalise(x, self.weight, self.bias, self.eps, dist.get_world_size())
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        count = dist.get_world_size() * x.numel() // x.shape[1]
        momentum = 0.1 if self.momentum is None else self.momentum
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
        return y
