"""Holes are filled with texture from around them; all other pixels keep their exact values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from logcosh_vae.base.errors import RegionError
from logcosh_vae.restoration.filling import fill, regions
from logcosh_vae.restoration.filling.fill import fill_hole
from logcosh_vae.restoration.filling.filler import RegionFiller
from logcosh_vae.restoration.filling.levels import continued, pyramid
from logcosh_vae.restoration.filling.patches import PatchField
from logcosh_vae.restoration.filling.regions import fill_regions
from logcosh_vae.restoration.filling.seamless import blend

Pixels = NDArray[np.unsignedinteger]


def tiles(height: int = 96, width: int = 128, side: int = 16) -> NDArray[np.uint8]:
    """A wall of equal tiles of noise: what a hole hides is known from every other tile."""
    tile = np.random.default_rng(0).integers(0, 256, (side, side, 3))
    return np.tile(tile, (height // side, width // side, 1)).astype(np.uint8)


def leaves(height: int = 120, width: int = 160, seed: int = 0) -> NDArray[np.uint8]:
    """Noise of several sizes, which repeats nowhere."""
    rng = np.random.default_rng(seed)
    total = sum(ndimage.gaussian_filter(rng.normal(size=(height, width)), size) * size for size in (1, 3, 9))
    grey = 128 + 40 * (total - total.mean()) / total.std()
    return np.stack([grey, 0.8 * grey, 0.5 * grey], axis=2).clip(0, 255).astype(np.uint8)


def box(shape: tuple[int, ...], rows: slice, columns: slice) -> NDArray[np.bool_]:
    hole = np.zeros(shape[:2], bool)
    hole[rows, columns] = True
    return hole


def damaged(pixels: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """The picture with a glaring colour in the hole, of which nothing may be left."""
    result = pixels.copy()
    result[hole] = np.array([np.iinfo(pixels.dtype).max, 0, np.iinfo(pixels.dtype).max], pixels.dtype)
    return result


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    share=st.sampled_from([0.02, 0.3, 0.9]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_only_the_hole_changes_and_what_it_held_does_not_matter(
    height: int, width: int, dtype: type[np.unsignedinteger], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)
    hole = rng.random((height, width)) < share
    hole[rng.integers(height), rng.integers(width)] = False  # one pixel at least is known
    filled = fill_hole(pixels, hole)
    assert filled.shape == pixels.shape
    assert filled.dtype == dtype
    assert (filled[~hole] == pixels[~hole]).all()
    other = damaged(pixels, hole)
    assert (fill_hole(other, hole) == filled).all()


def test_what_repeats_is_restored_exactly() -> None:
    wall = tiles()
    hole = box(wall.shape, slice(40, 60), slice(50, 75))
    assert (fill_hole(damaged(wall, hole), hole) == wall).all()


def test_what_is_excluded_is_not_copied() -> None:
    """The only tiles with another colour are the nearest ones, but they must not be used."""
    wall = tiles()
    hole, usable = box(wall.shape, slice(40, 60), slice(50, 75)), np.ones(wall.shape[:2], bool)
    wall[:, :30], usable[:, :30] = np.array([0, 255, 0]), False
    filled = fill_hole(damaged(wall, hole), hole, usable=usable)
    assert not (filled[hole] == np.array([0, 255, 0])).all(axis=1).any()


def test_the_fill_has_the_texture_of_its_surroundings_and_no_seams() -> None:
    picture = leaves()
    hole = box(picture.shape, slice(45, 75), slice(50, 100))
    filled = fill_hole(damaged(picture, hole), hole)
    smooth = continued(damaged(picture, hole).astype(np.float32), hole)

    def roughness(pixels: NDArray[np.generic]) -> float:
        grey = pixels.astype(np.float64).mean(axis=2)
        return float(np.hypot(*np.gradient(grey))[46:74, 51:99].mean())

    assert 0.7 < roughness(filled) / roughness(picture) < 1.3
    assert roughness(smooth) / roughness(picture) < 0.4, "what the texture is compared with"
    # the step across the edge of the hole is as large as anywhere else
    steps = np.abs(np.diff(filled.astype(int).mean(axis=2), axis=0))
    assert steps[44, 50:100].mean() < 1.5 * steps[:44].mean()
    assert steps[74, 50:100].mean() < 1.5 * steps[:44].mean()


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_plain_picture_stays_plain(level: int) -> None:
    plain = np.full((60, 50, 3), level, np.uint8)
    hole = box(plain.shape, slice(20, 60), slice(10, 45))
    assert (fill_hole(damaged(plain, hole), hole) == plain).all()


def test_one_end_of_a_plain_hole_may_be_wild() -> None:
    """Most patches fit exactly, and those at the end do not fit at all; their share must not vanish."""
    picture = np.full((60, 200, 3), 128, np.uint8)
    picture[:, 180:] = np.random.default_rng(0).choice([0, 255], (60, 20, 3))
    hole = box(picture.shape, slice(25, 35), slice(20, 190))
    filled = fill_hole(damaged(picture, hole), hole)
    assert (filled[:, :150] == 128).all()
    assert filled[25:35, 182:190].std() > 10


def test_a_slope_goes_on() -> None:
    slope = np.broadcast_to(np.linspace(20, 220, 120).astype(np.uint8)[None, :, None], (80, 120, 3)).copy()
    hole = box(slope.shape, slice(30, 50), slice(50, 70))
    assert np.abs(fill_hole(damaged(slope, hole), hole).astype(int) - slope).max() <= 4


def test_16_bits_give_the_same_as_8() -> None:
    picture = leaves()
    hole = box(picture.shape, slice(50, 60), slice(60, 90))
    large = fill_hole(picture.astype(np.uint16) * np.uint16(257), hole)
    assert np.abs(np.rint(large / 257.0) - fill_hole(picture, hole)).max() <= 1


def test_too_little_to_copy_is_continued_smoothly() -> None:
    frame = np.full((40, 60, 3), 90, np.uint8)
    frame[:, 30:] = 130
    hole = box(frame.shape, slice(2, 38), slice(2, 58))
    filled = fill_hole(damaged(frame, hole), hole)
    assert filled.min() >= 88
    assert filled.max() <= 132
    assert filled[20, 4, 0] < 105
    assert filled[20, 55, 0] > 115


def test_a_search_never_makes_a_patch_worse() -> None:
    picture = leaves().astype(np.float32)
    hole = box(picture.shape, slice(50, 62), slice(60, 80))
    usable = ~hole
    usable[:, :40] = False
    level = pyramid(picture, hole, usable)[-1]
    field = PatchField(level, 12.0, np.random.default_rng(0))
    for _ in range(3):
        before = field.costs.copy()
        field.search(1)
        assert (field.costs <= before + 1e-3).all()
    assert field.costs.mean() < 0.5 * PatchField(level, 12.0, np.random.default_rng(0)).costs.mean()
    known = np.zeros_like(hole)
    for down in range(-3, 4):
        for across in range(-3, 4):
            known[field.at_rows + down, field.at_columns + across] = True
    assert not known[hole].any()
    assert not known[:, :40].any()


def test_copied_values_that_are_all_too_dark_are_corrected_from_the_edge() -> None:
    """A known solution: differences are copied exactly, values are 60 levels off, and the edge tells."""
    rows, columns = np.mgrid[0:40, 0:80]
    left = (5.0 * np.sin(rows / 3.0) + 5.0 * np.cos(columns / 2.0))[..., None].astype(np.float32)
    pixels = np.concatenate([left[:, :40] + 100.0, left[:, :40] + 160.0], axis=1).repeat(3, axis=2)
    hole = box(pixels.shape, slice(10, 30), slice(52, 70))
    at = np.stack(np.nonzero(hole))
    result = blend(pixels, hole, at - np.array([[0], [40]]), length=1e4)
    assert np.abs(result - pixels[hole]).max() < 0.5


def test_levels_that_are_not_searched_copy_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = tiles(192, 256, 32)
    hole = box(wall.shape, slice(80, 120), slice(100, 150))
    monkeypatch.setattr(fill, "MAX_PATCHES", 1)  # only the coarsest level is searched
    assert (fill_hole(damaged(wall, hole), hole) == wall).all()


def test_parts_that_lie_apart_do_not_depend_on_each_other() -> None:
    picture = leaves(150, 400)
    first = box(picture.shape, slice(60, 75), slice(30, 60))
    second = box(picture.shape, slice(60, 75), slice(300, 330))
    both = fill_regions(damaged(picture, first | second), first | second)
    assert (both[first] == fill_regions(damaged(picture, first), first)[first]).all()
    assert (both[~(first | second)] == picture[~(first | second)]).all()


def test_a_large_part_is_filled_on_a_smaller_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.asarray(Image.fromarray(leaves(90, 120)).resize((481, 361), Image.Resampling.BICUBIC))
    hole = box(picture.shape, slice(150, 201), slice(200, 281))
    monkeypatch.setattr(regions, "MAX_PIXELS", 20_000)
    seen: list[tuple[int, ...]] = []
    original = fill.fill_hole

    def spy(pixels: Pixels, *args: object, **kwargs: object) -> Pixels:
        seen.append(pixels.shape)
        return original(pixels, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(regions, "fill_hole", spy)
    filled = fill_regions(damaged(picture, hole), hole)
    assert (filled[~hole] == picture[~hole]).all()
    assert all(height * width <= 20_000 for height, width, _ in seen)
    magenta = (filled[hole].astype(int) - np.array([255, 0, 255])).astype(float)
    assert np.abs(magenta).max(axis=1).min() > 60, "nothing of the old colour is left at the edge"


def test_a_region_is_filled_but_for_what_is_kept() -> None:
    picture = leaves()
    mask = box(picture.shape, slice(10, 20), slice(10, 20))
    filler = RegionFiller([(100, 60, 20, 20)], mask, [(105, 65, 5, 5)])
    calls: list[tuple[int, int]] = []
    changed = (filler(picture, progress=lambda done, total: calls.append((done, total))) != picture).any(axis=2)
    inside = mask | box(picture.shape, slice(60, 80), slice(100, 120))
    inside[65:70, 105:110] = False
    assert not changed[~inside].any()
    assert changed[inside].mean() > 0.8
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    for others in (((100, 60, 20, 21),), None, ()), (((100, 60, 20, 20),), mask, ()), (((1, 1, 1, 1),), mask, ()):
        assert RegionFiller(*others).digest != filler.digest


@pytest.mark.parametrize(
    ("box", "message"), [((0, 0, 50, 40), "whole picture"), ((60, 0, 5, 5), "no pixel of the picture")]
)
def test_regions_that_cannot_be_filled(box: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(RegionError, match=message):
        RegionFiller([box])(np.zeros((40, 50, 3), np.uint8))


def test_wrong_arguments() -> None:
    picture = np.zeros((8, 9, 3), np.uint8)
    with pytest.raises(ValueError, match="nothing to fill it from"):
        fill_hole(picture, np.ones((8, 9), bool))
    with pytest.raises(ValueError, match="must be"):
        fill_hole(picture, np.ones((9, 8), bool))
    with pytest.raises(ValueError, match="boxes or a mask"):
        RegionFiller()
    assert (fill_hole(picture, np.zeros((8, 9), bool)) == picture).all()
