"""Latent distributions and their divergences from the standard normal prior (paper, Eq. 1 and Eq. 8)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""Log-variances are clamped to this range, so that their `exp` and its sums stay finite in float32 and bfloat16."""

MMD_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Scales `s` of the inverse multiquadratic kernels, as in the code published with Tolstikhin et al. (2018)."""


class SharedGenerator(NamedTuple):
    """A generator of which `size` processes have one each, in the same state, for the rows of one batch.

    Each process draws the numbers of the whole batch and keeps those of its own rows, the part number `rank`.
    """

    generator: torch.Generator
    rank: int
    size: int


class StaticNoise:
    """Normal draws at fixed addresses, for a training step that is recorded once and replayed.

    A recorded step reads the same memory each time, so the draws have to be put there before it is replayed. The
    numbers are those that the step would have drawn from the generator itself, in the same order.

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
        """Put new draws from a CPU generator where the next step reads them."""
        self._generator = generator
        self.rewind()
        for buffer in self._buffers:
            drawn = torch.randn(buffer.shape, generator=generator, dtype=torch.float32)
            buffer.copy_(drawn, non_blocking=True)

    def rewind(self) -> None:
        """Begin a step: the next draws are its first ones."""
        self._next = 0

    def draw(self, shape: torch.Size | tuple[int, ...], *, like: Tensor) -> Tensor:
        """The next draws of this step, in the order of the first step's; that one decides the shapes.

        Raises:
            RuntimeError: another shape is asked for than in the first step.
        """
        if self._next == len(self._buffers):
            self._buffers.append(standard_normal(shape, like=like, generator=self._generator))
        buffer = self._buffers[self._next]
        if buffer.shape != torch.Size(shape):
            raise RuntimeError(f"the recorded step drew {tuple(buffer.shape)} here, this one draws {tuple(shape)}")
        self._next += 1
        return buffer


Source = torch.Generator | SharedGenerator | StaticNoise | None
"""Where random numbers come from; None is torch's own generator."""


class DiagonalGaussian(NamedTuple):
    """Gaussian with a diagonal covariance, one for each image of a batch: `q(z|x)`.

    Attributes:
        mean: `(N, d)`.
        log_variance: `(N, d)`, natural logarithm of the variance.
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> DiagonalGaussian:
        """Split an encoder's output `(N, 2d)` into mean and log-variance, which is clamped to a finite range."""
        mean, log_variance = parameters.chunk(2, dim=1)
        return cls(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    def sample(self, generator: Source = None) -> Tensor:
        """Draw `z = mean + exp(log_variance / 2) * noise`, `(N, d)`, differentiable in both parameters."""
        noise = standard_normal(self.mean.shape, like=self.mean, generator=generator)
        return torch.addcmul(self.mean, noise, (0.5 * self.log_variance).exp())

    def mode(self) -> Tensor:
        """The most likely `z`: the mean, `(N, d)`."""
        return self.mean

    def kl(self) -> Tensor:
        """`KL(q || N(0, I))` in nats, one value an image, `(N,)`."""
        return kl_divergence(self.mean, self.log_variance)

    def kl_grads(self) -> tuple[Tensor, Tensor]:
        """The derivatives of `kl` in mean and log-variance, each `(N, d)`: `mu` and `(sigma^2 - 1) / 2`."""
        return self.mean.detach(), 0.5 * self.log_variance.detach().expm1()


def standard_normal(shape: torch.Size | tuple[int, ...], *, like: Tensor, generator: Source) -> Tensor:
    """Draw `N(0, I)` of `shape` with the generator on its own device, then moved to where `like` is.

    A CPU generator so gives the same numbers whatever device the model runs on.
    """
    if isinstance(generator, StaticNoise):
        return generator.draw(shape, like=like)
    if isinstance(generator, SharedGenerator):
        whole = (shape[0] * generator.size, *shape[1:])
        rows = slice(generator.rank * shape[0], (generator.rank + 1) * shape[0])
        return standard_normal(whole, like=like, generator=generator.generator)[rows]
    device = like.device if generator is None else generator.device
    drawn = torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
    # to a GPU: it goes on with what it has to do, and this process need not wait for that
    return drawn.to(like.device, like.dtype, non_blocking=drawn.device.type == "cpu")


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of diagonal Gaussians from the standard normal.

    .. math:: \tfrac12 \sum_j \left(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\right)

    Args:
        mean: `(N, d)`.
        log_variance: `(N, d)`.

    Returns:
        `(N,)`, in nats, at least 0.

    Example:
        >>> kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        tensor([0.5000])

    Reference: Kingma and Welling (2013), appendix B; the paper's Eq. 1.
    """
    # expm1 keeps the term exact where the posterior has collapsed onto the prior
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(dim=1)


def _squared_distances(u: Tensor, v: Tensor) -> Tensor:
    norms = u.square().sum(dim=1)[:, None] + v.square().sum(dim=1)[None, :]
    return torch.addmm(norms, u, v.T, alpha=-2.0).clamp_min(0.0)


def _kernel(u: Tensor, v: Tensor, scales: tuple[float, ...]) -> Tensor:
    d = u.shape[1]
    distances = _squared_distances(u, v)
    kernel = torch.zeros_like(distances)
    for scale in scales:
        C = 2.0 * d * scale
        kernel = kernel + C / (C + distances)
    return kernel


def mmd(z: Tensor, prior: Tensor, scales: tuple[float, ...] = MMD_SCALES) -> Tensor:
    r"""Maximum mean discrepancy (squared) between two samples, unbiased within each sample.

    With the kernel :math:`k(u, v) = \sum_s C_s / (C_s + |u - v|^2)`, :math:`C_s = 2 d s`:

    .. math:: \frac{1}{n(n-1)} \sum_{i \ne j} \left[k(z_i, z_j) + k(p_i, p_j)\right]
              - \frac{2}{n^2} \sum_{i, j} k(z_i, p_j)

    It is near 0, of either sign, where both samples come from one distribution.

    Args:
        z: codes of a batch, `(n, d)`, `n >= 2`.
        prior: a sample of the prior, `(n, d)`.
        scales: one kernel is added for each.

    Returns:
        A scalar.

    Raises:
        ValueError: the samples differ in shape or hold fewer than two points.

    Reference: Tolstikhin et al. (2018), algorithm 2; the paper's Eq. 8.
    """
    if z.shape != prior.shape or z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(
            f"mmd needs two samples of one shape (n, d) with n >= 2; got {tuple(z.shape)} and {tuple(prior.shape)}"
        )
    n = z.shape[0]

    def within(u: Tensor) -> Tensor:
        kernel = _kernel(u, u, scales)
        return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))

    with torch.no_grad():
        prior_term = within(prior)
    return within(z) + prior_term - 2.0 * _kernel(z, prior, scales).mean()
