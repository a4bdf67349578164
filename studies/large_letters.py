"""Large letters on photographs: restored by the network alone, and filled with texture.

    python studies/large_letters.py

Takes about fifteen minutes on one core. Writes `results/large-letters.json`, and `docs/images/filling.jpg`, which
docs/restoration.md shows. Half of the pictures are stored as JPEG. The peer is inpainting by fast marching (Telea 2004)
of OpenCV, which is told exactly where the letters are. An OCR program reads what is left.

Needs the extra `text`, the fonts and packages of `benchmarks/find_text.py` (OpenCV is one of these), and scikit-image,
whose sample photographs are in the public domain or CC0; the picture shows these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from captions import panel, path_of
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import atomic_write
from logcosh_vae.data import data_root
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.paper.drawing import Panel, compose
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.restoration import line_removal, restore

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from captioned import (  # noqa: E402
    BLACK,
    BOLD,
    BOOK,
    CHINESE,
    GOTHIC,
    RED,
    VISIBLE,
    WHITE,
    YELLOW,
    Layer,
    stored_as_jpeg,
    title,
)
from find_text import added_lines, reader, still_read  # noqa: E402

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

RADIUS = 4
"""Radius of OpenCV's inpainting in pixels, and twice the margin of its mask."""


def size(on: Layer) -> int:
    return min(120, on.width // 6)


def middle(on: Layer, text: str, font: str, fill: Any, **how: Any) -> None:
    on.put((on.width // 2, on.height // 2), text, font, size(on), fill, anchor="mm", **how)


def red(on: Layer) -> None:
    middle(on, "SALE 50%", GOTHIC, RED)


def outlined(on: Layer) -> None:
    middle(on, "Summer", BOLD, YELLOW, stroke_width=4)


def serif(on: Layer) -> None:
    on.put((on.width // 2, on.height // 3), "Garden", BOOK, size(on) + 20, BLACK, anchor="mm")


def shadow(on: Layer) -> None:
    dark = Layer((on.width, on.height))
    dark.put((on.width // 2 + 5, on.height // 2 + 5), "Weekend", BOLD, size(on), (0, 0, 0, 170), anchor="mm")
    on.image.alpha_composite(dark.image.filter(ImageFilter.GaussianBlur(4)))
    middle(on, "Weekend", BOLD, WHITE)


def gradient(on: Layer) -> None:
    letters = Layer((on.width, on.height))
    middle(letters, "Sunset", BOLD, WHITE)
    values = np.array(letters.image)
    down = (np.linspace(-1.0, 1.0, on.height) * on.height / size(on) / 2.0 + 0.5).clip(0.0, 1.0)[:, None]
    values[..., 0], values[..., 1], values[..., 2] = 255, 220 - 160 * down, 60
    on.image.alpha_composite(Image.fromarray(values))


def chinese(on: Layer) -> None:
    middle(on, "早晨的河边", CHINESE, RED, stroke_width=3, stroke_fill=WHITE)


def transparent(on: Layer) -> None:
    middle(on, "PREVIEW", BOLD, (255, 255, 255, 128))


KINDS: dict[str, Callable[[Layer], None]] = {
    "white": title,
    "red": red,
    "outlined": outlined,
    "black, serif": serif,
    "white with a shadow": shadow,
    "two colours": gradient,
    "Chinese, outlined": chinese,
    "half-transparent": transparent,
}


def with_letters(
    clean: Image.Image, draw: Callable[[Layer], None], jpeg: bool
) -> tuple[Image.Image, NDArray[np.bool_]]:
    """Return a photograph with large letters, and where they are visible, `(H, W)`."""
    layer = Layer(clean.size)
    draw(layer)
    picture = Image.alpha_composite(clean.convert("RGBA"), layer.image).convert("RGB")
    change = np.abs(np.asarray(picture).astype(int) - np.asarray(clean)).max(axis=2)
    return stored_as_jpeg(picture) if jpeg else picture, change >= VISIBLE


def cases(root: Path) -> Iterator[tuple[str, str, bool, Image.Image, Image.Image, NDArray[np.bool_]]]:
    """Yield kind, photograph, whether it is a JPEG, without and with letters, and where these are.

    The photographs are those of Urban100 that `benchmarks/find_text.py` leaves out.
    """
    paths = sorted((root / "text-removal" / "test" / "urban100").glob("*.*"))
    names = list(KINDS)
    for index, path in enumerate(path for number, path in enumerate(paths) if number % 3):
        clean = Image.open(path).convert("RGB")
        for which in (2 * index, 2 * index + 1):
            kind, jpeg = names[which % len(names)], which // len(names) % 2 == 1
            yield kind, path.name, jpeg, clean, *with_letters(clean, KINDS[kind], jpeg)


def by_network(picture: Image.Image) -> Image.Image:
    """Restore a picture without filling."""
    with patch.object(line_removal, "fill_letters", lambda *_: None):
        return restore(picture)


def by_opencv(picture: Image.Image, text: NDArray[np.bool_]) -> Image.Image:
    """Inpaint a picture by fast marching, where the letters are."""
    import cv2  # not needed to format the results

    mask = cv2.dilate(text.astype(np.uint8), np.ones((RADIUS + 1, RADIUS + 1), np.uint8))
    return Image.fromarray(cv2.inpaint(np.asarray(picture), mask, RADIUS, cv2.INPAINT_TELEA))


def roughness(pixels: NDArray[np.generic], where: NDArray[np.bool_]) -> float:
    """Return the mean gradient of a picture, in levels a pixel."""
    grey = pixels.astype(np.float64).mean(axis=2)
    return float(np.hypot(*np.gradient(grey))[where].mean())


def measured_rows(root: Path) -> list[dict[str, object]]:
    """Return a row for each case."""
    rows: list[dict[str, object]] = []
    read = reader()
    for kind, photograph, jpeg, clean, picture, text in cases(root):
        started = time.perf_counter()
        results = {"filled": restore(picture)}
        seconds = time.perf_counter() - started
        results |= {"network": by_network(picture), "opencv": by_opencv(picture, text)}
        truth, before = np.asarray(clean), np.asarray(picture)
        given = np.abs(before.astype(int) - truth).mean(axis=2)
        lines = added_lines(read(before), text)
        row: dict[str, object] = {
            "kind": kind,
            "photograph": photograph,
            "jpeg": jpeg,
            "error": float(given[text].mean()),
            "read": sum(len(line.text) for line in lines),
            "seconds": round(seconds, 2),
        }
        for name, result in results.items():
            after = np.asarray(result)
            error = np.abs(after.astype(int) - truth).mean(axis=2)
            row[name] = {
                "error": float(error[text].mean()),
                "elsewhere": float((error - given)[~text].mean()),
                "roughness": roughness(after, text) / roughness(truth, text),
                "read": still_read(lines, read(after)),
            }
        rows.append(row)
        print(row, flush=True)
    return rows


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown."""
    lines = [
        "| letters | pictures | error under them, of 255 | network alone | filled | OpenCV, told where "
        "| roughness under them, of the photograph's | added error elsewhere | characters read |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]

    def mean(rows: list[dict[str, Any]], method: str, key: str) -> float:
        return float(np.mean([row[method][key] for row in rows]))

    groups = {kind: [row for row in results.rows if row["kind"] == kind] for kind in KINDS}
    filled_rows = [row for row in results.rows if row["filled"]["error"] != row["network"]["error"]]
    for kind, rows in (groups | {"all": list(results.rows), "those that were filled": filled_rows}).items():
        network, filled, opencv = (f"{mean(rows, each, 'error'):.1f}" for each in ("network", "filled", "opencv"))
        rough = ", ".join(f"{mean(rows, each, 'roughness'):.2f}" for each in ("network", "filled", "opencv"))
        elsewhere = ", ".join(f"{mean(rows, each, 'elsewhere'):+.2f}" for each in ("network", "filled"))
        read = [sum(row[each]["read"] for row in rows) for each in ("network", "filled")]
        cells = [
            f"{np.mean([row['error'] for row in rows]):.0f}",
            network,
            filled,
            opencv,
            rough,
            elsewhere,
            f"{sum(row['read'] for row in rows)} to {read[0]}, {read[1]}",
        ]
        lines.append(f"| {kind} | {len(rows)} | {' | '.join(cells)} |")
    note = (
        "Three values: network alone, filled, OpenCV; two: the first two. "
        f"Seconds a picture, filled: {np.mean([row['seconds'] for row in results.rows]):.1f}."
    )
    return "\n".join(lines) + f"\n\n{note} " + provenance(results.environment, f"{results.environment.cores} cores")


SHOWN = (("coffee.png", outlined), ("rocket.jpg", red), ("astronaut.png", title))
"""Photographs of scikit-image in the picture, with letters."""

REMOVED: tuple[tuple[str, Box], ...] = (("coffee.png", (320, 200, 110, 140)), ("rocket.jpg", (300, 0, 80, 427)))
"""Photographs of scikit-image from which a part is removed, and the part."""


def shown_rows(folder: Path) -> Iterator[list[Panel]]:
    """Yield the rows of the picture."""

    def shown(name: str, picture: Image.Image) -> Panel:
        path = folder / "panel.png"
        picture.save(path)
        return panel(name, path)

    for file, draw in SHOWN:
        with Image.open(path_of("skimage", f"data/{file}")) as opened:
            picture, _ = with_letters(opened.convert("RGB"), draw, jpeg=False)
        yield [
            shown("large letters", picture),
            shown("network alone", by_network(picture)),
            shown("filled", restore(picture)),
        ]
    for file, box in REMOVED:
        with Image.open(path_of("skimage", f"data/{file}")) as opened:
            picture = opened.convert("RGB")
        left, top, across, down = box
        marked = picture.copy()
        ImageDraw.Draw(marked).rectangle((left, top, left + across - 1, top + down - 1), outline=RED, width=3)
        yield [
            shown("photograph", picture),
            shown(f"--fill --box {','.join(map(str, box))}", marked),
            shown("filled", restore(picture, boxes=[box], fill=True)),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "filling.jpg")
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, atomic_write(arguments.picture) as aside:
        compose(list(shown_rows(Path(name)))).save(aside, "JPEG", quality=88)
    rows = measured_rows(arguments.data_root or data_root())
    seconds = round(time.perf_counter() - started, 1)
    result = StudyResults(experiment="large-letters", rows=tuple(rows), environment=describe(), seconds=seconds)
    write_results(result, arguments.results / "large-letters.json")


if __name__ == "__main__":
    main()
