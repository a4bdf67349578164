"""A contact sheet of restored pictures: each picture before and after, with its name and what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..base.errors import DataError
from ..base.files import one_line
from ..base.own_outputs import mark_picture
from ..base.text import visible
from .photographs import read
from .resizing import shrink
from .targets import replacing

CELL = 320
"""Width and height in pixels of the space for a picture."""

MAX_PICTURES = 200
"""Pictures on a sheet; more would not fit in the memory of the programs that show it."""

COLUMNS, GAP, CAPTION = 2, 8, 18
"""Pictures side by side (each before and after), space between them and height of their captions, in pixels."""

SHEET_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class SheetEntry:
    """A picture on the sheet: the files before and after, and a caption."""

    source: Path
    target: Path
    caption: str


def write_sheet(entries: list[SheetEntry], path: Path) -> None:
    """Write a contact sheet of the first `MAX_PICTURES` entries; atomically. Files that cannot be read stay empty.

    Raises:
        DataError: the file cannot be written.
    """
    shown = entries[:MAX_PICTURES]
    rows = -(-len(shown) // COLUMNS)
    across, down = 2 * CELL + 3 * GAP, CELL + CAPTION + GAP
    sheet = Image.new("RGB", (min(COLUMNS, len(shown)) * across, rows * down + GAP), (40, 40, 40))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, entry in enumerate(shown):
        left, top = index % COLUMNS * across + GAP, index // COLUMNS * down + GAP
        draw.text((left, top), _fitting(entry.caption, font, across - 2 * GAP), (230, 230, 230), font)
        for number, file in enumerate((entry.source, entry.target)):
            if (small := _thumbnail(file)) is not None:
                place = (left + number * (CELL + GAP), top + CAPTION)
                sheet.paste(small, (place[0] + (CELL - small.width) // 2, place[1] + (CELL - small.height) // 2))
    try:
        with replacing(path) as temporary:
            sheet.save(temporary, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=90)
            mark_picture(temporary, "contact-sheet")
    except Exception as error:  # encoders raise arbitrary exceptions
        raise DataError(f"{path} cannot be written: {one_line(error)}") from None


def _thumbnail(path: Path) -> Image.Image | None:
    try:
        pixels = read(path).pixels
    except DataError:
        return None
    scale = min(1.0, CELL / max(pixels.shape[:2]))
    small = pixels if scale == 1.0 else shrink(pixels, scale)
    return Image.fromarray((small >> 8).astype(np.uint8) if small.dtype == np.uint16 else small)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a text, shortened at its start so that it is not wider than `width` pixels."""
    text = visible(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text
