"""Finding text: lines from the detector's output against independent references, and the real detector on pictures."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from logcosh_vae.base.errors import RunError
from logcosh_vae.restoration.finding import detector, lines, search
from logcosh_vae.restoration.finding.lines import TextLine, find_lines, smallest_rectangle

installed = pytest.mark.skipif(not detector.is_installed(), reason="the extra `text` is not installed")
FONT_HEIGHT = 24


def areas_by_flood_fill(marked: NDArray[np.bool_]) -> list[set[tuple[int, int]]]:
    """The 8-connected areas, by a flood fill, as sets of (row, column)."""
    left = {(int(row), int(column)) for row, column in np.argwhere(marked)}
    areas = []
    while left:
        stack, area = [left.pop()], set()
        while stack:
            row, column = stack.pop()
            area.add((row, column))
            for step in itertools.product((-1, 0, 1), repeat=2):
                near = (row + step[0], column + step[1])
                if near in left:
                    left.remove(near)
                    stack.append(near)
        areas.append(area)
    return areas


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.6))
def test_every_connected_area_of_sufficient_size_and_score_becomes_one_line(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    coarse = np.where(rng.random((8, 10)) < density, rng.uniform(0.4, 1.0, (8, 10)), 0.0)
    probability = np.kron(coarse, np.ones((5, 5)))
    found = list(find_lines(probability))
    expected = []
    for area in areas_by_flood_fill(probability > lines.PROBABILITY):
        score = float(np.mean([probability[place] for place in area]))
        if score >= lines.SCORE:
            expected.append((score, area))
    assert sorted(line.score for line in found) == pytest.approx(sorted(score for score, _ in expected))
    for _, area in expected:  # each area lies in a line, because lines are larger than their areas
        rows, columns = (slice(0, length) for length in probability.shape)
        assert any(all(line.covers(rows, columns)[place] for place in area) for line in found)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30))
def test_the_rectangle_is_the_smallest_among_all_angles_and_holds_the_pixels(places: list[tuple[int, int]]) -> None:
    pixels = np.array(places)
    axes, low, high = smallest_rectangle(pixels)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-9)
    corners = np.array([(x + dx, y + dy) for x, y in places for dx in (0, 1) for dy in (0, 1)], float)
    along = corners @ axes.T
    assert (along.min(axis=0) >= low - 1e-6).all()
    assert (along.max(axis=0) <= high + 1e-6).all()

    def area(angle: float) -> float:
        turned = corners @ np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return float((turned.max(axis=0) - turned.min(axis=0)).prod())

    assert (high - low).prod() <= min(area(math.radians(degrees)) for degrees in range(90)) + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.floats(-20, 80), st.floats(-20, 80), st.floats(3, 60), st.floats(3, 60), st.floats(0, math.pi))
def test_a_line_covers_the_pixels_whose_centres_lie_in_its_rectangle(
    x: float, y: float, across: float, down: float, angle: float
) -> None:
    axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    half = np.array([across, down]) / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half @ axes + (x, y)
    expected = np.zeros((50, 60), bool)
    for row, column in itertools.product(range(50), range(60)):
        expected[row, column] = (np.abs(axes @ (column + 0.5 - x, row + 0.5 - y)) <= half).all()
    for points in (corners, corners[::-1]):
        mask = np.zeros((50, 60), bool)
        lines.paint([TextLine(points, min(across, down), 1.0)], mask)
        assert (mask != expected).sum() <= 2, "a centre on an edge may go either way"


@pytest.mark.parametrize("length", [1, 700, 1280, 1281, 5000, 20_000])
def test_windows_of_a_long_picture_cover_it_and_overlap(length: int) -> None:
    windows = list(search._windows(length))
    assert (windows[0].start, windows[-1].stop) == (0, length)
    assert all(after.start <= before.stop - search.OVERLAP for before, after in itertools.pairwise(windows))
    assert max(window.stop - window.start for window in windows) <= search.WINDOW + search.OVERLAP


def photograph(width: int, height: int) -> Image.Image:
    """A smooth picture without strokes."""
    coarse = np.random.default_rng(1).integers(60, 190, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def captioned(
    width: int, height: int, text: str, size: int, place: tuple[int, int], angle: float = 0.0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture with a text, and its pixels."""
    clean = photograph(width, height)
    layer = Image.new("L", clean.size)
    ImageDraw.Draw(layer).text(place, text, 255, ImageFont.load_default(size))
    layer = layer.rotate(angle, Image.Resampling.BICUBIC, center=place)
    picture = Image.composite(Image.new("RGB", clean.size, (255, 240, 60)), clean, layer)
    return np.asarray(picture), np.asarray(layer) > 64


@installed
@pytest.mark.parametrize(
    ("size", "place", "angle", "scale"),
    [
        (16, (20, 20), 0.0, 1.0),
        (40, (60, 300), 30.0, 1.0),
        (36, (60, 400), 90.0, 1.0),
        (100, (20, 200), 0.0, 1.0),
        (30, (-8, 5), 0.0, 1.0),
        (120, (100, 1200), 0.0, 3.0),
    ],
)
def test_the_detector_finds_text_of_any_size_and_angle(
    size: int, place: tuple[int, int], angle: float, scale: float
) -> None:
    width, height = round(640 * scale), round(480 * scale)
    picture, text = captioned(width, height, "Harbour 1987", size, place, angle)
    found = search.find_text(picture)
    assert search.text_mask(found, height, width)[text].mean() > 0.95
    heights = [line.height for line in found]
    assert 0.8 * size < max(heights) < 2.2 * size


@installed
@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_line_that_the_border_cuts_lengthwise_is_found_once(side: str) -> None:
    angle = 90.0 if side in ("left", "right") else 0.0
    picture, text = captioned(800, 640, "Harbour 1987", 36, (300, 400), angle)
    middle = [int(np.mean(places)) for places in np.nonzero(text)]
    part = {
        "top": np.s_[middle[0] :],
        "bottom": np.s_[: middle[0]],
        "left": np.s_[:, middle[1] :],
        "right": np.s_[:, : middle[1]],
    }[side]
    found = search.find_text(picture[part])
    assert search.text_mask(found, *text[part].shape)[text[part]].mean() > 0.95
    assert len(found) == 1


@installed
def test_nothing_is_found_without_text_and_sixteen_bits_give_the_same_lines() -> None:
    assert search.find_text(np.asarray(photograph(640, 480))) == []
    picture, _ = captioned(640, 480, "Harbour 1987", 30, (40, 40))
    first, second = search.find_text(picture), search.find_text(picture.astype(np.uint16) * 257)
    np.testing.assert_allclose(first[0].corners, second[0].corners, atol=1e-3)


@installed
def test_a_panorama_is_searched_in_windows() -> None:
    picture, text = captioned(
        3000, 500, "A long line of text that crosses the border between two windows", 50, (500, 200)
    )
    sizes: list[int] = []
    loaded = detector.load_detector()

    class Spy(detector.TextDetector):
        def __init__(self) -> None: ...

        def probability(self, pixels: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
            sizes.append(pixels.shape[1])
            return loaded.probability(pixels)

    found = search.find_text(picture, Spy())
    assert len(sizes) > 1
    assert max(sizes) <= search.WINDOW + search.OVERLAP
    assert search.text_mask(found, 500, 3000)[text].mean() > 0.95


@installed
def test_a_changed_file_of_the_detector_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray((detector.detector_file() or Path()).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    monkeypatch.setattr(detector, "detector_file", lambda: tmp_path / "changed.onnx")
    fresh: Callable[[], detector.TextDetector] = detector.load_detector.__wrapped__
    with pytest.raises(RunError, match=r"changed\.onnx cannot be used: its SHA-256 is"):
        fresh()
