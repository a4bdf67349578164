"""Ten cases of text on photographs, good and bad, restored by the command without options.

    python studies/found_text.py

Takes about a minute on two cores. Writes `results/found-text.json` and `docs/images/found-text.jpg`, which
docs/restoration.md shows. Needs the extra `text`, and the packages scikit-image, scikit-learn and matplotlib for their
sample photographs, which are in the public domain, CC0, or CC BY 2.0 (the pagoda and the flower).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from captions import panel, path_of
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
        draw: draws the text; None for the photograph as it is.
        outcome: what a person sees in the result.
        jpeg: whether the picture is stored as JPEG.
    """

    package: tuple[str, str]
    file: str
    name: str
    draw: Callable[[Layer], None] | None
    outcome: str
    jpeg: bool = False


def two_scripts(on: Layer) -> None:
    captioned.cyrillic(on)
    on.put((on.width - 70, 60), "早", captioned.CHINESE, 44, captioned.RED)
    on.put((on.width - 70, 110), "晨", captioned.CHINESE, 44, captioned.RED)


CASES = (
    Case(
        SKLEARN,
        "china.jpg",
        "three heights",
        captioned.heights,
        "the small lines are gone; the title leaves a blur on the roof and a faint edge on the sky",
    ),
    Case(
        SKIMAGE,
        "astronaut.png",
        "subtitles",
        captioned.subtitles,
        "gone on the suit and nearly on the helmet; the embroidered names stay as they are",
        jpeg=True,
    ),
    Case(
        SKIMAGE,
        "coffee.png",
        "date",
        captioned.date,
        "half of it remains: the digits that have the colour of the wood; the rest of the picture is untouched",
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
        "an exact copy; the networks alone would change 14% to 18% of it",
        jpeg=True,
    ),
    Case(
        SKIMAGE,
        "camera.png",
        "two scripts, grey",
        two_scripts,
        "yellow and red leave a faint tint on grey; the outlined line leaves traces",
    ),
    Case(
        SKLEARN,
        "flower.jpg",
        "title, wide strokes",
        captioned.title,
        "unreadable on the flower, whose petals are blurred; a ghost of the letters is left on the dark leaves",
    ),
    Case(
        MATPLOTLIB,
        "grace_hopper.jpg",
        "watermark, repeated",
        captioned.watermark,
        "mostly gone; pieces remain on the flag, the hat and the lower edge, where lines are cut off",
    ),
    Case(
        SKIMAGE,
        "chelsea.png",
        "half-transparent",
        captioned.faint,
        "gone but for the last letter; the eye below the letters is blurred",
    ),
    Case(
        SKIMAGE,
        "text.png",
        "text in the scene",
        None,
        "handwriting in perspective is not taken for text: an exact copy",
    ),
)


def restored_rows(folder: Path) -> list[dict[str, object]]:
    """Restore all cases in a folder, and return a row for each."""
    rows: list[dict[str, object]] = []
    for number, case in enumerate(CASES):
        suffix = "jpg" if case.jpeg else "png"
        with Image.open(path_of(case.package[0], case.package[1] + case.file)) as opened:
            clean = opened.convert("RGB")
        layer = Layer(clean.size)
        if case.draw is not None:
            case.draw(layer)
        picture = Image.alpha_composite(clean.convert("RGBA"), layer.image).convert("RGB")
        source, target = (folder / f"{number}-{name}.{suffix}" for name in ("before", "after"))
        picture.save(source, quality=92)
        command = [sys.executable, "-m", "logcosh_vae", "restore", str(source), "-o", str(target), "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        (result,) = json.loads(done.stdout)["restored"]
        truth, before, after = (
            np.asarray(each).astype(int) for each in (clean, picture, Image.open(target).convert("RGB"))
        )
        text = np.abs(before - truth).max(axis=2) >= captioned.VISIBLE
        errors = [float(np.abs(each - truth)[text].mean()) if text.any() else None for each in (before, after)]
        rows.append(
            {
                "photograph": case.file,
                "text": case.name,
                "lines": len(result["lines"] or ()),
                "changed": result["changed"] / text.size,
                "error": errors,
            }
        )
        print(rows[-1], flush=True)
    return rows


def markdown(results: StudyResults) -> str:
    """Return a table in Markdown."""
    lines = [
        "| | photograph | text | lines found | pixels changed | error under the text, of 255 | what one sees |",
        "|--:|---|---|--:|--:|--:|---|",
    ]
    for number, row in enumerate(results.rows, start=1):
        before, after = row["error"]
        errors = "" if before is None else f"{before:.0f} to {after:.0f}"
        cells = [
            row["photograph"],
            row["text"],
            row["lines"],
            f"{100 * row['changed']:.1f}%",
            errors,
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
            compose([pairs[i] + pairs[i + 1] for i in range(0, len(pairs), 2)]).save(aside, format="JPEG", quality=88)
    seconds = round(time.perf_counter() - started, 1)
    result = StudyResults(experiment="found-text", rows=tuple(rows), environment=describe(), seconds=seconds)
    write_results(result, arguments.results / "found-text.json")


if __name__ == "__main__":
    main()
