"""Densities of codes, against torch's distributions and known mixtures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from logcosh_vae.base.errors import RunError
from logcosh_vae.evaluation.densities import fit_mixture, load_densities, save_densities
from logcosh_vae.models.density import CodeDensity, fit_gaussian
from logcosh_vae.training.weights_file import metadata_of

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 6.0], [5.0, -4.0], [-6.0, -3.0]]).double()
COVARIANCES = torch.tensor([[[1.0, 0.5], [0.5, 2.0]], [[0.3, 0.0], [0.0, 0.3]], [[2.0, -1.2], [-1.2, 1.0]]]).double()


def known_mixture() -> CodeDensity:
    return CodeDensity.from_covariances(WEIGHTS, MEANS, COVARIANCES)


def test_log_prob_agrees_with_torch() -> None:
    codes = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double() * 4
    expected = MixtureSameFamily(Categorical(WEIGHTS), MultivariateNormal(MEANS, COVARIANCES)).log_prob(codes)
    assert torch.allclose(known_mixture().log_prob(codes), expected, rtol=1e-12)


def test_samples_depend_on_the_seed_only_and_have_the_moments_of_the_mixture() -> None:
    density = known_mixture()
    samples = density.sample(200_000, torch.Generator().manual_seed(1))
    assert torch.equal(samples, density.sample(200_000, torch.Generator().manual_seed(1)))
    mean = WEIGHTS @ MEANS
    second = torch.einsum("k,kij->ij", WEIGHTS, COVARIANCES + MEANS[:, :, None] * MEANS[:, None, :])
    assert torch.allclose(samples.mean(0), mean, atol=0.05)
    assert torch.allclose(torch.cov(samples.T), second - mean[:, None] * mean, rtol=0.02, atol=0.1)


def test_the_mixture_of_the_codes_is_found() -> None:
    codes = known_mixture().sample(6_000, torch.Generator().manual_seed(2))
    density = fit_mixture(codes)
    tried = dict(density.held_out)
    assert max(tried, key=lambda count: tried[count]) == density.components
    assert set(tried) >= {1, 2, 5}
    held_out = known_mixture().sample(4_000, torch.Generator().manual_seed(3))
    entropy = -float(known_mixture().log_prob(held_out).mean())
    assert -float(density.log_prob(held_out).mean()) == pytest.approx(entropy, abs=0.02)
    assert -float(fit_gaussian(codes).log_prob(held_out).mean()) > entropy + 1


def test_a_mixture_is_fitted_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, BLAS threads wait for each other: a fit takes many times as long, and differs in the last digits."""
    counts: list[int] = []
    fit = GaussianMixture.fit

    def watched(self: GaussianMixture, codes: Any) -> GaussianMixture:
        counts.extend(pool["num_threads"] for pool in threadpool_info())
        return fit(self, codes)

    monkeypatch.setattr(GaussianMixture, "fit", watched)
    with threadpool_limits(2):
        fit_mixture(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    assert set(counts) == {1}


@pytest.mark.parametrize("unused", [False, True])
def test_a_gaussian_has_the_moments_of_the_codes(unused: bool) -> None:
    codes = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) @ torch.randn(3, 3) + 2
    if unused:
        codes[:, 1] = 0.0  # a latent variable that carries nothing
    density = fit_gaussian(codes)
    covariance = density.factors[0] @ density.factors[0].T
    assert torch.allclose(covariance, torch.cov(codes.double().T), atol=2e-6)
    assert torch.allclose(density.means[0], codes.double().mean(0))
    assert bool(density.sample(10).isfinite().all())


def test_one_latent_variable_is_enough() -> None:
    codes = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    for density in (fit_gaussian(codes), fit_mixture(codes)):
        assert density.sample(5).shape == (5, 1)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(1, 2), "at least two"),
        (torch.zeros(4), "at least two"),
        (torch.tensor([[math.nan, 0.0], [0.0, 1.0]]), "not finite"),
        (torch.randn(19, 2), "at least 20"),
    ],
)
def test_codes_that_cannot_be_fitted_are_named(codes: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_mixture(codes)


def test_densities_are_kept_as_plain_arrays(tmp_path: Path) -> None:
    density, path = known_mixture(), tmp_path / "densities.safetensors"
    save_densities({"mixture": density}, path, weights="0a")
    densities, origin = load_densities(path, 2)
    (name, again), *others = densities.items()
    assert (name, others, origin) == ("mixture", [], {"weights": "0a"})
    assert all(torch.equal(getattr(again, key), getattr(density, key)) for key in ("weights", "means", "factors"))


@pytest.mark.parametrize(
    "change",
    [
        {"means": MEANS * math.inf},
        {"means": torch.tensor(1.0).double()},
        {"means": MEANS[:, :1]},
        {"weights": WEIGHTS * 2},
        {"weights": WEIGHTS * torch.tensor([-1.0, 1.0, 1.0])},
        {"weights": WEIGHTS.to(torch.complex64)},
        {"weights": torch.tensor([0, 1, 0])},
        {"weights": torch.zeros(0).double(), "means": MEANS[:0], "factors": COVARIANCES[:0]},
        {"means": torch.zeros(3, 3).double(), "factors": torch.eye(3).double().repeat(3, 1, 1)},
        {"factors": COVARIANCES[:2]},
        {"factors": known_mixture().factors.float()},
        {"factors": -known_mixture().factors},
        {"factors": 0 * known_mixture().factors},
        {"factors": COVARIANCES},
        {"held_out": ((1, math.nan),)},
        {"held_out": ((math.inf, 1.0),)},
        {"held_out": ((1, 10**400),)},
        {"held_out": ((0, 1.0),)},
        {"held_out": 5},
    ],
)
def test_a_file_with_arrays_that_are_no_mixture_of_the_codes_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "densities.safetensors"
    save_densities({"mixture": replace(known_mixture(), **change)}, path)
    with pytest.raises(RunError, match=r"densities.safetensors is damaged \([^()]*(\([^()]*\)[^()]*)*\): remove it"):
        load_densities(path, 2)


@pytest.mark.parametrize("held_out", ["[" * 100_000, "{", "[]", None])
def test_a_file_with_other_metadata_is_named(tmp_path: Path, held_out: str | None) -> None:
    path = tmp_path / "densities.safetensors"
    save_densities({"mixture": known_mixture()}, path)
    content = path.read_bytes()
    metadata = metadata_of(content) | ({} if held_out is None else {"held_out": held_out})
    if held_out is None:
        del metadata["held_out"]
    safetensors.torch.save_file(safetensors.torch.load(content), path, metadata)
    with pytest.raises(RunError, match=r"densities.safetensors is damaged"):
        load_densities(path)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "densities.safetensors"
    save_densities({"mixture": known_mixture()}, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"densities.safetensors is damaged"):
        load_densities(path)
