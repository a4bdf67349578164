"""The strokes of a line are told by what a network changes and by the colours of that; the second pass gets them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from logcosh_vae.restoration.augmentation import FlipEnsemble
from logcosh_vae.restoration.finding.lines import TextLine
from logcosh_vae.restoration.line_removal import remove_lines
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.strokes import find_strokes

YELLOW, DARK = (250, 230, 40), (60, 70, 90)


def background(height: int = 90, width: int = 400) -> NDArray[np.uint8]:
    """A smooth dark picture with some texture."""
    coarse = np.random.default_rng(0).integers(-25, 26, (height // 6, width // 6, 3)) + np.array(DARK)
    return np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC))


def with_text(clean: NDArray[np.uint8], colour: tuple[int, int, int] = YELLOW) -> tuple[NDArray[np.uint8], TextLine]:
    """The picture with a line of text, and the line."""
    picture = Image.fromarray(clean)
    ImageDraw.Draw(picture).text((30, 25), "Two roads diverged", colour, ImageFont.load_default(36))
    corners = np.array([(25.0, 20.0), (390.0, 20.0), (390.0, 72.0), (25.0, 72.0)])
    return np.asarray(picture), TextLine(corners, 52.0, 0.9)


def half_removed(clean: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as a network restores it that knows the letters of the left half only."""
    half = picture.copy()
    half[:, : picture.shape[1] // 2] = clean[:, : picture.shape[1] // 2]
    return half


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_letters_of_the_same_colour_are_found(dtype: type[np.unsignedinteger]) -> None:
    clean = background()
    picture, line = with_text(clean)
    before, after = (
        np.asarray(each, dtype) * dtype(np.iinfo(dtype).max // 255) for each in (picture, half_removed(clean, picture))
    )
    strokes = find_strokes(before, after, [line])
    change = np.abs(picture.astype(int) - clean).max(axis=2)
    letters, nothing = change > 100, change == 0
    assert strokes[letters].mean() > 0.99
    assert strokes[nothing].mean() < 0.005


def test_colours_of_the_surroundings_are_no_strokes() -> None:
    """A yellow band runs through the line and goes on beside it: its colour does not tell text there."""
    clean = background().copy()
    clean[:, 300:330] = YELLOW
    picture, line = with_text(clean)
    strokes = find_strokes(picture, half_removed(clean, picture), [line])
    assert strokes[:, 303:327].mean() < 0.02
    known = half_removed(clean, picture) != picture
    assert strokes[known.any(axis=2) & (np.abs(picture.astype(int) - clean).max(axis=2) > 12)].all()


def test_other_lines_are_no_surroundings_and_stay_as_they_are() -> None:
    clean = background(200)
    first, line = with_text(clean)
    picture = first.copy()
    picture[105:195] = first[15:105]  # a second line of the same colour below
    second = line.moved(0, 90)
    after = half_removed(clean, picture)
    letters = np.abs(picture.astype(int) - clean).max(axis=2) > 150
    for others in ([], [second]):
        strokes = find_strokes(picture, after, [line], others)
        assert not strokes[100:].any()
        assert strokes[:90][letters[:90]].mean() > 0.97 or not others
    assert find_strokes(picture, after, [line, second])[letters].mean() > 0.97


def test_a_line_outside_and_one_without_changes_have_no_strokes() -> None:
    clean = background()
    picture, line = with_text(clean)
    assert not find_strokes(picture, picture, [line]).any()
    assert not find_strokes(picture, clean, [line.moved(1000, 0)]).any()
    partly = find_strokes(picture, clean, [line.moved(-300, 0)])
    assert partly[:, :70].any()
    assert not partly[:, 95:].any()


class Hinted(RestorationNetwork):
    """Paints black what it is told of, and otherwise the yellow pixels of the left half."""

    def __init__(self) -> None:
        super().__init__((4,), hint=True)
        self.hints: list[torch.Tensor | None] = []

    def forward(self, images: torch.Tensor, hint: torch.Tensor | None = None) -> torch.Tensor:
        self.hints.append(hint)
        known = (images[:, :1] > 0.8) & (torch.arange(images.shape[-1]) < images.shape[-1] // 2)
        return images * (1.0 - (known.float() if hint is None else hint))


def test_the_passes_after_the_first_are_told_of_the_strokes() -> None:
    clean = background()
    picture, line = with_text(clean)
    network = Hinted()
    calls: list[tuple[int, int]] = []
    removed = remove_lines(network, picture, [line], progress=lambda tile, total: calls.append((tile, total)))
    assert removed.lines == (line,)
    assert [hint is None for hint in network.hints] == [True, False, False]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    letters = np.abs(picture.astype(int) - clean).max(axis=2) > 150
    assert removed.pixels[letters].max() < 40, "the letters of the right half, too"
    # where the first pass changes nothing, there is no second one
    network = Hinted()
    assert remove_lines(network, clean, [line]).pixels is clean
    assert [hint is None for hint in network.hints] == [True]


def test_hints_reach_the_network_at_its_scale() -> None:
    tall, line = with_text(background(180, 800)[:90, :400])
    picture = np.asarray(Image.fromarray(tall).resize((1600, 360), Image.Resampling.BICUBIC))
    large = TextLine(4.0 * line.corners, 4.0 * line.height, line.score)
    network = Hinted()
    removed = remove_lines(network, picture, [large])
    (line,) = removed.lines
    assert line.height == large.height
    first, *others = network.hints
    assert first is None
    for hint in others:
        assert hint is not None
        assert hint.shape[-1] < 500
        assert set(hint.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_an_ensemble_passes_the_hint_on(scale: float) -> None:
    clean = background()
    picture, line = with_text(clean)
    network = Hinted()
    ensemble = FlipEnsemble(network)
    assert ensemble.takes_hint
    remove_lines(ensemble, picture, [line], scale=scale)
    hints = network.hints
    assert [hint is None for hint in hints] == [True] + 5 * [False]
    last = [hint for hint in hints[2:] if hint is not None]
    assert len({hint.sum().item() for hint in last}) == 1
    assert not torch.equal(last[0], last[1]), "mirrored like the image"
