"""The page in a real browser, opened from the disk: what is dragged, drawn and dropped, and the pixels that appear.

Skipped where no Chromium is installed (Debian: `apt-get install chromium`).
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.explorer.browser import Browser, find_browser
from tests.explorer.models import explorer_run
from torch import Tensor

from logcosh_vae.data.batches import to_unit
from logcosh_vae.explorer.layers import apply
from logcosh_vae.explorer.page import build
from logcosh_vae.explorer.runs import ExplorerRun, ShownImages
from logcosh_vae.models.density import CodeDensity

EXECUTABLE = find_browser()
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")

TOLERANCE = 1e-3
PIXEL = 0.5 / 255 + TOLERANCE
"""Largest difference of a pixel on the screen, which has one of 256 levels."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert EXECUTABLE is not None
    opened = Browser(EXECUTABLE, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The browser with the page of two runs; afterwards, that nothing failed and nothing was fetched."""
    browser.open(page)
    yield browser
    assert browser.problems() == []


def test_networks_are_computed_by_webassembly(opened: Browser) -> None:
    assert opened.run("explorer.engine.speed") > 1


def numbers(browser: Browser, expression: str) -> Any:
    """The value of an expression that makes arrays of numbers, in terms of `state`."""
    plain = "(key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value"
    return json.loads(
        browser.run(f"(() => {{ const {{ state }} = explorer; return JSON.stringify({expression}, {plain}); }})()")
    )


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def pixels(browser: Browser, selector: str, shape: tuple[int, int, int] = (1, 28, 28), at: str = "0, 0") -> Tensor:
    """An image on a canvas, in [0, 1]; `at` is its place, in pixels."""
    channels, height, width = shape
    script = (
        f"Array.from(document.querySelector({json.dumps(selector)}).getContext('2d')"
        f".getImageData({at}, {width}, {height}).data)"
    )
    rgba = torch.tensor(browser.run(script)).reshape(height, width, 4)
    assert bool((rgba[..., 3] == 255).all())
    return rgba[..., :channels].permute(2, 0, 1) / 255


def decoded(run: ExplorerRun, code: Any) -> Tensor:
    return apply(run.networks.decoder, tensor(code)[None]).reshape(run.image_shape)


def assert_near(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert float((found - expected).abs().max()) <= tolerance


def assert_shows_codes(browser: Browser, runs: list[ExplorerRun]) -> None:
    """The images at the cursors are those that Python decodes from the codes."""
    browser.settle()
    for index, code in enumerate(numbers(browser, "state.codes")):
        selector = f"#maps .card:nth-child({index + 1}) .at-cursor canvas"
        assert_near(pixels(browser, selector), decoded(runs[index], code), PIXEL)


def assert_reconstructs(browser: Browser, runs: list[ExplorerRun]) -> Tensor:
    """What is shown beside the input is what Python reconstructs of it; returns the input."""
    browser.settle()
    shape = runs[0].image_shape
    image = tensor(numbers(browser, "state.image")).reshape(shape)
    assert_near(pixels(browser, "#tiles .tile:first-child canvas", shape), image, PIXEL)
    for index, (run, shown) in enumerate(zip(runs, numbers(browser, "state.reconstructions"), strict=True)):
        expected = apply(run.networks.decoder, apply(run.networks.encoder, image[None])).reshape(shape)
        assert_near(tensor(shown).reshape(shape), expected)
        assert_near(pixels(browser, f"#tiles .tile:nth-child({index + 2}) canvas", shape), expected, PIXEL)
    return image


def test_the_page_opens_with_a_test_image(opened: Browser, runs: list[ExplorerRun], shown: ShownImages) -> None:
    assert opened.run("document.title") == "Latent space of MNIST"
    assert opened.run("document.querySelectorAll('#maps .card').length") == 2
    image = assert_reconstructs(opened, runs)
    assert_near(image, to_unit(shown.images[4]), 1e-6)
    assert_shows_codes(opened, runs)


def test_a_dragged_slider_moves_all_codes_and_the_images(opened: Browser, runs: list[ExplorerRun]) -> None:
    before = numbers(opened, "state.codes")
    start = (before[0][2] + 3) / 6
    opened.drag([opened.place("#slider-3", right) for right in (start, 0.5, 0.7, 0.8)])
    after = numbers(opened, "state.codes")
    assert after[0][2] == pytest.approx(1.8, abs=0.4)
    moved = after[0][2] - before[0][2]
    for was, now in zip(before, after, strict=True):
        assert now[2] - was[2] == pytest.approx(moved, abs=0.02)
        assert now[:2] + now[3:] == was[:2] + was[3:]
    assert_shows_codes(opened, runs)


def test_the_map_shows_decoded_codes_and_its_cursor_is_dragged(opened: Browser, runs: list[ExplorerRun]) -> None:
    axes, columns = numbers(opened, "[state.axes, explorer.maps.map((map) => map.columns)]")
    opened.drag([opened.place("#maps .card:nth-child(2) .map", *to) for to in ((0.5, 0.5), (0.6, 0.3), (0.9, 0.25))])
    code = numbers(opened, "state.codes")[1]
    assert code[axes["x"]] == pytest.approx(2.4, abs=0.05)
    assert code[axes["y"]] == pytest.approx(1.5, abs=0.05)
    assert_shows_codes(opened, runs)
    n = columns[1]
    for row, column in ((0, 0), (0, n - 1), (n - 2, 1)):
        code[axes["x"]] = 3 * ((2 * column + 1) / n - 1)
        code[axes["y"]] = 3 * (1 - (2 * row + 1) / n)
        found = pixels(opened, "#maps .card:nth-child(2) .map canvas", at=f"{28 * column}, {28 * row}")
        assert_near(found, decoded(runs[1], code), PIXEL)


def test_arrow_keys_move_the_cursor_of_a_map(opened: Browser, runs: list[ExplorerRun]) -> None:
    axes, before = numbers(opened, "[state.axes, state.codes[0]]")
    opened.run("document.querySelector('#maps .map').focus()")
    opened.press("ArrowRight", code=39)
    opened.press("ArrowUp", code=38, shift=True)
    after = numbers(opened, "state.codes[0]")
    assert after[axes["x"]] - before[axes["x"]] == pytest.approx(0.12, abs=1e-5)
    assert after[axes["y"]] - before[axes["y"]] == pytest.approx(0.6, abs=1e-5)
    assert "Arrow keys move the cursor" in opened.run("document.activeElement.getAttribute('aria-label')")
    assert_shows_codes(opened, runs)


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_a_drawn_digit_is_reconstructed(touch: bool, browser: Browser, page: Path, runs: list[ExplorerRun]) -> None:
    browser.open(page, 400 if touch else 1200, touch=touch)
    browser.run("document.querySelector('#clear').click()")
    assert not assert_reconstructs(browser, runs).any()
    seven = [(0.25, 0.2), (0.5, 0.22), (0.75, 0.2), (0.6, 0.5), (0.45, 0.85)]
    browser.drag([browser.place("#paper", *point) for point in seven], touch=touch)
    image = assert_reconstructs(browser, runs)
    assert 20 < float(image.sum()) < 200
    rows, columns = (image[0].sum(1 - axis) for axis in (0, 1))
    for profile in (rows, columns):  # the centre of mass is in the middle
        assert float((profile * (torch.arange(28) + 0.5)).sum() / profile.sum()) == pytest.approx(14, abs=0.51)
    assert_shows_codes(browser, runs)
    if not touch:
        browser.click("#centre")
        drawn = pixels(browser, "#paper canvas")
        assert_near(drawn, assert_reconstructs(browser, runs), 0.6 / 255)
    assert browser.problems() == []


def test_the_first_stroke_replaces_the_example_but_not_a_chosen_image(
    opened: Browser, runs: list[ExplorerRun], shown: ShownImages
) -> None:
    stroke = [opened.place("#paper", *point) for point in ((0.1, 0.1), (0.1, 0.2))]
    example = to_unit(shown.images[4])
    assert float(example.sum()) > 40
    opened.drag(stroke)
    assert 1 < float(assert_reconstructs(opened, runs).sum()) < 25
    opened.run("document.querySelectorAll('#test-images button')[4].click()")
    opened.drag(stroke)
    assert float(assert_reconstructs(opened, runs).sum()) > float(example.sum())


def test_keys_draw(opened: Browser, runs: list[ExplorerRun]) -> None:
    opened.run("document.querySelector('#clear').click(); document.querySelector('#paper').focus()")
    opened.press(" ", code=32)
    for _ in range(6):
        opened.press("ArrowDown", code=40, shift=True)
    assert 10 < float(assert_reconstructs(opened, runs).sum()) < 60


def test_a_dropped_picture_is_reconstructed(opened: Browser, runs: list[ExplorerRun], tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 100, (28, 28), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "picture.png")
    opened.drop_file("#image-panel", tmp_path / "picture.png")
    opened.wait("document.querySelector('#message').textContent === 'picture.png opened.'")
    assert_near(assert_reconstructs(opened, runs), torch.from_numpy(levels)[None] / 255, 1e-6)
    (tmp_path / "notes.png").write_text("no picture", encoding="utf-8")
    opened.drop_file("#image-panel", tmp_path / "notes.png")
    opened.wait("document.querySelector('#message').textContent.includes('not a picture')")


def test_ink_on_paper_is_inverted(opened: Browser, runs: list[ExplorerRun], tmp_path: Path) -> None:
    paper = np.full((280, 400), 255, np.uint8)
    paper[100:180, 190:210] = 0
    Image.fromarray(paper).save(tmp_path / "photo.png")
    opened.drop_file("#image-panel", tmp_path / "photo.png")
    opened.wait("document.querySelector('#message').textContent.includes('inverted')")
    image = assert_reconstructs(opened, runs)[0]
    assert float(image[10:18, 13:15].min()) > 0.7
    assert float(image[:8].max()) < 0.1


def test_samples_can_be_chosen(opened: Browser, runs: list[ExplorerRun]) -> None:
    opened.click("#tab-samples")
    opened.settle()
    columns = numbers(opened, "explorer.samples.columns")
    opened.drag([opened.place("#sample-runs .card:nth-child(2) .map", 1.5 / columns, 0.5 / columns)])
    codes = numbers(opened, "state.codes")
    assert codes == numbers(opened, "explorer.samples.codes[1]")
    assert codes[0] == codes[1][:8]  # the prior: the same draws for every run
    found = pixels(opened, "#sample-runs .card:nth-child(2) canvas", at="28, 0")
    assert_near(found, decoded(runs[1], codes[1]), PIXEL)
    before = numbers(opened, "explorer.samples.codes")
    opened.click("#resample")
    assert numbers(opened, "explorer.samples.codes") != before


def test_interpolation_follows_a_drag(opened: Browser, runs: list[ExplorerRun], shown: ShownImages) -> None:
    opened.click("#tab-interpolation")
    opened.click("#slot-start")
    opened.click("#test-images button:nth-child(3)")
    opened.click("#test-images button:nth-child(8)")
    opened.drag([opened.place("#strips .card .film", right) for right in (0.2, 0.5, 0.25)])
    opened.settle()
    ends = to_unit(shown.images[[2, 7]])
    fraction = (0.25 * 9 - 0.5) / 8
    for index, (run, code) in enumerate(zip(runs, numbers(opened, "state.codes"), strict=True)):
        start, end = apply(run.networks.encoder, ends)
        expected = torch.lerp(start, end, fraction)
        assert_near(tensor(code), expected, 0.02 * float((end - start).abs().max() + 0.1))
        now = pixels(opened, f"#strips .card:nth-child({index + 1}) .film-row > canvas")
        assert_near(now, decoded(run, code), PIXEL)
        last = pixels(opened, f"#strips .card:nth-child({index + 1}) .film canvas", at=f"{8 * 28}, 0")
        assert_near(last, decoded(run, end.tolist()), PIXEL)


def test_axes_are_exchanged_and_codes_reset(opened: Browser) -> None:
    axes = numbers(opened, "state.axes")
    opened.run(
        f"(() => {{ const s = document.querySelector('#axis-x'); s.value = {axes['y']};"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert numbers(opened, "state.axes") == {"x": axes["y"], "y": axes["x"]}
    opened.click("#random")
    assert any(numbers(opened, "state.codes[0]"))
    opened.click("#zero")
    assert not any(numbers(opened, "state.codes[0]"))


def test_samples_come_from_the_densities_first(browser: Browser, runs: list[ExplorerRun], tmp_path: Path) -> None:
    parts = (torch.ones(1), torch.full((1, 8), 2.0), 0.01 * torch.eye(8)[None])
    run = replace(runs[0], prior="mixture", density=CodeDensity(*parts))
    nothing = ShownImages(torch.empty(0, 1, 28, 28, dtype=torch.uint8), None, "mnist")
    browser.open(build([run], nothing, tmp_path / "page.html").path)
    browser.run("document.querySelector('#random').click()")
    browser.settle()
    assert tensor(numbers(browser, "state.codes")) == pytest.approx(2.0, abs=0.1)
    assert tensor(numbers(browser, "explorer.samples.codes[0]")) == pytest.approx(2.0, abs=0.1)
    assert browser.run("document.querySelector('#source').selectedOptions[0].text") == "the fitted mixture"


def test_one_latent_variable_and_three_runs(browser: Browser, tmp_path: Path) -> None:
    runs = [explorer_run("mlp", latent_size=1, label=f"run {seed}", seed=seed) for seed in range(3)]
    nothing = ShownImages(torch.empty(0, 1, 28, 28, dtype=torch.uint8), None, "mnist")
    browser.open(build(runs, nothing, tmp_path / "page.html").path, 400)
    browser.drag([browser.place("#maps .card:nth-child(3) .map", right, 0.9) for right in (0.2, 0.75)])
    assert numbers(browser, "state.codes[2]") == pytest.approx([1.5], abs=0.05)
    assert_shows_codes(browser, runs)
    assert browser.problems() == []


def test_an_old_browser_is_told_so(browser: Browser, page: Path) -> None:
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream;")
    try:
        browser.open(page)
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
    text = browser.run("document.querySelector('#message').textContent")
    assert text.startswith("This page cannot start: DecompressionStream is not defined.")
    assert text.endswith("It needs a browser of 2023 or later.")


def test_colour_images_are_painted_and_reconstructed(
    browser: Browser, colour_page: Path, colour_runs: list[ExplorerRun]
) -> None:
    browser.open(colour_page)
    browser.run("document.querySelector('#clear').click(); document.querySelector('#colour').value = '#ff8000'")
    browser.drag([browser.place("#paper", 0.3, 0.3), browser.place("#paper", 0.7, 0.7)])
    image = assert_reconstructs(browser, colour_runs)
    assert image.amax((1, 2)).tolist() == pytest.approx([1.0, 128 / 255, 0.0], abs=1e-6)
    found = pixels(browser, "#maps .at-cursor canvas", (3, 64, 64))
    assert_near(found, decoded(colour_runs[0], numbers(browser, "state.codes[0]")), PIXEL)
    assert browser.run("document.querySelector('#test-section').hidden")
    assert browser.problems() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 900, 1600])
def test_the_page_fits_the_window_and_everything_has_a_name(
    width: int, dark: bool, browser: Browser, page: Path
) -> None:
    browser.open(page, width, dark=dark, touch=width < 500)
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 150) == dark
    for tab in ("samples", "interpolation", "map"):
        browser.run(f"document.querySelector('#tab-{tab}').click()")
        assert browser.run("document.documentElement.scrollWidth") <= width
        nameless = browser.run(
            "[...document.querySelectorAll('button, input, select, [tabindex], canvas')].filter((e) =>"
            " e.checkVisibility() && !e.closest('[aria-hidden]') && e.className !== 'film' &&"
            " !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)"
        )
        assert nameless == []
