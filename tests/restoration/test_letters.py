"""Large letters are told by their colours, and filled; what lies between them keeps its exact values."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from logcosh_vae.restoration import letters as letters_module
from logcosh_vae.restoration.finding.lines import TextLine, paint
from logcosh_vae.restoration.letters import EDGE, find_letters
from logcosh_vae.restoration.line_removal import remove_lines
from logcosh_vae.restoration.network import RestorationNetwork

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 160, 430
LINE = TextLine(np.array([(15.0, 30.0), (415.0, 30.0), (415.0, 115.0), (15.0, 115.0)]), 85.0, 0.9)


def background(seed: int = 0) -> Pixels:
    """Texture in greens and blues."""
    rng = np.random.default_rng(seed)
    noise = sum(ndimage.gaussian_filter(rng.normal(size=(HEIGHT, WIDTH, 3)), (size, size, 0)) * size for size in (1, 6))
    return (np.array([60, 110, 120]) + 12 * noise).clip(0, 190).astype(np.uint8)


def titled(
    clean: Pixels, text: str = "Garden", colour: tuple[int, ...] = (250, 230, 40, 255), *, shadow: bool = False
) -> Pixels:
    """The picture with large text, and with a soft shadow to the right and below."""
    picture, font = Image.fromarray(clean).convert("RGBA"), ImageFont.load_default(76)
    if shadow:
        dark = Image.new("RGBA", picture.size)
        ImageDraw.Draw(dark).text((46, 36), text, (0, 0, 0, 170), font)
        picture.alpha_composite(dark.filter(ImageFilter.GaussianBlur(4)))
    letters = Image.new("RGBA", picture.size)
    ImageDraw.Draw(letters).text((40, 30), text, colour, font)
    return np.asarray(Image.alpha_composite(picture, letters).convert("RGB"))


def restored(clean: Pixels) -> Pixels:
    """What a network makes of the line: the surroundings, smoothly."""
    after = clean.copy()
    after[30:115, 15:415] = ndimage.gaussian_filter(clean.astype(float), (8, 8, 0))[30:115, 15:415]
    return after


def changed(picture: Pixels, clean: Pixels, by: int = 1) -> NDArray[np.bool_]:
    return np.abs(picture.astype(int) - clean).max(axis=2) >= by


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("seed", [0, 1])
def test_letters_are_found_with_their_edges_only(seed: int, dtype: type[np.unsignedinteger]) -> None:
    clean = background(seed)
    picture = titled(clean)
    unit = dtype(np.iinfo(dtype).max // 255)
    letters = find_letters(picture.astype(dtype) * unit, restored(clean).astype(dtype) * unit, LINE)
    assert letters is not None
    assert letters[changed(picture, clean)].all()
    near = ndimage.binary_dilation(changed(picture, clean, 100), iterations=2 * EDGE)
    assert not letters[~near].any()


def test_letters_that_reach_beyond_their_line_are_found_whole_but_not_other_things_of_their_colour() -> None:
    clean = background().copy()
    clean[135:145, 100:120] = (250, 230, 40)  # a small thing of the same colour below the line
    picture = titled(clean)
    low = TextLine(LINE.corners.clip(max=[1e4, 103.0]), 73.0, 0.9)
    letters = find_letters(picture, restored(clean), low)
    assert letters is not None
    assert letters[changed(picture, clean)].mean() > 0.99
    assert not letters[130:].any()
    covered = np.zeros_like(letters)
    paint([low.holding(letters)], covered)
    assert covered[letters].all()
    assert low.holding(letters & False).corners == pytest.approx(low.corners)


def test_a_shadow_belongs_to_its_letters() -> None:
    clean = background()
    plain, shaded = titled(clean), titled(clean, shadow=True)
    visible = changed(shaded, clean, 24)
    shares = []
    for picture in (plain, shaded):
        letters = find_letters(picture, restored(clean), LINE)
        assert letters is not None
        shares.append(letters[visible].mean())
    assert shares[0] < 0.8, "the visible shadow is no small part"
    assert shares[1] > 0.93


def test_colours_that_do_not_tell_letters() -> None:
    clean = background()
    assert find_letters(titled(clean, colour=(70, 120, 130, 255)), restored(clean), LINE) is None
    bar = clean.copy()
    bar[120:, 15:] = (250, 230, 40)  # much of their colour lies beside the line
    assert find_letters(titled(bar), restored(bar), LINE) is None


def test_one_letter_that_colours_do_not_tell_is_enough_to_leave_all_to_the_network() -> None:
    clean = background()
    picture = titled(clean).copy()
    picture[:, :95] = titled(clean, colour=(255, 255, 255, 255))[:, :95]  # the first letter is white
    assert find_letters(picture, restored(clean), LINE) is not None
    picture[118:] = clean[118:] = 255  # so is much below the line
    assert find_letters(picture, restored(clean), LINE) is None


class Smooth(RestorationNetwork):
    """Replaces everything by the mean of the picture, as far as that changes it."""

    def __init__(self, *, hint: bool) -> None:
        super().__init__((4,), hint=hint)

    def forward(self, images: torch.Tensor, hint: torch.Tensor | None = None) -> torch.Tensor:
        del hint  # makes no difference
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)


@pytest.mark.parametrize("hint", [True, False])
@pytest.mark.parametrize("small", [False, True])
def test_between_large_letters_nothing_changes(hint: bool, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:
        monkeypatch.setattr(letters_module, "fill_scale", lambda _: 0.5)
    clean = background()
    picture = titled(clean)
    calls: list[tuple[int, int]] = []
    removed = remove_lines(Smooth(hint=hint), picture, [LINE], progress=lambda tile, total: calls.append((tile, total)))
    assert len(removed.lines) == 1
    letters = changed(picture, clean, 100)
    far = ~ndimage.binary_dilation(letters, iterations=4 * EDGE if small else 2 * EDGE)
    assert (removed.pixels[far] == picture[far]).all()
    yellow = changed(removed.pixels, picture, 60)
    assert yellow[letters].mean() > 0.99, "no letter is left"
    assert np.abs(removed.pixels.astype(int) - clean)[letters].mean() < 30
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]


def test_what_may_not_change_does_not_and_other_lines_are_not_copied() -> None:
    clean = background()
    picture = titled(clean)
    other = TextLine(np.array([(0.0, 120.0), (430.0, 120.0), (430.0, 155.0), (0.0, 155.0)]), 35.0, 0.9)
    picture = picture.copy()
    picture[125:150:5, 10:420] = (255, 0, 0)  # what the other line holds
    allowed = np.ones((HEIGHT, WIDTH), bool)
    allowed[:, 220:] = False
    removed = remove_lines(Smooth(hint=True), picture, [LINE, other], allowed=allowed)
    assert (removed.pixels[:, 220:] == picture[:, 220:]).all()
    filled = removed.pixels[32:112, 16:220]
    assert not (filled[..., 0].astype(int) - filled[..., 1] > 150).any()
