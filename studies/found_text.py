"""Fifteen cases of text on photographs, good and bad, restored by the command without options.

    python studies/found_text.py

Takes about three minutes on two cores. Writes `results/found-text.json` and `docs/images/found-text.jpg`, which
docs/restoration.md shows. An OCR program reads every picture before and after, and the photographs without text are
restored as well. The first five are those of `captions.py`, which ImageMagick draws.

Needs the extra `text`, and the packages scikit-image, scikit-learn and matplotlib for their sample photographs, which
are in the public domain, CC0, or CC BY 2.0 (the pagoda and the flower).
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from captions import CAPTIONS, panel, path_of
from numpy.typing import NDArray
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.base.files import atomic_write
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.paper.drawing import compose
from logcosh_vae.reporting.markdown import provenance

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import captioned  # noqa: E402
from captioned import Layer  # noqa: E402
from find_text import added_lines, changed, difference, reader, still_read  # noqa: E402

SKIMAGE, SKLEARN, MATPLOTLIB = (
    ("skimage", "data/"),
    ("sklearn", "datasets/images/"),
    ("matplotlib", "mpl-data/sample_data/"),
)


@dataclass(frozen=True)
class Case:
    """A photograph and the text on it.

    Attributes:
        package, file: the sample photograph.
        name: shown in the table and above the picture.
        draw: draws the text, or options of ImageMagick that do; None for the photograph as it is.
        outcome: what a person sees in the result.
        jpeg: whether the picture is stored as JPEG.
    """

    package: tuple[str, str]
    file: str
    name: str
    draw: Callable[[Layer], None] | str | None
    outcome: str
    jpeg: bool = False


def two_scripts(on: Layer) -> None:
    captioned.cyrillic(on)
    on.put((on.width - 70, 60), "早", captioned.CHINESE, 44, captioned.RED)
    on.put((on.width - 70, 110), "晨", captioned.CHINESE, 44, captioned.RED)


DRAWN_BY_IMAGEMAGICK = (
    "gone, also where it lies on the suit; a brown blur is left on the black helmet",
    "gone; a faint shade is left above the forehead",
    "gone",
    "gone; a faint smudge is left in the sky",
    "gone but for traces on the collar; without text, a row of stars of the flag is taken for a line",
)
"""What a person sees in the results of `captions.CAPTIONS`."""

CASES = (
    *(
        Case(
            (caption.photograph[0], ""),
            caption.photograph[1],
            f"{caption.kind} (ImageMagick)",
            caption.options,
            outcome,
        )
        for caption, outcome in zip(CAPTIONS, DRAWN_BY_IMAGEMAGICK, strict=True)
    ),
    Case(
        SKLEARN,
        "china.jpg",
        "three heights",
        captioned.heights,
        "gone; a corner of the upper roof is torn, and leaves are copied to it",
    ),
    Case(
        SKIMAGE,
        "astronaut.png",
        "subtitles",
        captioned.subtitles,
        "gone; blurs are left on the helmet, and the embroidered names stay as they are",
        jpeg=True,
    ),
    Case(
        SKIMAGE,
        "coffee.png",
        "date",
        captioned.date,
        "unreadable; traces of the digits that have the colour of the wood; the rest of the picture is untouched",
        jpeg=True,
    ),
    Case(
        SKIMAGE,
        "chelsea.png",
        "outlined",
        captioned.outlined,
        "gone; the fur below is smoother, and a shade of the letters is left",
    ),
    Case(
        SKIMAGE,
        "rocket.jpg",
        "no text, lattices",
        None,
        "an exact copy; the networks alone would blur the lattices",
        jpeg=True,
    ),
    Case(
        SKIMAGE,
        "camera.png",
        "two scripts, grey",
        two_scripts,
        "gone but for a faint tint on grey and traces of the outlined line on the grass",
    ),
    Case(
        SKLEARN,
        "flower.jpg",
        "title, wide strokes",
        captioned.title,
        "gone, on the leaves without a trace; some petals are torn, and the outline of the flower has a bump",
    ),
    Case(
        MATPLOTLIB,
        "grace_hopper.jpg",
        "watermark, repeated",
        captioned.watermark,
        "mostly gone; pieces remain on the flag, the hat and the lower edge, where no line was found",
    ),
    Case(
        SKIMAGE,
        "chelsea.png",
        "half-transparent",
        captioned.faint,
        "gone but for an edge of the last letter; the eye below the letters is blurred",
    ),
    Case(
        SKIMAGE,
        "text.png",
        "text in the scene",
        None,
        "handwriting in perspective is not taken for text: an exact copy",
    ),
)


def with_text(clean: Path, case: Case, target: Path) -> None:
    """Write the picture of a case to a PNG file."""
    if isinstance(case.draw, str):
        convert = shutil.which("convert")
        if convert is None:
            raise SystemExit("error: convert is not installed; install ImageMagick")
        subprocess.run([convert, clean, *shlex.split(case.draw), target], check=True)
        return
    with Image.open(clean) as photograph:
        layer = Layer(photograph.size)
        if case.draw is not None:
            case.draw(layer)
        Image.alpha_composite(photograph.convert("RGBA"), layer.image).convert("RGB").save(target)


def restore(source: Path, target: Path, *options: str | Path) -> dict[str, Any]:
    """Restore a picture by the command; return what it reports."""
    command = [sys.executable, "-m", "logcosh_vae", "restore", source, "-o", target, "--json", *options]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)["restored"][0]
    return result


def pixels(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of an image file, `(H, W, 3)`."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def restored_rows(folder: Path) -> list[dict[str, object]]:
    """Restore all cases in a folder, and return a row for each."""
    rows: list[dict[str, object]] = []
    read = reader()
    for number, case in enumerate(CASES):
        suffix = "jpg" if case.jpeg else "png"
        clean, drawn, mask = (folder / f"{number}-{name}.png" for name in ("clean", "drawn", "mask"))
        with Image.open(path_of(case.package[0], case.package[1] + case.file)) as opened:
            opened.convert("RGB").save(clean)
        with_text(clean, case, drawn)
        source, target, copy, same = (
            folder / f"{number}-{name}.{suffix}" for name in ("before", "after", "copy", "copied")
        )
        for picture, stored in ((drawn, source), (clean, copy)):
            with Image.open(picture) as opened:
                opened.save(stored, quality=92)
        result = restore(source, target, "--show-mask", mask)
        restore(copy, same)
        truth, given, before, after = map(pixels, (clean, drawn, source, target))
        text = np.abs(given.astype(int) - truth).max(axis=2) >= captioned.VISIBLE
        errors = [difference(each, truth) for each in (before, after)]
        lines = added_lines(read(before), text)
        rows.append(
            {
                "photograph": Path(case.file).name,
                "text": case.name,
                "jpeg": case.jpeg,
                "lines": len(result["lines"] or ()),
                "found": float((pixels(mask)[..., 0] > 0)[text].mean()) if text.any() else None,
                "changed": result["changed"] / text.size,
                "error": [float(each[text].mean()) if text.any() else None for each in errors],
                "elsewhere": float((errors[1] - errors[0])[~text].mean()),
                "read": [sum(len(line.text) for line in lines), still_read(lines, read(after))],
                "clean_changed": changed(pixels(copy), pixels(same)),
            }
        )
        print(rows[-1], flush=True)
    return rows


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown."""
    lines = [
        "| | photograph | text | lines found | text found | error under the text, of 255 | added error elsewhere "
        "| characters read | without text: pixels changed | what one sees |",
        "|--:|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for number, row in enumerate(results.rows, start=1):
        (before, after), (read, still) = row["error"], row["read"]
        has_text = before is not None
        cells = [
            f"{row['photograph']}{', JPEG' if row['jpeg'] else ''}",
            row["text"],
            row["lines"],
            f"{100 * row['found']:.0f}%" if has_text else "",
            f"{before:.0f} to {after:.0f}" if has_text else "",
            f"{row['elsewhere']:+.2f}",
            f"{read} to {still}" if has_text else "",
            f"{100 * row['clean_changed']:.2f}%",
            CASES[number - 1].outcome,
        ]
        lines.append(f"| {number} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n\n" + provenance(results.environment, f"{results.environment.cores} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "found-text.jpg")
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = restored_rows(folder)
        files = [(next(folder.glob(f"{i}-before.*")), next(folder.glob(f"{i}-after.*"))) for i in range(len(CASES))]
        pairs = [
            [panel(f"{i + 1}: {CASES[i].name}", before), panel("restored", after)]
            for i, (before, after) in enumerate(files)
        ]
        with atomic_write(arguments.picture) as aside:
            compose([list(chain(*pairs[i : i + 2])) for i in range(0, len(pairs), 2)]).save(aside, "JPEG", quality=88)
    seconds = round(time.perf_counter() - started, 1)
    result = StudyResults(experiment="found-text", rows=tuple(rows), environment=describe(), seconds=seconds)
    write_results(result, arguments.results / "found-text.json")


if __name__ == "__main__":
    main()
