"""Measure how well text is found in photographs, and what the command `restore` makes of it.

    python benchmarks/find_text.py [--data-root FOLDER] [--candidate NAME=FILE ...]

Takes about twenty minutes on two cores. An OCR program, rapidocr, reads the pictures before and after. Writes
`results/find-text.json`, which docs/restoration.md shows. The pictures are those of `captioned.py`.

A candidate is the ONNX file of another detector with the same input and output (PP-OCR). With candidates only detectors
are measured, with the same post-processing, and `results/find-text-detectors.json` is written.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from captioned import BOLD, KINDS, SANS, YELLOW, Case, Layer, cases, photographs
from numpy.typing import NDArray
from PIL import Image

from logcosh_vae.base.environment import describe
from logcosh_vae.data import data_root as default_root
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.reporting.markdown import provenance
from logcosh_vae.restoration.blending import largest_change
from logcosh_vae.restoration.finding.detector import TextDetector, load_detector
from logcosh_vae.restoration.finding.search import find_text, text_mask
from logcosh_vae.restoration.pipeline import restore_picture
from logcosh_vae.restoration.remover import Networks, TextRemover, load_networks

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"1 megapixel": (1200, 900), "12 megapixels": (4000, 3000), "48 megapixels": (8000, 6000)}
CHANGED = 8
"""A pixel counts as changed if a channel changes by at least this many of 255 levels."""

TEXT_SHARE = 0.05
"""A line that was read counts as the case's if at least this part of its rectangle is text."""

Restore = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

CHILD = """
import json, sys, time
from pathlib import Path
import logcosh_vae.cli.command
from logcosh_vae.cli.restoration import restore
from logcosh_vae.base.memory import keep_freed_memory

keep_freed_memory()  # as the command does
started = time.perf_counter()
restore([sys.argv[1]], Path(sys.argv[2]), overwrite=True)
seconds = time.perf_counter() - started
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
Path(sys.argv[3]).write_text(json.dumps({"seconds": seconds, "peak_mib": peak}))
"""


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean absolute difference over channels, `(H, W)`, in levels of 255."""
    result: NDArray[np.float64] = np.abs(first.astype(np.int16) - second).mean(axis=2)
    return result


def changed(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the fraction of the pixels that have changed."""
    return float((largest_change(first, second) >= CHANGED).mean())


@dataclass(frozen=True)
class ReadLine:
    """A line that was read: its text without spaces, and the rows and columns that it takes."""

    text: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    def meets(self, other: ReadLine) -> bool:
        """Whether both take some of the same pixels."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        return all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in pairs)


Read = Callable[[NDArray[np.uint8]], list[ReadLine]]


def reader() -> Read:
    """Return a function that reads a picture `(H, W, 3)` with rapidocr."""
    import logging

    from rapidocr import RapidOCR

    engine = RapidOCR()
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)

    def read(picture: NDArray[np.uint8]) -> list[ReadLine]:
        found = engine(picture[:, :, ::-1])  # blue first
        if found.boxes is None:
            return []
        lines = []
        for box, text in zip(found.boxes, found.txts, strict=True):
            (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
            lines.append(ReadLine("".join(text.split()), (int(top), int(bottom)), (int(left), int(right))))
        return lines

    return read


def still_read(before: Sequence[ReadLine], after: Sequence[ReadLine]) -> int:
    """Return how many characters of the lines before are in lines after at the same place, two in a row at least."""
    count = 0
    for line in before:
        now = " ".join(other.text for other in after if line.meets(other))
        blocks = SequenceMatcher(None, line.text, now, autojunk=False).get_matching_blocks()
        count += sum(block.size for block in blocks if block.size >= 2)
    return count


def added_lines(lines: Sequence[ReadLine], text: NDArray[np.bool_]) -> list[ReadLine]:
    """Return the lines that are text of a case, and not signs of the photograph."""
    return [line for line in lines if text[slice(*line.rows), slice(*line.columns)].mean() >= TEXT_SHARE]


def methods(networks: Networks) -> dict[str, Restore]:
    """Return what is compared, by name: the command with the search for text, and each network alone."""
    alone = {f"`{name}` alone": functools.partial(restore_picture, network) for name, network in networks.items()}
    return {"the default": TextRemover(networks), **alone}


def detection(detector: TextDetector, pictures: Sequence[Case], clean: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Measure a detector: the part of the text that it finds, and of clean photographs that it marks."""
    started = time.perf_counter()
    found = [float(text_mask(find_text(c.picture, detector), *c.text.shape)[c.text].mean()) for c in pictures]
    marked = [float(text_mask(find_text(each, detector), *each.shape[:2]).mean()) for each in clean]
    pixels = sum(each.picture.shape[0] * each.picture.shape[1] for each in pictures) + sum(
        each.shape[0] * each.shape[1] for each in clean
    )
    return {
        "found": fmean(found),
        "nearly_all": fmean(each >= 0.9 for each in found),
        "marked": fmean(marked),
        "most_marked": max(marked),
        "photographs_marked": sum(each > 0 for each in marked),
        "seconds_per_megapixel": (time.perf_counter() - started) / pixels * 1e6,
    }


def restoration(
    restore: Restore,
    pictures: Sequence[Case],
    clean: Sequence[NDArray[np.uint8]],
    read: Read,
    read_before: Sequence[Sequence[ReadLine]],
) -> dict[str, Any]:
    """Measure a method of restoration: errors under the text and elsewhere, readable text, changes of clean pictures.

    Args:
        restore: the method.
        pictures: photographs with text.
        clean: photographs without it.
        read: reads a picture.
        read_before: what it reads of the text of each of `pictures`.
    """
    rows, characters = [], []
    for case, lines in zip(pictures, read_before, strict=True):
        restored = restore(case.picture)
        before, after = difference(case.picture, case.clean), difference(restored, case.clean)
        rows.append((case.kind, before[case.text].mean(), after[case.text].mean(), (after - before)[~case.text].mean()))
        characters.append((case.kind, sum(len(line.text) for line in lines), still_read(lines, read(restored))))
    without = [changed(restore(each), each) for each in clean]
    kinds = {kind: [row for row in rows if row[0] == kind] for kind in KINDS}
    return {
        "before": float(fmean(row[1] for row in rows)),
        "after": float(fmean(row[2] for row in rows)),
        "elsewhere": float(fmean(row[3] for row in rows)),
        "clean_changed": fmean(without),
        "clean_most_changed": max(without),
        "clean_exact": sum(each == 0 for each in without),
        "read": {kind: [sum(each[i] for each in characters if each[0] == kind) for i in (1, 2)] for kind in KINDS},
        "kinds": {kind: [float(fmean(row[i] for row in each)) for i in (1, 2)] for kind, each in kinds.items() if each},
    }


def photograph(width: int, height: int) -> Image.Image:
    """Return a smooth synthetic picture with a date and a title."""
    coarse = np.random.default_rng(0).integers(60, 200, (height // 100, width // 100, 3)).astype(np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    layer = Layer(picture.size)
    layer.put((width - 40, height - 40), "2019-03-14 08:52", SANS, height // 30, YELLOW, anchor="rs")
    layer.put((width // 2, height // 8), "Harbour 1987", BOLD, height // 12, YELLOW, anchor="mm")
    return Image.alpha_composite(picture.convert("RGBA"), layer.image).convert("RGB")


def times() -> list[dict[str, Any]]:
    """Time the search alone and the whole command, each in a new process, on photographs with a date and a title."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size_name, size in SIZES.items():
            picture = photograph(*size)
            picture.save(folder / "a.jpg", quality=92)
            pixels = np.asarray(picture)
            started = time.perf_counter()
            lines = find_text(pixels)
            searching = time.perf_counter() - started
            command = [sys.executable, "-c", CHILD, folder / "a.jpg", folder / "b.jpg", folder / "result.json"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            whole = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            rows.append({"photograph": size_name, "search_seconds": searching, "lines": len(lines), **whole})
            print(rows[-1], flush=True)
    return rows


def candidate(file: str) -> TextDetector:
    """Return another detector."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return TextDetector(onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]))


def markdown_detectors(results: StudyResults) -> str:
    """Return a table of the detectors."""
    lines = [
        "| detector | text found | at least 90% found | clean photographs: marked | most | marked at all "
        "| s per megapixel |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    total = results.more["photographs"]
    for row in results.rows:
        cells = [f"{100 * row[key]:.1f}%" for key in ("found", "nearly_all")]
        cells += [f"{100 * row[key]:.2f}%" for key in ("marked", "most_marked")]
        cells += [f"{row['photographs_marked']} of {total}", f"{row['seconds_per_megapixel']:.1f}"]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + provenance(results.environment, f"{results.more['pictures']} pictures with text")


def _share_read(row: dict[str, Any]) -> str:
    """The part of the characters that can still be read; empty in results from before they were read."""
    if "read" not in row:
        return ""
    before, after = (sum(each[i] for each in row["read"].values()) for i in (0, 1))
    return f"{100 * after / before:.1f}% of {before:,}"


def markdown(results: StudyResults) -> str:
    """Return a table of the methods of restoration, then one by the kind of text, then the times."""
    total = results.more["photographs"]
    lines = [
        "| method | error under the text, of 255 | characters still read | added error elsewhere "
        "| clean photographs: pixels changed | most | unchanged |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['name']} | {row['before']:.0f} to {row['after']:.1f} | {_share_read(row)} | {row['elsewhere']:+.2f} "
        f"| {100 * row['clean_changed']:.2f}% | {100 * row['clean_most_changed']:.1f}% "
        f"| {row['clean_exact']} of {total} |"
        for row in results.rows
    ]
    names = [row["name"] for row in results.rows]
    lines += ["", f"| text | before | {' | '.join(names)} |", f"|---|--:|{'--:|' * len(names)}"]
    for kind, (before, _) in results.rows[0]["kinds"].items():
        after = " | ".join(f"{row['kinds'][kind][1]:.0f}" for row in results.rows)
        lines.append(f"| {kind} | {before:.0f} | {after} |")
    lines += [
        "",
        "| photograph with a date and a title | search, s | whole command, s | peak memory |",
        "|---|--:|--:|--:|",
    ]
    for row in results.more["times"]:
        cells = f"{row['search_seconds']:.1f} | {row['seconds']:.0f} | {row['peak_mib']:.0f} MiB"
        lines.append(f"| {row['photograph']} | {cells} |")
    return "\n".join(lines) + "\n\n" + provenance(results.environment, f"{results.environment.cores} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--candidate", action="append", default=[], metavar="NAME=FILE")
    arguments = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    root = arguments.data_root or default_root()
    pictures = [case for case in cases(root) if case.text.sum() > 150]
    clean = [np.asarray(Image.open(path).convert("RGB")) for _, path in photographs(root)]
    more: dict[str, Any] = {"pictures": len(pictures), "photographs": len(clean)}
    rows: list[dict[str, Any]] = []
    if arguments.candidate:
        name = "find-text-detectors"
        detectors = {"PP-OCRv6 small (used)": load_detector()}
        detectors |= {name: candidate(file) for name, _, file in (each.partition("=") for each in arguments.candidate)}
        for each, detector in detectors.items():
            rows.append({"name": each, **detection(detector, pictures, clean)})
            print(rows[-1], flush=True)
    else:
        name, read = "find-text", reader()
        read_before = [added_lines(read(case.picture), case.text) for case in pictures]
        for each, restore in methods(load_networks()).items():
            rows.append({"name": each, **restoration(restore, pictures, clean, read, read_before)})
            print({key: value for key, value in rows[-1].items() if key != "kinds"}, flush=True)
        more["times"] = times()
    result = StudyResults(
        experiment=name,
        rows=tuple(rows),
        environment=describe(),
        more=more,
        seconds=round(time.perf_counter() - started, 1),
    )
    write_results(result, ROOT / "results" / f"{name}.json")


if __name__ == "__main__":
    main()
