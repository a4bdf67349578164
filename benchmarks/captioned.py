"""Photographs with text whose pixels are known: sixteen kinds, drawn with the fonts of the machine.

`cases` returns the pictures for `benchmarks/find_text.py`. The photographs are those for restoration in the data root
and the samples of scikit-image and scikit-learn, as far as they are there.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SANS, BOLD, CHINESE = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DroidSansFallbackFull.ttf"
ITALIC, GOTHIC, BOOK, MONO, SCRIPT = (
    f"{name}.otf"
    for name in ("NimbusRoman-Italic", "URWGothic-Demi", "P052-Roman", "NimbusMonoPS-Bold", "Z003-MediumItalic")
)
WHITE, YELLOW, RED, BLACK, ORANGE = (
    (*rgb, 255) for rgb in ((255, 255, 255), (255, 230, 0), (220, 20, 20), (0, 0, 0), (255, 140, 0))
)
QUALITY = 85
"""Of every other picture, which is stored as JPEG."""

VISIBLE = 24
"""A pixel counts as text if the text changes it by at least this many of 255 levels."""

SAMPLES = {
    "skimage": [
        f"data/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}
"""Sample photographs by package."""


@dataclass(frozen=True)
class Case:
    """A photograph with text.

    Attributes:
        kind: of text, a key of `KINDS`.
        photograph: name of the photograph.
        clean, picture: `(H, W, 3)`, uint8, without and with the text.
        text: `(H, W)`, true where text is visible.
        jpeg: whether the picture was stored as JPEG.
    """

    kind: str
    photograph: str
    clean: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    text: NDArray[np.bool_]
    jpeg: bool


class Layer:
    """A transparent layer of the size of a photograph, on which text is drawn."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.image = Image.new("RGBA", size)
        self.width, self.height = size

    def put(
        self, place: tuple[float, float], text: str, font: str, size: int, fill: Any, *, angle: float = 0.0, **how: Any
    ) -> None:
        """Draw a text; `how` are options of Pillow."""
        layer = Image.new("RGBA", self.image.size)
        how = {"stroke_fill": BLACK, "anchor": "la"} | how
        ImageDraw.Draw(layer).text(place, text, fill, ImageFont.truetype(font, size), **how)
        if angle:
            layer = layer.rotate(angle, Image.Resampling.BICUBIC, center=place)
        self.image.alpha_composite(layer)


def subtitles(on: Layer) -> None:
    for line, text in enumerate(("We are ready for the launch,", "all systems are go.")):
        on.put((on.width // 2, on.height - 50 + 30 * line), text, SANS, 24, YELLOW, stroke_width=1, anchor="ms")


def title(on: Layer) -> None:
    on.put((on.width // 2, on.height // 2), "HOLIDAY", BOLD, min(120, on.width // 6), WHITE, anchor="mm")


def caption(on: Layer) -> None:
    on.put((20, 16), "A morning by the river", BOOK, 30, WHITE)
    on.put((20, on.height - 50), "Photograph: M. Keller", ITALIC, 26, BLACK)


def outlined(on: Layer) -> None:
    on.put((on.width // 2, 12), "MONDAY MORNING", GOTHIC, 34, WHITE, stroke_width=3, anchor="ma")


def date(on: Layer) -> None:
    on.put((on.width - 12, on.height - 10), "2019-03-14 08:52", MONO, 16, ORANGE, anchor="rs")


def small(on: Layer) -> None:
    on.put((10, on.height - 8), "(c) 2021 Anna Berg, all rights reserved", SANS, 12, WHITE, anchor="ls")
    on.put((10, 24), "DSC_0042.JPG 1/250 s f/8 ISO 200", SANS, 13, BLACK, anchor="ls")


def watermark(on: Layer) -> None:
    for down in range(40, on.height + 100, 110):
        for across in range(-60, on.width, 300):
            on.put((across, down), "SAMPLE PHOTO", SANS, 30, (255, 255, 255, 110), angle=25)


def faint(on: Layer) -> None:
    on.put((on.width // 2, on.height // 2), "PREVIEW", BOLD, min(90, on.width // 6), (255, 255, 255, 128), anchor="mm")


def rotated(on: Layer) -> None:
    on.put((40, on.height - 60), "Greetings from the sea", ITALIC, 40, RED, angle=30)
    on.put((on.width - 40, 60), "sold out", BOLD, 34, WHITE, angle=-45, stroke_width=2, anchor="ra")


def cyrillic(on: Layer) -> None:
    on.put((on.width // 2, on.height - 24), "Мы готовы к полёту", SANS, 26, WHITE, stroke_width=2, anchor="ms")
    on.put((16, 14), "Утро за рекой", BOLD, 32, YELLOW)


def chinese(on: Layer) -> None:
    on.put((on.width // 2, on.height - 24), "我们已经准备好出发了", CHINESE, 30, WHITE, stroke_width=2, anchor="ms")
    on.put((16, 14), "早晨的河边", CHINESE, 44, RED)


def arabic(on: Layer) -> None:
    on.put((on.width // 2, on.height - 30), "نحن مستعدون للانطلاق", SANS, 32, WHITE, stroke_width=2, anchor="ms")
    on.put((on.width - 16, 14), "صباح الخير", BOLD, 44, YELLOW, anchor="ra")


def vertical(on: Layer) -> None:
    for line, sign in enumerate("早晨的河边"):
        on.put((on.width - 60, 20 + 42 * line), sign, CHINESE, 36, WHITE)
    on.put((24, on.height - 30), "Vertical caption", BOLD, 30, YELLOW, angle=90)


def border(on: Layer) -> None:
    on.put((-12, 4), "cut at the left", SANS, 32, WHITE)
    on.put((on.width - 90, on.height // 2), "Cut right", BOLD, 36, YELLOW, stroke_width=1)
    on.put((on.width // 3, on.height - 18), "bottom line", SANS, 34, WHITE)


def heights(on: Layer) -> None:
    on.put((on.width // 2, on.height // 3), "SALE", BOLD, min(120, on.width // 5), RED, anchor="mm")
    where = (on.width // 2, on.height // 2 + 60)
    on.put(where, "until Saturday, all rooms", SANS, 18, WHITE, stroke_width=1, anchor="ms")
    on.put((20, on.height - 60), "from 20 euros", GOTHIC, 44, YELLOW)


def script(on: Layer) -> None:
    on.put((30, 30), "With love from Venice", SCRIPT, 54, WHITE)


DRAWERS: tuple[Callable[[Layer], None], ...] = (
    subtitles, title, caption, outlined, date, small, watermark, faint,
    rotated, cyrillic, chinese, arabic, vertical, border, heights, script,
)  # fmt: skip
KINDS = {draw.__name__: draw for draw in DRAWERS}


def photographs(data_root: Path) -> list[tuple[str, Path]]:
    """Return names and files of the photographs: some of each set."""
    found: list[tuple[str, Path]] = []
    for package, files in SAMPLES.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [(Path(file).name, Path(spec.origin).parent / file) for file in files]
    for folder, step in (("train/bsd200", 20), ("test/urban100", 3)):
        paths = sorted((data_root / "text-removal" / folder).glob("*.*"))[::step]
        found += [(f"{path.parent.name}/{path.name}", path) for path in paths]
    return found


def stored_as_jpeg(image: Image.Image) -> Image.Image:
    """Return an image as it is after it has been stored as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return Image.open(buffer).convert("RGB")


def with_text(clean: Image.Image, kind: str) -> tuple[Image.Image, NDArray[np.bool_]]:
    """Return a photograph with text, and where it is visible, `(H, W)`."""
    layer = Layer(clean.size)
    KINDS[kind](layer)
    picture = Image.alpha_composite(clean.convert("RGBA"), layer.image).convert("RGB")
    change = np.abs(np.asarray(picture).astype(int) - np.asarray(clean)).max(axis=2)
    return picture, change >= VISIBLE


def cases(data_root: Path, each: int = 3) -> Iterator[Case]:
    """Yield every kind of text on `each` photographs, half of them stored as JPEG."""
    available, index = photographs(data_root), 0
    for row, kind in enumerate(KINDS):
        for column in range(each):
            name, path = available[(7 * row + 5 * column) % len(available)]
            clean = Image.open(path).convert("RGB")
            picture, text = with_text(clean, kind)
            jpeg = bool(index % 2)
            picture = stored_as_jpeg(picture) if jpeg else picture
            yield Case(kind, name, np.asarray(clean), np.asarray(picture), text, jpeg)
            index += 1
