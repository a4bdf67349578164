"""KL divergence and MMD: compared with torch.distributions and with their definitions in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logcosh_vae.models.distributions import MMD_SCALES, DiagonalGaussian, kl_divergence, mmd
from logcosh_vae.training.loop import make_generator


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 12))
def test_kl_agrees_with_torch_distributions(seed: int, n: int, d: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = 3.0 * torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected, rtol=1e-12, atol=1e-12)


def test_kl_is_accurate_where_the_posterior_has_collapsed_onto_the_prior() -> None:
    log_variance = torch.tensor([[1e-4, -1e-4]])
    # to second order, each term is log_variance^2 / 4
    torch.testing.assert_close(kl_divergence(torch.zeros(1, 2), log_variance).item(), 5e-9, rtol=0.2, atol=0.0)


def test_posterior_and_its_gradient_are_finite_for_extreme_encoder_outputs() -> None:
    parameters = torch.tensor([[0.0, 0.0, 1e30, -1e30], [1.0, -1.0, torch.inf, -torch.inf]], requires_grad=True)
    posterior = DiagonalGaussian.from_parameters(parameters)
    total = posterior.sample(make_generator(0, "test")).sum() + posterior.kl().sum()
    total.backward()
    assert torch.isfinite(total)
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()


@given(st.lists(st.floats(-60.0, 60.0, width=32), min_size=1, max_size=8), st.sampled_from([1.0, 4.0, 20.0]))
def test_log_variances_outside_the_range_count_as_its_ends_and_are_pulled_back(raw: list[float], limit: float) -> None:
    log_variance = torch.tensor([raw], requires_grad=True)
    parameters = torch.cat([torch.zeros_like(log_variance), log_variance], dim=1)
    posterior = DiagonalGaussian.from_parameters(parameters, max_log_variance=limit)
    expected = log_variance.detach().clamp(-30.0, limit)
    torch.testing.assert_close(posterior.log_variance, expected, rtol=0.0, atol=1e-5)
    inside = (log_variance > -30.0) & (log_variance < limit)
    assert torch.equal(posterior.log_variance[inside], log_variance[inside])  # the same numbers, bit for bit
    (grad,) = torch.autograd.grad(posterior.kl().sum(), log_variance)
    torch.testing.assert_close(grad, 0.5 * expected.expm1(), rtol=1e-4, atol=1e-6)  # at the ends, too


def test_sample_has_the_moments_of_the_posterior() -> None:
    mean, log_variance = torch.full((200_000, 1), 0.7), torch.full((200_000, 1), -1.2)
    z = DiagonalGaussian(mean, log_variance).sample(make_generator(0, "moments"))
    assert z.mean().item() == pytest.approx(0.7, abs=0.005)
    assert z.var().item() == pytest.approx(np.exp(-1.2), rel=0.02)


def mmd_by_definition(z: np.ndarray, prior: np.ndarray) -> float:
    n, d = z.shape
    total = 0.0
    for scale in MMD_SCALES:
        C = 2 * d * scale
        for i in range(n):
            for j in range(n):
                if i != j:
                    total += C / (C + ((z[i] - z[j]) ** 2).sum()) / (n * (n - 1))
                    total += C / (C + ((prior[i] - prior[j]) ** 2).sum()) / (n * (n - 1))
                total -= 2 * C / (C + ((z[i] - prior[j]) ** 2).sum()) / n**2
    return float(total)


@pytest.mark.parametrize(("n", "d", "shift"), [(2, 1, 0.0), (7, 8, 0.0), (12, 3, 2.0)])
def test_mmd_agrees_with_its_definition(n: int, d: int, shift: float) -> None:
    z, prior = torch.randn(2, n, d, generator=make_generator(n, "mmd"), dtype=torch.float64)
    assert mmd(z + shift, prior).item() == pytest.approx(
        mmd_by_definition((z + shift).numpy(), prior.numpy()), abs=1e-12
    )


def test_mmd_is_unbiased_at_the_prior_and_positive_away_from_it() -> None:
    generator = make_generator(1, "mmd")
    draws = [mmd(*torch.randn(2, 50, 4, generator=generator, dtype=torch.float64)).item() for _ in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    z, prior = torch.randn(2, 200, 4, generator=generator)
    assert mmd(0.2 * z, prior) > 10 * np.std(draws)


@pytest.mark.parametrize("shapes", [((1, 2), (1, 2)), ((3, 2), (4, 2)), ((4,), (4,))])
def test_mmd_rejects_samples_of_unsupported_shape(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        mmd(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
