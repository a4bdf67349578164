"""Sharpness, Frechet distance and SSIM against SciPy and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from logcosh_vae.base.errors import RunError
from logcosh_vae.data import load_images
from logcosh_vae.data.batches import to_unit
from logcosh_vae.evaluation.features import general_extractor, scripted_extractor
from logcosh_vae.metrics.classifier import feature_statistics
from logcosh_vae.metrics.frechet import FeatureStatistics, frechet_distance
from logcosh_vae.metrics.image_quality import ssim
from logcosh_vae.metrics.sharpness import sharpness
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.training.loop import make_generator

LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 2**32))
def test_sharpness_agrees_with_a_scipy_convolution(height: int, width: int, seed: int) -> None:
    images = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed))
    expected = [scipy.signal.convolve2d(i[0].double().numpy(), LAPLACE, mode="valid").var() for i in images]
    np.testing.assert_allclose(sharpness(images).numpy(), expected, rtol=1e-10, atol=1e-14)


def test_sharpness_of_colour_is_that_of_the_grey_image() -> None:
    grey = torch.rand(3, 1, 8, 8, generator=make_generator(0, "grey"))
    torch.testing.assert_close(sharpness(grey.repeat(1, 3, 1, 1)), sharpness(grey), rtol=1e-5, atol=1e-7)
    assert sharpness(torch.zeros(1, 3, 5, 5)).item() == 0.0


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 1, 2, 8), (8, 8)])
def test_sharpness_names_images_it_cannot_use(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images must be"):
        sharpness(torch.zeros(shape))


def test_sharpness_of_real_digits_is_the_known_value(data_root: Path) -> None:
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
    # all variance along one axis, as where most units of a rectified layer never fire: (s1 - s2)^2 + |m1 - m2|^2
    x, y = torch.zeros(2, 1_000, 64, dtype=torch.float64)
    draw = torch.randn(1_000, generator=make_generator(0, "degenerate"), dtype=torch.float64)
    x[:, 0], y[:, 0] = draw, 3.0 * draw + 2.0
    statistics = FeatureStatistics.of(x), FeatureStatistics.of(y)
    expected = 4.0 * draw.var() + (2.0 + 2.0 * draw.mean()).square()
    assert frechet_distance(*statistics) == pytest.approx(expected.item(), rel=1e-9)
    assert frechet_distance(statistics[0], statistics[0]) == pytest.approx(0.0, abs=1e-9)


@given(st.integers(1, 29))
def test_statistics_of_parts_add_up(cut: int) -> None:
    features = torch.randn(30, 5, generator=make_generator(0, "parts"))
    whole = FeatureStatistics.of(features)
    parts = FeatureStatistics.of(features[:cut]) + FeatureStatistics.of(features[cut:])
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.covariance, whole.covariance)
    np.testing.assert_allclose(whole.covariance.numpy(), np.cov(features.double().numpy(), rowvar=False), atol=1e-12)


def test_the_general_features_see_blur_and_tell_images_apart(celeba_root: Path) -> None:
    faces = to_unit(load_images("celeba", "test", root=celeba_root).images[:60])
    extractor = general_extractor()
    blurred = torch.nn.functional.avg_pool2d(faces, 5, stride=1, padding=2)
    near, far = faces[:30], torch.rand(30, 3, 64, 64, generator=make_generator(0, "noise"))
    reference = feature_statistics(extractor.features, faces[30:])
    values = [frechet_distance(feature_statistics(extractor.features, x), reference) for x in (near, blurred, far)]
    assert values == sorted(values)
    alone = torch.cat([extractor.features(image[None]) for image in faces[:3]])
    torch.testing.assert_close(extractor.features(faces[:3]), alone, rtol=1e-3, atol=1e-4)


class _Scripted(torch.nn.Module):
    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return images.float().mean(dim=(2, 3))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of making the file, not of using it
def test_features_of_a_script_of_the_user_see_bytes(tmp_path: Path) -> None:
    torch.jit.script(_Scripted()).save(tmp_path / "own.pt")
    extractor = scripted_extractor(tmp_path / "own.pt")
    images = torch.rand(4, 3, 8, 8, generator=make_generator(0, "images"))
    torch.testing.assert_close(extractor.features(images), (images * 255).round().mean(dim=(2, 3)))
    (tmp_path / "bad.pt").write_bytes(b"no script")
    with pytest.raises(RunError, match=r"bad\.pt cannot be used as features"):
        scripted_extractor(tmp_path / "bad.pt")


def test_ssim_is_that_of_its_definition_in_double_precision() -> None:
    smooth = gaussian_filter(np.random.default_rng(0).random((3, 61, 83)), 4.0, axes=(1, 2))
    clean = torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).float()
    for spoilt in (CORRUPTIONS["text"].evaluation(clean, 0), CORRUPTIONS["denoise"].evaluation(clean, 0), clean):
        maps = []
        for x, y in zip(spoilt.double().numpy(), clean.double().numpy(), strict=True):
            mean_x, mean_y, xx, yy, xy = (
                gaussian_filter(z, 1.5, mode="mirror", radius=5) for z in (x, y, x * x, y * y, x * y)
            )
            luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
            variances = xx - mean_x**2 + yy - mean_y**2
            maps.append(luminance * (2 * (xy - mean_x * mean_y) + 0.03**2) / (variances + 0.03**2))
        assert ssim(spoilt, clean) == pytest.approx(np.mean(maps), abs=1e-5)
