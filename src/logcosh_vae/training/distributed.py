"""Data-parallel training: one run shared by the processes that `torchrun` started.

Every process draws the same shuffling order and the same noise, and keeps its own rows of each batch. Gradients, the
statistics of batch normalisation and the reported losses are those of the whole batch, and the MMD compares the codes
of all processes. The result therefore equals that of one process up to the rounding of floating-point sums.

`process_group` connects the processes and gives each of them a `Processes` object, whose methods do the communication.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..base.errors import ConfigError, TrainingError
from ..base.files import one_line
from ..base.launch import rank_and_world_size
from ..models.distributions import NoiseSource, SharedGenerator, StaticNoise
from .objective import Losses
from .process_watch import ProcessWatch

BUCKET_MB = 4
"""Size in MiB of the buckets in which gradients are sent; torch's default is 25. Training waits for the last bucket,
which is complete only when the backward pass ends, so it should be small."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes the run folder and reports to the user."""
        return self.rank == 0

    def local_slice(self, batch_size: int) -> slice:
        """The rows of a batch that this process trains on; `batch_size` must be a multiple of `size`."""
        rows = batch_size // self.size
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def local_noise(self, generator: torch.Generator | StaticNoise) -> NoiseSource:
        """A source of noise for this process's rows: it draws for the whole batch and keeps the local slice."""
        if self.size == 1 or isinstance(generator, StaticNoise):
            return generator
        return SharedGenerator(generator, self.rank, self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows of all processes in the order of their ranks; differentiable in this process's rows.

        Every process is expected to compute the same loss from the result. Its gradient with respect to the local rows
        is multiplied by `size`, because DistributedDataParallel divides gradients by `size` when it averages them.
        """
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, rows.detach().contiguous())
        if rows.requires_grad:
            parts[self.rank] = rows.view_as(rows)  # a view, because the hook must not scale other gradients of `rows`
            parts[self.rank].register_hook(lambda grad: grad * self.size)
        return torch.cat(parts)

    def average(self, losses: Losses) -> Losses:
        """Average detached losses over all processes, which gives the losses of the whole batch."""
        if self.size == 1 or not losses:
            return losses
        values = torch.stack(list(losses.values())) / self.size
        dist.all_reduce(values)
        return dict(zip(losses, values, strict=True))

    def data_parallel(self, model: nn.Module) -> nn.Module:
        """Return a module that computes `model`, but whose backward pass averages gradients over all processes.

        Batch normalisation in `model` is replaced, in place, by a layer that uses the statistics of the whole batch.
        Parameters and buffers keep their names, so state dicts are unaffected. With one process, `model` is returned.
        """
        if self.size == 1:
            return model
        if next(model.parameters()).is_cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        else:
            share_batch_norm(model)
        parallel = DistributedDataParallel(model, gradient_as_bucket_view=True, bucket_cap_mb=BUCKET_MB)
        # Every process computes the same running statistics. Set here, because the constructor's argument was renamed
        # after torch 2.9 while this attribute was kept.
        parallel.broadcast_buffers = False
        return parallel

    def barrier(self) -> None:
        """Block until every process has reached this call."""
        if self.size > 1:
            dist.barrier()


SINGLE_PROCESS = Processes()


def local_device(device: torch.device) -> torch.device:
    """Replace `cuda` by the GPU with this process's local rank when `torchrun` started several processes."""
    if device.type == "cuda" and device.index is None and rank_and_world_size()[1] > 1:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextmanager
def process_group(device: torch.device, on_failure: Callable[[str], None]) -> Iterator[Processes]:
    """Join the processes that `torchrun` started and leave them at the end; without `torchrun`, a single process.

    Meanwhile, a process that dies or stops ends the others; see `process_watch`.

    Args:
        device: the device of this process; NCCL is used for CUDA and Gloo for the CPU.
        on_failure: see `Callbacks.on_failure`.

    Raises:
        ConfigError: the device is neither a CUDA GPU nor the CPU, and `torchrun` started several processes.
        TrainingError: the processes could not connect.
    """
    if rank_and_world_size()[1] == 1:
        yield SINGLE_PROCESS
        return
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {device.type} cannot train with several processes; use cpu or cuda")
    try:
        if device.type == "cuda":
            dist.init_process_group("nccl", device_id=device)  # without device_id, NCCL may put every process on GPU 0
        else:
            dist.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"this process could not join the others that torchrun started ({one_line(error)}); start torchrun again"
        ) from error
    try:
        processes = Processes(dist.get_rank(), dist.get_world_size())
        with ProcessWatch(processes.rank, processes.size, on_failure):
            yield processes
    finally:
        dist.destroy_process_group()


class _Normalize(torch.autograd.Function):
    """Batch normalisation with the statistics of all processes: torch's fused kernels and one collective each way."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        # batch_norm_update_stats returns statistics in the type of its input; bfloat16 would be too coarse
        x_float = x.float() if x.dtype == torch.bfloat16 else x
        local_stats = torch.stack(torch.batch_norm_update_stats(x_float, None, None, 0.0))
        all_stats = [torch.empty_like(local_stats) for _ in range(size)]
        dist.all_gather(all_stats, local_stats)
        means, variances = torch.stack(all_stats, dim=1)
        mean = means.mean(dim=0)
        variance = (variances + (means - mean).square()).mean(dim=0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.count = eps, size * x.numel() // x.shape[1]
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, variance = ctx.saved_tensors
        # First the gradient with mean and variance held constant; their contribution to the gradient with respect to x
        # is a linear function of x in each channel, which is subtracted below.
        x_grad, weight_grad, bias_grad = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        mean_grads = torch.stack([weight_grad, bias_grad]) / ctx.count
        dist.all_reduce(mean_grads)
        inverse_std = (variance + ctx.eps).rsqrt()
        factor = weight * inverse_std.square() * mean_grads[0]
        offset = weight * inverse_std * mean_grads[1] - factor * mean
        x_grad.addcmul_(x, factor[:, None, None], value=-1.0).sub_(offset[:, None, None])
        return x_grad, weight_grad, bias_grad, None, None


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the rows of all processes, which must hold equally many; `SyncBatchNorm` for the CPU.

    In evaluation mode it is an ordinary `BatchNorm2d`. torch's own `nn.SyncBatchNorm` supports GPUs only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise this process's rows `(N, C, H, W)`; in training mode every process must call this together."""
        if not self.training:
            return super().forward(x)
        normalize: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Normalize.apply
        y, mean, variance = normalize(x, self.weight, self.bias, self.eps, dist.get_world_size())
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


def share_batch_norm(model: nn.Module) -> None:
    """Turn every `BatchNorm2d` of `model` into a `SharedBatchNorm2d`, in place; parameters and buffers are kept."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
