"""Likelihoods and the log-cosh distribution, against mpmath, SciPy and the losses that they extend."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from scipy import stats
from torch import Tensor

from logcosh_vae.losses import (
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
    LogCoshDistribution,
    LogCoshLikelihood,
    l1,
    log_cosh,
    squared_l2,
)
from logcosh_vae.losses.distribution import log_normaliser, mean_log_cosh, standard_variance
from logcosh_vae.losses.likelihood import SHAPE_RANGE
from logcosh_vae.losses.likelihood_base import QUANTISATION_STD

DOUBLE = {"dtype": torch.float64}
SHAPES = [1e-4, 1e-2, 0.3, 1.0, 2.0, 7.5, 100.0, 1e4, 1e6]
RESIDUALS = [0.0, 1e-12, 1e-6, 0.01, 1.0, 30.0, 1e6]
PROBABILITIES = torch.tensor([1e-300, 1e-9, 0.01, 0.3, 0.5, 0.9, 0.999], **DOUBLE)


def standard(shape: float, scale: float = 1.0) -> LogCoshDistribution:
    # explicit, because torch's compiler switches the validation of all distributions off
    return LogCoshDistribution(torch.tensor(0.0, **DOUBLE), scale, shape, validate_args=True)


def exact_nll(t: float, scale: float, shape: float) -> mpmath.mpf:
    with mpmath.workdps(60):
        u, k = mpmath.mpf(t) / mpmath.mpf(scale), mpmath.mpf(shape)
        # log cosh(u) = |u| + log1p(exp(-2 |u|)) - log 2, which cancels only by digits that 60 leave room for
        value = abs(u) + mpmath.log1p(mpmath.exp(-2 * abs(u))) - mpmath.log(2)
        return k * value + mpmath.log(mpmath.mpf(scale)) + mpmath.log(mpmath.beta(mpmath.mpf(1) / 2, k / 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_functions_of_the_shape_agree_with_mpmath(shape: float) -> None:
    k = torch.tensor(shape, **DOUBLE, requires_grad=True)
    value = log_normaliser(k)
    (grad,) = torch.autograd.grad(value, k)
    with mpmath.workdps(40):
        x = mpmath.mpf(shape) / 2
        exact_grad = (mpmath.digamma(x) - mpmath.digamma(x + 0.5)) / 2
        assert value.item() == pytest.approx(float(mpmath.log(mpmath.beta(0.5, x))), rel=1e-14, abs=1e-14)
        assert float(grad) == pytest.approx(float(exact_grad), rel=1e-14)
        assert mean_log_cosh(k).item() == pytest.approx(float(-exact_grad), rel=1e-14)
        assert standard_variance(k).item() == pytest.approx(float(mpmath.psi(1, x) / 2), rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_log_cosh_nll_agrees_with_mpmath_at_extremes(shape: float, dtype: torch.dtype) -> None:
    tolerance = 4e-6 if dtype == torch.float32 else 1e-14
    for scale in (1e-4, 0.01, 1.0, 1e3):
        likelihood = LogCoshLikelihood(torch.tensor(scale, dtype=dtype), torch.tensor(shape, dtype=dtype))
        scale_used, shape_used = float(likelihood.scale), float(likelihood.shape)
        t = torch.tensor(RESIDUALS, dtype=dtype)
        for residual, value in zip(t.tolist(), likelihood.nll(t, torch.zeros_like(t)).tolist(), strict=True):
            exact = float(exact_nll(residual, scale_used, shape_used))
            assert math.isfinite(value)
            assert value == pytest.approx(exact, rel=tolerance, abs=tolerance * (1 + abs(math.log(scale))))


@pytest.mark.parametrize(
    ("shape", "reference"),
    [(1.0, stats.hypsecant(scale=1.0)), (2.0, stats.logistic(scale=0.5))],
    ids=["hyperbolic secant", "logistic"],
)
def test_the_distribution_agrees_with_scipy(shape: float, reference: stats.rv_continuous) -> None:
    distribution, x = standard(shape), torch.tensor([-40.0, -3.0, -0.5, 0.0, 0.1, 2.0], **DOUBLE)
    assert distribution.log_prob(x).numpy() == pytest.approx(reference.logpdf(x.numpy()), rel=1e-13)
    assert distribution.cdf(x).numpy() == pytest.approx(reference.cdf(x.numpy()), rel=1e-13)
    p = PROBABILITIES[1:]
    assert distribution.icdf(p).numpy() == pytest.approx(reference.ppf(p.numpy()), rel=1e-12, abs=1e-14)
    assert float(distribution.variance) == pytest.approx(reference.var(), rel=1e-13)
    assert float(distribution.entropy()) == pytest.approx(reference.entropy(), rel=1e-12)


@pytest.mark.parametrize("shape", [0.05, 0.6, 3.0, 40.0])
def test_the_distribution_agrees_with_numerical_integration(shape: float) -> None:
    distribution = standard(shape, scale=0.7)

    def density(x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.exp(-exact_nll(float(x), 0.7, shape))

    edges = [0, 1, 10, 100, 0.7 * 60 / shape + 100]
    assert float(2 * mpmath.quad(density, edges)) == pytest.approx(1, rel=1e-10)
    variance = 2 * mpmath.quad(lambda x: x * x * density(x), edges)
    assert float(distribution.variance) == pytest.approx(float(variance), rel=1e-9)
    below = 0.5 + mpmath.quad(density, [0, 0.4])
    assert float(distribution.cdf(torch.tensor(0.4, **DOUBLE))) == pytest.approx(float(below), rel=1e-10)
    entropy = 2 * mpmath.quad(lambda x: -density(x) * mpmath.log(density(x)), edges)
    assert float(distribution.entropy()) == pytest.approx(float(entropy), rel=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_icdf_inverts_cdf_also_far_in_the_tails(shape: float) -> None:
    distribution = standard(shape)
    quantiles = distribution.icdf(PROBABILITIES)
    assert torch.allclose(distribution.cdf(quantiles), PROBABILITIES, rtol=1e-11, atol=0)
    assert distribution.icdf(torch.tensor([0.0, 1.0])).tolist() == [-math.inf, math.inf]


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_have_the_distribution(shape: float) -> None:
    torch.manual_seed(0)
    distribution = standard(shape, scale=0.3)
    samples = distribution.sample((20_000,))
    result = stats.kstest(samples[:1000].numpy(), lambda x: distribution.cdf(torch.from_numpy(x)).numpy())
    assert result.pvalue > 0.001
    assert float(samples.var() / distribution.variance) == pytest.approx(1, abs=0.1)


def test_reparameterised_samples_have_the_gradients_of_the_standard_deviation() -> None:
    torch.manual_seed(0)
    parameters = torch.tensor([0.0, 0.3, 3.0], **DOUBLE, requires_grad=True)
    distribution = LogCoshDistribution(*parameters)
    samples = distribution.rsample((400_000,))
    obtained = torch.autograd.grad(samples.square().mean(), parameters, retain_graph=True)[0]
    expected = torch.autograd.grad(distribution.variance + distribution.mean.square(), parameters)[0]
    assert obtained.tolist() == pytest.approx(expected.tolist(), rel=0.03, abs=0.01)


def test_limits_are_laplace_and_gaussian() -> None:
    x = torch.tensor([0.0, 0.02, -0.3, 2.0], **DOUBLE)
    laplace = LogCoshLikelihood(0.1 * 1e-4, 1e-4).nll(x, torch.zeros_like(x))
    assert laplace.tolist() == pytest.approx(LaplaceLikelihood(0.1).nll(x, torch.zeros_like(x)).tolist(), abs=1e-3)
    gaussian = LogCoshLikelihood(0.1 * 1e3, 1e6).nll(x, torch.zeros_like(x))
    assert gaussian.tolist() == pytest.approx(GaussianLikelihood(0.1).nll(x, torch.zeros_like(x)).tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda: LogCoshLikelihood(0.04, 0.7), log_cosh),
        (lambda: GaussianLikelihood(0.2), squared_l2),
        (lambda: LaplaceLikelihood(0.2), l1),
    ],
)
def test_equivalent_names_the_fixed_loss_with_the_same_gradient(
    make: Callable[[], Likelihood], loss: Callable[..., Tensor]
) -> None:
    likelihood, x = make(), torch.rand(2, 1, 3, 3, **DOUBLE)
    grads = []
    equivalent = {name: float(value) for name, value in likelihood.equivalent().items()}
    weight = equivalent.pop("reconstruction_weight")
    for function in (likelihood.nll, lambda *inputs: weight * loss(*inputs, **equivalent)):
        x_hat = torch.full_like(x, 0.5, requires_grad=True)
        grads.append(torch.autograd.grad(function(x_hat, x).sum(), x_hat)[0])
    assert torch.allclose(*grads, rtol=1e-6)


SCALE = torch.tensor(0.05, **DOUBLE)
LEARNED = {
    "log-cosh, scale and shape": (LogCoshLikelihood, "scale+shape", standard(1.0, 0.05)),
    "log-cosh, scale": (LogCoshLikelihood, "scale", standard(1.0, 0.05)),
    "gaussian": (GaussianLikelihood, "scale", torch.distributions.Normal(0.0, SCALE)),
    "laplace": (LaplaceLikelihood, "scale", torch.distributions.Laplace(0.0, SCALE)),
}


@pytest.mark.parametrize(("kind", "learn", "distribution"), LEARNED.values(), ids=LEARNED)
def test_learning_finds_the_scale_and_shape_of_the_residuals(
    kind: type[Likelihood], learn: str, distribution: torch.distributions.Distribution
) -> None:
    # Quantiles instead of samples: the errors of scale and shape are correlated, and 10% with 20,000 samples.
    residuals = distribution.icdf((torch.arange(20_000, **DOUBLE) + 0.5) / 20_000)
    likelihood = kind(0.4, learn=learn).double()
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        likelihood.nll(residuals, torch.zeros_like(residuals)).mean().backward()
        optimizer.step()
    assert likelihood.scale.item() == pytest.approx(0.05, rel=5e-3)
    if isinstance(likelihood, LogCoshLikelihood):
        assert likelihood.shape.item() == pytest.approx(1.0, rel=5e-3)


@pytest.mark.parametrize("per", ["image set", "channel", "pixel"])
@pytest.mark.parametrize(("kind", "learn"), [case[:2] for case in LEARNED.values()], ids=LEARNED)
def test_exact_reconstructions_do_not_let_the_scale_collapse(kind: type[Likelihood], learn: str, per: str) -> None:
    x = torch.zeros(2, 1, 4, 4)  # as the border of every digit
    likelihood = kind(0.1, learn=learn, per=per, image_shape=(1, 4, 4))
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = likelihood.nll(x, x).sum()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    assert float(likelihood.variance.detach().sqrt().min()) >= 0.999 * QUANTISATION_STD


@pytest.mark.parametrize("per", ["image set", "channel", "pixel"])
@pytest.mark.parametrize("learn", ["none", "scale", "scale+shape"])
def test_initial_values_are_kept_and_saved(learn: str, per: str) -> None:
    likelihood = LogCoshLikelihood(0.02, 0.5, learn, per, image_shape=(3, 2, 2))
    assert likelihood.scale.shape == {"image set": (), "channel": (3, 1, 1), "pixel": (3, 2, 2)}[per]
    assert likelihood.scale.flatten().tolist() == pytest.approx([0.02] * likelihood.scale.numel(), rel=1e-5)
    assert likelihood.shape.flatten().tolist() == pytest.approx([0.5] * likelihood.shape.numel(), rel=1e-5)
    other = LogCoshLikelihood(1.0, 2.0, learn, per, image_shape=(3, 2, 2))
    other.load_state_dict(likelihood.state_dict())
    assert torch.equal(other.scale, likelihood.scale)
    torch.manual_seed(0)
    x = torch.rand(5, 3, 2, 2)
    assert likelihood(x, x.flip(0)).shape == x.shape
    density = likelihood.distribution(x)
    assert torch.allclose(likelihood.nll(x, x.flip(0)), -density.log_prob(x.flip(0)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogCoshLikelihood(0.0), "scale must be positive"),
        (lambda: LogCoshLikelihood(1.0, math.nan), "shape must be positive"),
        (lambda: LogCoshLikelihood(learn="all"), "learn must be 'none' or 'scale' or 'scale\\+shape'"),
        (lambda: GaussianLikelihood(learn="scale+shape"), "learn must be 'none' or 'scale', got"),
        (lambda: LaplaceLikelihood(per="image"), "per must be"),
        (lambda: LaplaceLikelihood(per="pixel"), "needs image_shape"),
        (lambda: GaussianLikelihood(torch.ones(2), per="channel", image_shape=(3, 4, 4)), "does not broadcast"),
        (lambda: GaussianLikelihood(1e-4, learn="scale"), "must be above min_std"),
        (lambda: GaussianLikelihood(min_std=0.0), "min_std must be positive"),
        (lambda: LogCoshLikelihood(1.0, 2 * SHAPE_RANGE[1], learn="scale+shape"), "a learned shape must start between"),
        (lambda: LogCoshDistribution(0.0, -1.0, 1.0, validate_args=True), "scale"),
        (lambda: standard(1.0).icdf(torch.tensor(1.5)), "probabilities"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("per", ["image set", "channel"])
@pytest.mark.parametrize("kind", [LogCoshLikelihood, GaussianLikelihood, LaplaceLikelihood])
def test_the_total_has_value_and_gradients_of_the_sum(kind: type[Likelihood], per: str) -> None:
    learn = "scale+shape" if kind is LogCoshLikelihood else "scale"
    likelihood = kind(0.1, learn=learn, per=per, image_shape=(3, 4, 4)).double()
    x = torch.rand(5, 3, 4, 4, **DOUBLE)
    results = []
    for total in (lambda *inputs: likelihood.nll(*inputs).sum(), likelihood.nll_total):
        inputs = [x.flip(0).requires_grad_(), x.clone().requires_grad_()]
        value = 3 * total(*inputs)
        results.append([value, *torch.autograd.grad(value, [*inputs, *likelihood.parameters()])])
    for expected, obtained in zip(*results, strict=True):
        assert torch.allclose(obtained, expected, rtol=1e-9)
