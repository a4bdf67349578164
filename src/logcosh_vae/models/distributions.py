"""The Gaussian posterior, its KL divergence from the prior, the MMD, and sources of random numbers.

The prior is the standard normal `N(0, I)` (paper, Eqs. 1 and 8). The KL divergence is in nats.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary
from torch.utils import _pytree

from ..losses.elementwise import autocast_is_on, float_under_autocast

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""Log-variances are limited to this range so that variances and their sums stay finite in float32 and bfloat16."""

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Scales `s` of the inverse multiquadratic kernels, as in the code published with Tolstikhin et al. (2018)."""


class SharedGenerator(NamedTuple):
    """A source of random numbers for one process of a distributed run.

    All processes hold a generator in the same state. Each draws the numbers of the whole batch and keeps the rows of
    its own slice, so a run draws the same numbers for any number of processes.

    Attributes:
        generator: the generator, in the same state in every process.
        rank: index of this process, from 0.
        size: number of processes.
    """

    generator: torch.Generator
    rank: int
    size: int


class StaticNoise:
    """Standard normal draws in buffers at fixed addresses, for training steps captured in a CUDA graph.

    A captured step reads the same memory at every replay, so new random numbers must be written there beforehand. The
    first step allocates one buffer per draw; `refill` overwrites all of them before each later step. The numbers are
    those that the step would draw from the generator directly, in the same order.

    Example:
        >>> noise = StaticNoise()
        >>> noise.refill(torch.Generator().manual_seed(0))
        >>> first = noise.draw((2, 3), like=torch.zeros(1))
        >>> noise.refill(torch.Generator().manual_seed(1))  # new values in the same memory
        >>> noise.draw((2, 3), like=torch.zeros(1)) is first
        True
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self._next = 0
        self._generator: torch.Generator | None = None

    def refill(self, generator: torch.Generator) -> None:
        """Start a step with new random numbers: overwrite all buffers with draws from a CPU generator."""
        self._generator = generator
        self.rewind()
        for buffer in self._buffers:
            noise = torch.randn(buffer.shape, generator=generator, dtype=torch.float32)
            buffer.copy_(noise, non_blocking=True)

    def rewind(self) -> None:
        """Start a step with the random numbers that the buffers already hold."""
        self._next = 0

    def draw(self, shape: torch.Size | tuple[int, ...], *, like: Tensor) -> Tensor:
        """Return the buffer of the step's next draw. Every step must draw the same shapes in the same order.

        Args:
            shape: shape of the draw.
            like: a tensor with the device and dtype of a new buffer.

        Returns:
            The buffer, of that shape; the next `refill` overwrites it.

        Raises:
            RuntimeError: the first step drew another shape here.
        """
        if self._next == len(self._buffers):
            self._buffers.append(standard_normal(shape, like=like, generator=self._generator))
        buffer = self._buffers[self._next]
        if buffer.shape != torch.Size(shape):
            raise RuntimeError(
                f"draw {self._next} of this step has shape {tuple(shape)}, but the first step drew "
                f"{tuple(buffer.shape)}: every step must draw the same shapes in the same order"
            )
        self._next += 1
        return buffer


def register_for_export(cls: type[NamedTuple]) -> None:
    """Make a named tuple part of what `torch.export.save` can write, where torch has a function for this."""
    if hasattr(_pytree, "_register_namedtuple"):  # torch's error message tells users to call it
        _pytree._register_namedtuple(cls, serialized_type_name=f"logcosh_vae.{cls.__name__}")


NoiseGenerator = torch.Generator | SharedGenerator | StaticNoise
NoiseSource = NoiseGenerator | None
"""A source of standard normal draws; None stands for torch's global generator."""


class DiagonalGaussian(NamedTuple):
    """The posterior `q(z|x)` of a batch of images: one Gaussian with diagonal covariance per image.

    Attributes:
        mean: `(N, d)`.
        log_variance: `(N, d)`, natural logarithm of the variance.

    Example:
        >>> posterior = DiagonalGaussian.from_parameters(torch.zeros(2, 6))
        >>> posterior.sample(torch.Generator().manual_seed(0)).shape, posterior.kl()
        (torch.Size([2, 3]), tensor([0., 0.]))
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def from_parameters(
        cls, parameters: Tensor, *, max_log_variance: float = LOG_VARIANCE_RANGE[1]
    ) -> DiagonalGaussian:
        """Split an encoder's output into mean and log-variance.

        Log-variances outside the range count as its nearest end. Up to an absolute value of 1000 their gradient passes
        unchanged: at both ends the KL divergence pulls them back, and with a clamp's zero gradient they would stay.

        Args:
            parameters: `(N, 2d)`: the means, then the log-variances.
            max_log_variance: upper end of the range; the lower one is that of `LOG_VARIANCE_RANGE`.
        """
        mean, log_variance = parameters.chunk(2, dim=1)
        log_variance = log_variance.clamp(-1000.0, 1000.0)  # the difference of infinities below would not be a number
        excess = log_variance - log_variance.clamp(LOG_VARIANCE_RANGE[0], max_log_variance)
        return cls(mean, log_variance - excess.detach())

    def sample(self, generator: NoiseSource = None) -> Tensor:
        """Draw one `z` per image with the reparametrisation trick.

        Returns:
            `mean + exp(log_variance / 2) * noise`, `(N, d)`, differentiable with respect to both parameters.
        """
        noise = standard_normal(self.mean.shape, like=self.mean, generator=generator)
        return torch.addcmul(self.mean, noise, (0.5 * self.log_variance).exp())

    def mode(self) -> Tensor:
        """The mode of the posterior, which is its mean, `(N, d)`."""
        return self.mean

    def kl(self, free_bits: float = 0.0) -> Tensor:
        """KL divergence from the prior, `KL(q || N(0, I))`, in nats per image, `(N,)`.

        Args:
            free_bits: smallest value that counts for a latent variable, in nats; a smaller divergence has no gradient.
        """
        if free_bits == 0.0:
            return kl_divergence(self.mean, self.log_variance)
        return self.kl_per_variable().clamp_min(free_bits).sum(dim=1)

    def kl_per_variable(self) -> Tensor:
        """KL divergence of each latent variable, in nats, `(N, d)`."""
        flat = (parameter.reshape(-1, 1) for parameter in self)
        return kl_divergence(*flat).view_as(self.mean)

    def kl_grads(self, free_bits: float = 0.0) -> tuple[Tensor, Tensor]:
        """Gradients of `kl(free_bits).sum()` with respect to mean and log-variance, without a graph.

        Returns:
            `mean` and `(exp(log_variance) - 1) / 2`, each `(N, d)`; 0 where the divergence is below `free_bits`.
        """
        mean, log_variance = self.mean.detach(), self.log_variance.detach()
        grads = mean, 0.5 * log_variance.expm1()
        if free_bits == 0.0:
            return grads
        counts = DiagonalGaussian(mean, log_variance).kl_per_variable() > free_bits
        return grads[0] * counts, grads[1] * counts


register_for_export(DiagonalGaussian)


def standard_normal(shape: torch.Size | tuple[int, ...], *, like: Tensor, generator: NoiseSource) -> Tensor:
    """Draw from the standard normal distribution.

    Numbers are drawn on the generator's device and then moved, so a CPU generator gives the same numbers whichever
    device the model is on.

    Args:
        shape: shape of the result; its first dimension is the batch.
        like: a tensor with the device and dtype of the result.
        generator: the source; None for torch's global generator of the device of `like`.

    Returns:
        A tensor of that shape.
    """
    if has_torch_function_unary(like):  # a proxy of torch.fx, or a tensor subclass
        return handle_torch_function(standard_normal, (like,), shape, like=like, generator=generator)
    if generator is None:
        # without the argument `generator`, with which torch.compile and torch.export do not support dynamic shapes
        return torch.randn(shape, device=like.device, dtype=torch.float32).to(like.dtype)
    return _draw(shape, like, generator)


def _draw(shape: torch.Size | tuple[int, ...], like: Tensor, generator: NoiseGenerator) -> Tensor:
    """`standard_normal` from a given source, see there."""
    if isinstance(generator, StaticNoise):
        return generator.draw(shape, like=like)
    if isinstance(generator, SharedGenerator):
        global_shape = (shape[0] * generator.size, *shape[1:])
        local_rows = slice(generator.rank * shape[0], (generator.rank + 1) * shape[0])
        return standard_normal(global_shape, like=like, generator=generator.generator)[local_rows]
    noise = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
    # copying to a GPU without blocking lets this process continue while the GPU is busy
    return noise.to(like.device, like.dtype, non_blocking=noise.device.type == "cpu")


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of diagonal Gaussians from the standard normal distribution (paper, Eq. 1).

    .. math:: \tfrac12 \sum_j \left(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\right)

    Args:
        mean: `(N, d)`.
        log_variance: `(N, d)`.

    Returns:
        `(N,)`, in nats, in [0, inf).

    Example:
        >>> kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        tensor([0.5000])

    Reference: Kingma and Welling (2013), appendix B.
    """
    mean, log_variance = float_under_autocast(mean), float_under_autocast(log_variance)
    # expm1 is accurate where the posterior has collapsed onto the prior; exp - 1 would cancel
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(dim=1)


def _squared_distances(u: Tensor, v: Tensor) -> Tensor:
    """Pairwise squared Euclidean distances of `(n, d)` and `(m, d)`, `(n, m)`."""
    norms = u.square().sum(dim=1)[:, None] + v.square().sum(dim=1)[None, :]
    return torch.addmm(norms, u, v.T, alpha=-2.0).clamp_min(0.0)


def _kernel(u: Tensor, v: Tensor, scales: tuple[float, ...]) -> Tensor:
    """The sum of inverse multiquadratic kernels for every pair of points, `(n, m)`."""
    d = u.shape[1]
    distances = _squared_distances(u, v)
    kernel = torch.zeros_like(distances)
    for scale in scales:
        C = 2.0 * d * scale
        kernel = kernel + C / (C + distances)
    return kernel


def mmd(z: Tensor, prior: Tensor, scales: tuple[float, ...] = MMD_SCALES) -> Tensor:
    r"""Squared maximum mean discrepancy between codes and a sample of the prior (paper, Eq. 8).

    With the kernel :math:`k(u, v) = \sum_s C_s / (C_s + |u - v|^2)`, :math:`C_s = 2 d s`, the estimate is

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} \left[k(z_i, z_j) + k(p_i, p_j)\right]
              - \frac{2}{n^2} \sum_{i, j} k(z_i, p_j)

    It is unbiased within each sample. Its expectation is 0 if both samples have the same distribution, so it can be
    negative.

    Args:
        z: codes of a batch, `(n, d)` with `n >= 2`.
        prior: a sample of the prior, of the same shape.
        scales: the scales `s` of the kernel.

    Returns:
        A scalar, differentiable with respect to `z`.

    Raises:
        ValueError: the samples are not `(n, d)`, differ in shape, or have fewer than two points.

    Example:
        >>> prior, z = torch.randn(2, 100, 8, generator=torch.Generator().manual_seed(0))
        >>> bool(mmd(z, prior) < mmd(0.1 * z, prior))
        True

    Reference: Tolstikhin et al. (2018), algorithm 2.
    """
    if z.shape != prior.shape or z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(
            f"mmd needs two samples of the same shape (n, d) with n >= 2; got {tuple(z.shape)} and {tuple(prior.shape)}"
        )
    if autocast_is_on(z):  # as torch's own losses; its products would be rounded, and squared distances could overflow
        with torch.autocast(z.device.type, enabled=False):
            return mmd(z.float(), prior.float(), scales)
    n = z.shape[0]

    def mean_over_pairs(u: Tensor) -> Tensor:
        kernel = _kernel(u, u, scales)
        return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))

    with torch.no_grad():
        prior_term = mean_over_pairs(prior)
    return mean_over_pairs(z) + prior_term - 2.0 * _kernel(z, prior, scales).mean()
