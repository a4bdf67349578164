"""Sharpness, Frechet distance, PSNR and SSIM: compared with SciPy and closed forms."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from logcosh_vae.base import image_grid
from logcosh_vae.base.errors import ConfigError, RunError
from logcosh_vae.data import load_images
from logcosh_vae.data.batches import to_unit
from logcosh_vae.evaluation.evaluate import measure
from logcosh_vae.evaluation.features import general_extractor, load_extractor, scripted_extractor
from logcosh_vae.evaluation.records import EvaluationConfig
from logcosh_vae.metrics.classifier import feature_statistics
from logcosh_vae.metrics.frechet import FeatureStatistics, frechet_distance
from logcosh_vae.metrics.image_quality import psnr, ssim
from logcosh_vae.metrics.sharpness import sharpness
from logcosh_vae.models import VAE
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.training.loop import make_generator

LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 2**32))
def test_sharpness_agrees_with_a_scipy_convolution(height: int, width: int, seed: int) -> None:
    images = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed))
    expected = [scipy.signal.convolve2d(image[0].double().numpy(), LAPLACIAN, mode="valid").var() for image in images]
    np.testing.assert_allclose(sharpness(images).numpy(), expected, rtol=1e-10, atol=1e-14)


def test_sharpness_of_a_colour_image_is_that_of_its_grey_values() -> None:
    grey = torch.rand(3, 1, 8, 8, generator=make_generator(0, "grey"))
    torch.testing.assert_close(sharpness(grey.repeat(1, 3, 1, 1)), sharpness(grey), rtol=1e-5, atol=1e-7)
    assert sharpness(torch.zeros(1, 3, 5, 5)).item() == 0.0


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 1, 2, 8), (8, 8)])
def test_sharpness_rejects_images_of_unsupported_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images must be"):
        sharpness(torch.zeros(shape))


def test_mean_sharpness_of_mnist_test_images_is_0_182(data_root: Path) -> None:
    images = to_unit(load_images("mnist", "test", root=data_root).images)
    assert sharpness(images).mean().item() == pytest.approx(0.182, abs=0.001)


def scipy_distance(x: np.ndarray, y: np.ndarray) -> float:
    difference = x.mean(axis=0) - y.mean(axis=0)
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    return float(difference @ difference + np.trace(first + second - 2 * root.real))


@given(st.integers(1, 4), st.floats(0.1, 3.0), st.integers(0, 2**32))
def test_frechet_distance_agrees_with_scipy(factor: int, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = 4 * factor
    x = rng.normal(size=(300, d)) @ rng.normal(size=(d, d))
    y = spread * rng.normal(size=(200, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    obtained = frechet_distance(*(FeatureStatistics.of(torch.from_numpy(v)) for v in (x, y)))
    assert obtained == pytest.approx(scipy_distance(x, y), rel=1e-6)


def test_frechet_distance_of_degenerate_features_has_its_closed_form() -> None:
    # all variance is along one axis, as in a ReLU layer where most units are always 0: (s1 - s2)^2 + |m1 - m2|^2
    x, y = torch.zeros(2, 1_000, 64, dtype=torch.float64)
    noise = torch.randn(1_000, generator=make_generator(0, "degenerate"), dtype=torch.float64)
    x[:, 0], y[:, 0] = noise, 3.0 * noise + 2.0
    statistics = FeatureStatistics.of(x), FeatureStatistics.of(y)
    expected = 4.0 * noise.var() + (2.0 + 2.0 * noise.mean()).square()
    assert frechet_distance(*statistics) == pytest.approx(expected.item(), rel=1e-9)
    assert frechet_distance(statistics[0], statistics[0]) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_rejects_features_of_different_size() -> None:
    statistics = FeatureStatistics.of(torch.rand(5, 3)), FeatureStatistics.of(torch.rand(5, 4))
    with pytest.raises(ValueError, match="feature sizes must be equal; got 3 and 4"):
        frechet_distance(*statistics)


@given(st.integers(1, 29))
def test_sum_of_the_statistics_of_two_parts_is_that_of_the_set(split: int) -> None:
    features = torch.randn(30, 5, generator=make_generator(0, "parts"))
    full = FeatureStatistics.of(features)
    parts = FeatureStatistics.of(features[:split]) + FeatureStatistics.of(features[split:])
    torch.testing.assert_close(parts.mean, full.mean)
    torch.testing.assert_close(parts.covariance, full.covariance)
    np.testing.assert_allclose(full.covariance.numpy(), np.cov(features.double().numpy(), rowvar=False), atol=1e-12)


def test_general_features_rank_faces_blurred_faces_and_noise(celeba_root: Path) -> None:
    faces = to_unit(load_images("celeba", "test", root=celeba_root).images[:60])
    extractor = general_extractor()
    blurred = torch.nn.functional.avg_pool2d(faces, 5, stride=1, padding=2)
    sharp, noise = faces[:30], torch.rand(30, 3, 64, 64, generator=make_generator(0, "noise"))
    reference = feature_statistics(extractor.features, faces[30:])
    values = [frechet_distance(feature_statistics(extractor.features, x), reference) for x in (sharp, blurred, noise)]
    assert values == sorted(values)
    one_at_a_time = torch.cat([extractor.features(image[None]) for image in faces[:3]])
    torch.testing.assert_close(extractor.features(faces[:3]), one_at_a_time, rtol=1e-3, atol=1e-4)


class _MeanColour(torch.nn.Module):
    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return images.float().mean(dim=(2, 3))


# the warning comes from torch.jit.script, which makes the file, not from using it
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning")
def test_scripted_features_of_the_user_receive_pixels_in_0_255(tmp_path: Path) -> None:
    torch.jit.script(_MeanColour()).save(tmp_path / "own.pt")
    extractor = scripted_extractor(tmp_path / "own.pt", trusted=True)
    images = torch.rand(4, 3, 8, 8, generator=make_generator(0, "images"))
    torch.testing.assert_close(extractor.features(images), (images * 255).round().mean(dim=(2, 3)))
    (tmp_path / "bad.pt").write_bytes(b"no script")
    with pytest.raises(RunError, match=r"bad\.pt cannot be used as features"):
        scripted_extractor(tmp_path / "bad.pt")


def test_ssim_agrees_with_its_definition_in_float64() -> None:
    smooth = gaussian_filter(np.random.default_rng(0).random((3, 61, 83)), 4.0, axes=(1, 2))
    clean = torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).float()
    for corrupted in (CORRUPTIONS["text"].evaluation(clean, 0), CORRUPTIONS["denoise"].evaluation(clean, 0), clean):
        ssim_maps = []
        for x, y in zip(corrupted.double().numpy(), clean.double().numpy(), strict=True):
            mean_x, mean_y, xx, yy, xy = (
                gaussian_filter(z, 1.5, mode="mirror", radius=5) for z in (x, y, x * x, y * y, x * y)
            )
            luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
            variances = xx - mean_x**2 + yy - mean_y**2
            ssim_maps.append(luminance * (2 * (xy - mean_x * mean_y) + 0.03**2) / (variances + 0.03**2))
        assert ssim(corrupted, clean) == pytest.approx(np.mean(ssim_maps), abs=1e-5)


def test_psnr_is_that_of_the_mean_squared_error_and_infinite_for_equal_images() -> None:
    clean, noise = torch.rand(2, 3, 8, 8, generator=make_generator(0, "psnr"), dtype=torch.float64)
    image = 0.9 * clean + 0.1 * noise
    expected = 10 * np.log10(1 / ((image.numpy() - clean.numpy()) ** 2).mean())
    assert psnr(image, clean) == pytest.approx(expected, rel=1e-12)
    assert psnr(clean, clean) == np.inf


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_image_quality_rejects_images_of_different_shape(metric: Callable[[torch.Tensor, torch.Tensor], float]) -> None:
    with pytest.raises(ValueError, match=r"same shape; got \(3, 8, 8\) and \(1, 8, 8\)"):
        metric(torch.rand(3, 8, 8), torch.rand(1, 8, 8))


def test_ssim_rejects_images_smaller_than_half_its_window() -> None:
    with pytest.raises(ValueError, match=r"at least 6 by 6 pixels; got \(3, 5, 8\)"):
        ssim(torch.rand(3, 5, 8), torch.rand(3, 5, 8))


def test_weights_without_a_network_are_named_as_such(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(RunError, match=r"a state dict.*torch\.jit\.script"):
        scripted_extractor(tmp_path / "weights.pt")


class _WritesFile(torch.nn.Module):
    """A network that overwrites a file of the user when it is called."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        mapped = torch.from_file(self.target, shared=True, size=4, dtype=torch.uint8).fill_(65)
        features = images.float().mean(dim=(2, 3)) + mapped.sum()  # without use, the call would be optimised away
        return features if return_features else images.float()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning")
def test_torchscript_is_a_program_that_runs_only_if_it_is_trusted(tmp_path: Path) -> None:
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    torch.jit.script(_WritesFile(str(victim))).save(tmp_path / "features.pt")
    with pytest.raises(ConfigError, match=r"features\.pt is TorchScript, a program .* --trust-features"):
        load_extractor("mnist", (1, 28, 28), custom=str(tmp_path / "features.pt"))
    assert victim.read_text() == "mine"
    scripted_extractor(tmp_path / "features.pt", trusted=True)
    assert victim.read_text() == "AAAA"


@pytest.mark.parametrize("name", ["weights.safetensors", "text.pt", "empty.pt", "archive.pt"])
def test_files_that_are_not_torchscript_are_named_as_such(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes({"text.pt": b"hello", "empty.pt": b""}.get(name, b"PK\x05\x06" + bytes(18)))
    for trusted in (False, True):
        with pytest.raises(RunError, match=r"cannot be used as features: it (is not a TorchScript|holds weights)"):
            scripted_extractor(path, trusted=trusted)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    torch.jit.script(_Broken(value)).save(tmp_path / "features.pt")
    with pytest.raises(RunError, match=r"features\.pt cannot be used as features: its features must be finite; 3 of"):
        scripted_extractor(tmp_path / "features.pt", trusted=True).features(torch.rand(4, 3, 8, 8))
    with pytest.raises(ValueError, match="features must be finite"):
        FeatureStatistics.of(torch.tensor([[0.0, value]]))


class _Broken(torch.nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        features = images.float().mean(dim=(2, 3))
        if return_features:
            features[0] = self.value
        return features


@pytest.mark.parametrize("metric", [psnr, ssim, lambda image, _: sharpness(image[None])])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_images_that_are_not_finite_have_no_metric(
    metric: Callable[[torch.Tensor, torch.Tensor], object], value: float
) -> None:
    image = torch.rand(3, 16, 16)
    image[1, 3, 3] = value
    with pytest.raises(ValueError, match=r"must be finite; \d+ of"):
        metric(image, torch.rand(3, 16, 16))


def test_a_model_whose_images_are_not_finite_is_not_measured(data_root: Path) -> None:
    model = VAE.from_network("mlp").eval()
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.normal_(std=1e38, generator=make_generator(0, "weights"))
    test = load_images("mnist", "test", root=data_root).first(20)
    with pytest.raises(RunError, match=r"cannot be measured: reconstructions must be in \[0, 1\]"):
        measure(model, test, None, EvaluationConfig(20, 20))
    with pytest.raises(RunError, match="cannot be drawn"):
        image_grid.grid(model.sample(4), 2)
