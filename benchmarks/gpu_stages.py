"""The stages of `gpu.py` by name, what each needs and has, and the stages that measure the card itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_restoration
import gpu_training
import torch
from gpu_session import Session, TimeUpError

from logcosh_vae.base.errors import RunError
from logcosh_vae.bench import gpu
from logcosh_vae.bench.gpu_results import BENCH, TESTS

REPOSITORY = gpu.__file__.rpartition("/src/")[0]
TESTS_SECONDS = 50.0
ROW_SECONDS = 12.0
COMPILING_SECONDS = 60.0
"""About what these took on an H200; for the plan that is printed."""


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        run: does what is missing until the deadline.
        count: rows that are known, and rows that the stage has in all.
        estimate: about how many seconds the missing rows take; infinite where the stage uses what time there is.
        problems: what is missing to begin it, a line each.
    """

    run: Callable[[Session], None]
    count: Callable[[Session], tuple[int, int]]
    estimate: Callable[[Session], float]
    problems: Callable[[Session], list[str]] = lambda _: []


def _on_gpu(session: Session) -> bool:
    return torch.device(session.device).type == "cuda"


def _known_tests(session: Session) -> list[dict[str, Any]]:
    """The tests' outcomes on the session's card."""
    return [row for row in session.rows(session.name(TESTS)) if row["accelerator"] == session.accelerator]


def _tests_passed(session: Session) -> bool:
    known = _known_tests(session)
    return bool(known) and all(row["outcome"] == "passed" for row in known)


def _count_tests(session: Session) -> tuple[int, int]:
    known = _known_tests(session)
    return sum(row["outcome"] == "passed" for row in known), len(known) if known or not _on_gpu(session) else 1


def _needs_pytest(session: Session) -> list[str]:  # noqa: ARG001 - all problems are asked with the session
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    return [f"the package {name} is not installed" for name in missing]


def tests(session: Session) -> None:
    """The tests that need a GPU; on the CPU they are collected and skipped, and nothing is recorded."""
    if _tests_passed(session):
        session.say("done before")
        return
    report = session.runs / "tests.xml"
    report.unlink(missing_ok=True)  # an older one would be taken for this run's
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    try:
        done = subprocess.run(
            [*command, "tests/gpu/test_cuda.py"],
            cwd=REPOSITORY,
            env=_one_card(session.device),
            capture_output=True,
            text=True,
            timeout=max(1.0, session.left()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeUpError("the tests did not end in time") from None
    session.say("\n".join(done.stdout.strip().splitlines()[-30:]))
    if done.returncode not in (0, 1) or not report.exists():
        session.say("\n".join(done.stderr.strip().splitlines()[-10:]))
        raise RunError(f"pytest ended with exit code {done.returncode}")
    rows = _outcomes(report)
    if not _on_gpu(session) and all(row["outcome"] == "skipped" for row in rows):
        session.say(f"{len(rows)} tests are skipped on the CPU; nothing is recorded")
        return
    session.record(session.name(TESTS), {"experiment": TESTS, "profile": session.profile(), "rows": rows})


def _one_card(device: str) -> dict[str, str]:
    """The environment for the tests, in which `cuda` is the session's card."""
    index = torch.device(device).index
    if index is None:
        return dict(os.environ)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return os.environ | {"CUDA_VISIBLE_DEVICES": visible.split(",")[index] if visible else str(index)}


def _outcomes(report: Path) -> list[dict[str, Any]]:
    """Name, outcome and seconds of each test in a JUnit report."""
    rows = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = found[0].replace("failure", "failed") if found else "passed"
        rows.append({"what": case.get("name"), "outcome": outcome, "seconds": float(case.get("time") or 0.0)})
    return rows


def _scale(session: Session) -> gpu.Scale:
    return gpu.SMOKE if session.smoke else gpu.Scale()


def _speed_measures(session: Session) -> dict[str, gpu.Measure]:
    return gpu.measures(_scale(session), session.device)


def _compiled_measures(session: Session) -> dict[str, gpu.Measure]:
    """The rows with torch.compile; on a CPU they are left to the tests of the loss."""
    return gpu.compiled_measures(_scale(session), session.device) if _on_gpu(session) else {}


def _timings(session: Session) -> dict[str, dict[str, Any]]:
    """Timings of the session's card by name; shares of another card's ceilings would say nothing."""
    rows = session.rows(session.name(BENCH))
    return {row["what"]: row for row in rows if row["accelerator"] == session.accelerator}


def _count(measures: Callable[[Session], Mapping[str, gpu.Measure]]) -> Callable[[Session], tuple[int, int]]:
    def count(session: Session) -> tuple[int, int]:
        wanted = measures(session)
        return len(wanted.keys() & _timings(session).keys()), len(wanted)

    return count


def _missing_rows(measures: Callable[[Session], Mapping[str, gpu.Measure]], once: float) -> Callable[[Session], float]:
    def estimate(session: Session) -> float:
        had, wanted = _count(measures)(session)
        return (once + ROW_SECONDS * (wanted - had)) if had < wanted else 0.0

    return estimate


def speed(session: Session) -> None:
    """Ceilings first, then each row that is missing while there is time."""
    _measure(session, _speed_measures(session))


def compiled(session: Session) -> None:
    """The loss beside the compiled formula."""
    wanted = _compiled_measures(session)
    if not wanted:
        session.say("needs a GPU; nothing is done on the CPU")
        return
    _measure(session, {"ceilings": _speed_measures(session)["ceilings"]} | wanted, longest=ROW_SECONDS)


def _measure(session: Session, measures: Mapping[str, gpu.Measure], longest: float = float("inf")) -> None:
    """Measure and record the rows that are missing; none is begun that would take longer than there is time.

    A row is expected to take as long as the one before, or `longest` where that one took longer, as one that compiles.
    """
    rows = _timings(session)
    missing = [what for what in measures if what not in rows]
    if not missing:
        session.say("done before")
    before = 0.0
    for number, what in enumerate(missing, 1):
        session.check_time()
        if session.left() < before:
            raise TimeUpError(f"{what!r} needs about {before:.0f} s, and {session.left():.0f} s are left")
        started = time.monotonic()
        row = measures[what](rows["ceilings"]["rates"] if rows else {})
        rows[what] = row
        before = min(longest, time.monotonic() - started)
        result = {"experiment": BENCH, "profile": session.profile(), "rounds": _scale(session).rounds}
        session.record(session.name(BENCH), result | {"rows": [row]})
        session.say(f"row {number} of {len(missing)}, {before:.1f} s: {what}: {short(row)}")
        if _on_gpu(session):
            torch.cuda.empty_cache()


def short(row: Mapping[str, Any]) -> str:
    """A row of the speed stage on one line."""
    if "microseconds" in row:
        return ", ".join(f"{name[:40]} {value:.0f} us" for name, value in list(row["microseconds"].items())[:3])
    if "rates" in row:
        units = {gpu.COPY: "TB/s"}
        return ", ".join(
            f"{name} {value / 1e12:.3g} {units.get(name, 'TFLOP/s')}" for name, value in row["rates"].items()
        )
    name, spread = next(iter(row["seconds"].items()))
    return f"{name} {1e3 * spread['median']:.4g} ms, {100 * row['share'][name]:.0f}% of the ceiling"


def plan(session: Session, names: Sequence[str], seconds: Mapping[str, float]) -> list[str]:
    """Lines that say what each stage has, what it needs, and what will not fit into the session."""
    lines, left = [], session.ends - time.monotonic()
    for name in names:
        had, wanted = STAGES[name].count(session)
        needed = STAGES[name].estimate(session)
        given = min(needed, seconds[name], max(0.0, left))
        text = f"{name}: {had} of {wanted} rows are known; "
        if needed == 0.0:
            lines.append(f"{text}nothing is left to do")
            continue
        text += "it takes what time it gets" if needed == float("inf") else f"the rest takes about {needed:.0f} s"
        cause = "its deadline" if seconds[name] <= left else "the session's end"
        fits = given > 0 and (needed == float("inf") or given >= needed)
        lines.append(text + ("" if fits else f", and will not fit: {given:.0f} s until {cause}"))
        left -= given
    return lines


STAGES: dict[str, Stage] = {
    "tests": Stage(
        tests,
        _count_tests,
        lambda session: 0.0 if _tests_passed(session) or not _on_gpu(session) else TESTS_SECONDS,
        _needs_pytest,
    ),
    "speed": Stage(speed, _count(_speed_measures), _missing_rows(_speed_measures, 0.0)),
    "table3": Stage(
        gpu_training.table3, gpu_training.count_table3, gpu_training.estimate_table3, gpu_training.needs_mnist
    ),
    "table4": Stage(
        gpu_training.table4, gpu_training.count_table4, gpu_training.estimate_table4, gpu_training.needs_faces
    ),
    "likelihood": Stage(
        gpu_training.likelihood,
        gpu_training.count_likelihood,
        gpu_training.estimate_likelihood,
        gpu_training.needs_faces,
    ),
    "figure6": Stage(
        gpu_training.figure6, gpu_training.count_figure6, gpu_training.estimate_figure6, gpu_training.needs_mnist
    ),
    "figure10": Stage(
        gpu_restoration.figure10, gpu_restoration.count, gpu_restoration.estimate, gpu_restoration.needs_pictures
    ),
    "captions": Stage(
        gpu_restoration.captions,
        gpu_restoration.count_captions,
        gpu_restoration.estimate_captions,
        gpu_restoration.needs_pictures,
    ),
    "compiled": Stage(compiled, _count(_compiled_measures), _missing_rows(_compiled_measures, COMPILING_SECONDS)),
}
