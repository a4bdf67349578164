"""Corruptions: strength, range, reproducibility, and what Noise2Noise targets converge to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from logcosh_vae.restoration.corruptions import CORRUPTIONS, TRAINED_AS
from logcosh_vae.restoration.corruptions.overlays import compress_jpeg
from logcosh_vae.restoration.text import CAPTIONS, PLAIN, TextStyle, _draw_string, draw_text_canvas, render_text
from logcosh_vae.restoration.text_cache import cached_text_canvases
from logcosh_vae.training.loop import make_generator

TASKS = list(CORRUPTIONS)


def photograph(height: int = 48, width: int = 40) -> torch.Tensor:
    """Smooth colours `(3, H, W)` within [0.2, 0.8]."""
    rows, columns = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 5, width), indexing="ij")
    waves = torch.stack([torch.sin(rows), torch.cos(columns), torch.sin(rows + columns)])
    return ((0.5 + 0.3 * waves) * 255).round() / 255


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [(48, 40), (17, 33), (5, 7)])
def test_corrupted_images_have_256_levels_and_are_reproducible(task: str, size: tuple[int, int]) -> None:
    corruption, image = CORRUPTIONS[task], photograph(*size)
    corrupted = corruption.evaluation(image, 3)
    assert corrupted.shape == image.shape
    assert ((corrupted * 255).round() / 255 == corrupted).all()
    assert 0.0 <= corrupted.min() <= corrupted.max() <= 1.0
    assert not torch.equal(corrupted, image)
    assert torch.equal(corrupted, corruption.evaluation(image, 3))
    batch = image.expand(4, -1, -1, -1)
    assert torch.equal(
        corruption.training(batch, make_generator(1, "x")), corruption.training(batch, make_generator(1, "x"))
    )


@pytest.mark.parametrize("task", [task for task in TASKS if task not in ("demosaic", "deblur", "super-resolution")])
def test_copies_differ_by_index_and_in_strength(task: str) -> None:
    corruption, image = CORRUPTIONS[task], photograph()
    assert not torch.equal(corruption.evaluation(image, 0), corruption.evaluation(image, 1))
    changed = (
        (corruption.training(image.expand(64, -1, -1, -1), make_generator(0, "x")) - image).abs().mean(dim=(1, 2, 3))
    )
    assert changed.min() < 0.2 * changed.max()


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(20, 90),
    st.integers(20, 90),
    st.floats(0.0, 0.5),
    st.sampled_from([PLAIN, replace(CAPTIONS, transparent=0.0)]),
)
def test_text_has_the_requested_coverage_to_a_percentage_point(
    seed: int, height: int, width: int, coverage: float, style: TextStyle
) -> None:
    rng = np.random.default_rng(seed)
    canvas = draw_text_canvas(height, width, rng, style)
    opacity, colour = render_text(canvas[None], np.array([coverage]), rng, style.common_colours)
    assert abs((opacity >= 0.5).mean() - coverage) <= 0.01
    assert colour.shape == (1, 3, height, width)


def test_text_from_cached_canvases_has_the_requested_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    corruption = CORRUPTIONS["text"]
    requested = torch.linspace(0.0, 0.5, 128)
    monkeypatch.setattr(corruption, "_strengths", lambda *_: requested)
    black = corruption.training(torch.zeros(128, 3, 64, 64), make_generator(0, "a"))
    white = corruption.training(torch.ones(128, 3, 64, 64), make_generator(0, "a"))
    covered = (1.0 - (white - black)[:, 0] >= 0.5).float().mean(dim=(1, 2))
    error = requested - covered
    assert error.abs().median() <= 0.001
    assert (error.abs() <= 0.01).float().mean() >= 0.97, "few crops of the canvases lack text"


def test_canvases_are_drawn_once_and_again_if_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path))
    first = cached_text_canvases(0, 2, 64, PLAIN)
    (cached,) = tmp_path.glob("text-*.npy")
    whole = cached.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("logcosh_vae.restoration.text_cache.draw_text_canvas", None)
        np.testing.assert_array_equal(cached_text_canvases(0, 2, 64, PLAIN), first)
    for damaged in (b"", whole[:1000], whole[: len(whole) // 2], b"text", whole[:200] + bytes(len(whole) - 200)):
        cached.write_bytes(damaged)
        np.testing.assert_array_equal(cached_text_canvases(0, 2, 64, PLAIN), first)
        assert cached.read_bytes() == whole
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(cached_text_canvases(0, 2, 64, PLAIN), first)
    assert not np.array_equal(cached_text_canvases(1, 2, 64, PLAIN), first)


def test_captions_are_compressed_and_often_sparse_in_training_but_evaluated_on_the_text_of_the_paper() -> None:
    captions, image = TRAINED_AS["text"], photograph(64, 64)
    torch.testing.assert_close(captions.evaluation(image, 3), CORRUPTIONS["text"].evaluation(image, 3))
    source, _, target = captions.pair(image.expand(96, -1, -1, -1), make_generator(0, "x"))
    copies = torch.stack([target() for _ in range(41)])
    assert {tuple(part.shape) for part in (source, *copies)} == {(96, 3, 64, 64)}
    assert ((source * 255 - (source * 255).round()).abs() < 1e-3).all()
    # the median of the targets is the image without text, half of the time with JPEG artefacts
    median = copies.median(dim=0).values
    error = (median - image).abs().mean(dim=(1, 2, 3))
    assert error.max() < 0.03
    exact = (error < 1e-6).float().mean()
    assert 0.35 < exact < 0.65, "half are not compressed"
    large = captions.training(torch.full((4, 3, 300, 300), 0.5), make_generator(0, "large"))
    assert (large == 1.0).all(dim=1).float().mean() > 0.002, "white is a common colour of captions at any size"
    # 15% of the copies have no text, and others have very little
    bare = ((copies == median).flatten(2).float().mean(dim=2) > 0.995).float().mean()
    assert 0.15 < bare < 0.35


def test_invented_signs_have_soft_edges_and_stay_within_their_bounds() -> None:
    style = TextStyle((30, 30), invented=1.0)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (opacity,) = _draw_string(rng, style)
        assert 0 < (opacity > 0).mean() < 0.95
        assert (opacity == 255).any()
        assert ((opacity > 0) & (opacity < 255)).any()
        cut = [opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]]
        assert max(int(edge.max()) for edge in cut) < 128, "nothing is cut off"
    letters = _draw_string(np.random.default_rng(1), TextStyle((30, 30)))
    np.testing.assert_array_equal(_draw_string(np.random.default_rng(1), TextStyle((30, 30), invented=0.0)), letters)


@pytest.mark.parametrize("size", [(1, 1), (7, 64), (40, 33)])
def test_jpeg_artefacts_vary_and_are_small_at_any_size(size: tuple[int, int]) -> None:
    images = photograph(*size).expand(2, -1, -1, -1)
    errors = [(compress_jpeg(images, np.random.default_rng(seed)) - images).abs().mean() for seed in range(5)]
    assert len(set(map(float, errors))) > 1
    assert 0.0 < max(errors) < 0.1


def test_margins_are_covered_as_densely_as_the_middle() -> None:
    covered = (CORRUPTIONS["text"].canvases & 0xFF >= 128).mean(axis=0)  # type: ignore[attr-defined]
    margins = [covered[:8], covered[-8:], covered[:, :8], covered[:, -8:]]
    assert np.mean([margin.mean() for margin in margins]) == pytest.approx(covered.mean(), rel=0.1)


@pytest.mark.parametrize(("task", "centre"), [("text", "median"), ("impulse", "median"), ("denoise", "mean")])
def test_mean_or_median_of_many_copies_is_the_clean_image(task: str, centre: str) -> None:
    corruption, image = CORRUPTIONS[task], photograph()
    copies = torch.stack([corruption.evaluation(image, index) for index in range(101)])
    estimate = copies.median(dim=0).values if centre == "median" else copies.mean(dim=0)
    assert (estimate - image).abs().mean() < 0.01


def test_blur_agrees_with_scipy() -> None:
    image = photograph()
    expected = ndimage.gaussian_filter(image.numpy(), sigma=(0, 1.6, 1.6), mode="mirror", radius=(0, 8, 8))
    np.testing.assert_allclose(CORRUPTIONS["deblur"].evaluation(image, 0).numpy(), expected, atol=0.5 / 255 + 1e-6)


def test_mosaic_keeps_the_measured_colours_and_interpolates_the_others() -> None:
    image = photograph()
    corrupted = CORRUPTIONS["demosaic"].evaluation(image, 0)
    for channel, row, column in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)):
        assert torch.equal(corrupted[channel, row::2, column::2], image[channel, row::2, column::2])
    # red at a green pixel is the mean of its two neighbours in the row
    mean = (image[0, 2, 2:-2:2] + image[0, 2, 4::2]) / 2
    torch.testing.assert_close(corrupted[0, 2, 3:-2:2], mean, atol=1 / 255, rtol=0)
