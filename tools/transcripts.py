"""Run the commands of a newcomer's first ten minutes, and record their output.

    python tools/transcripts.py dist/logcosh_vae-*.whl [--python python3.11] [SESSION ...]

Each session of `SESSIONS` runs in the same fresh virtual environment and home folder, in which the first one installs
the wheel with the pinned versions. Output goes to a pipe, so progress bars are missing. Commands, outputs, seconds and
sizes are written to `results/transcripts.json`, of which `tools/update_docs.py` makes docs/first-ten-minutes.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from check_packaging import ROOT, FreshEnvironment, clean_environment
from newcomer_files import write_files

from logcosh_vae.base.environment import describe
from logcosh_vae.base.records import read_record
from logcosh_vae.experiments.results import StudyResults, write_results
from logcosh_vae.reporting.markdown import provenance

RESULTS = ROOT / "results" / "transcripts.json"
WIDTH, HEAD, TAIL = 120, 12, 12
"""Columns of a line, and first and last lines of an output, that the page shows."""

MORE = "..."
PROGRESS = re.compile(r"\d+/\d+ runs? done, ")

HELP_ROUNDS = 9

SAMPLED = "mnist-vae-learned"
"""The model of the package whose images are shown."""

SESSIONS: dict[str, tuple[str, ...]] = {
    "loss": (
        "pip install --quiet WHEEL",
        "cat loss.py",
        "python loss.py",
    ),
    "images": (
        "pip install --quiet 'WHEEL[all]'",
        "logcosh-vae doctor | grep kernel",
        "ls pictures | head -4",
        "logcosh-vae data info pictures --size 32",
        "logcosh-vae compare --data pictures --model vae-conv --size 32 --loss l2 --loss auto"
        " --set model.width=0.125 --epochs 40 --out runs/own",
        "ls runs/own",
    ),
    "photograph": (
        "logcosh-vae restore photo.jpg -o clean.jpg",
        "pip install --quiet 'WHEEL[text]'",
        "logcosh-vae restore photo.jpg -o cleaner.jpg --show-mask mask.png",
    ),
    "explorer": (
        "logcosh-vae models",
        f"logcosh-vae sample {SAMPLED} --prior mixture -o digits.png",
        f"logcosh-vae explore mnist-vae-l2 {SAMPLED} -o explore.html",
        "ls -sh explore.html",
    ),
}
"""The command lines of each session; WHEEL stands for the path of the wheel."""


def type_line(line: str, home: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a command line in the shell; return what the page shows of it.

    Returns:
        `command`, `output` (both streams, in which `~` stands for the home folder), `exit_code` and `seconds`.
    """
    start = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    print(f"$ {line}\n{done.stdout}[{done.returncode}, {seconds:.1f} s]", file=sys.stderr, flush=True)
    output = [text.rstrip() for text in done.stdout.replace(str(home), "~").splitlines()]
    return {"command": line, "output": output, "exit_code": done.returncode, "seconds": round(seconds, 2)}


def measure(home: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the size of the explorer page, and the shortest time of `--help` and of `sample`."""

    def shortest(line: str) -> float:
        return min(float(type_line(line, home, environment)["seconds"]) for _ in range(HELP_ROUNDS))

    return {
        "page_bytes": (home / "explore.html").stat().st_size,
        "help_seconds": shortest("logcosh-vae --help"),
        "sample_seconds": shortest(f"logcosh-vae sample {SAMPLED} -o digits.png --overwrite"),
    }


def record(wheel: Path, python: str, sessions: list[str]) -> StudyResults:
    """Type the sessions; those that are left out keep what was recorded before."""
    kept = read_record(StudyResults, RESULTS) if set(sessions) != set(SESSIONS) else None
    rows = {row["session"]: row for row in kept.rows} if kept else {}
    with tempfile.TemporaryDirectory(prefix="newcomer-") as name:
        home = Path(name)
        fresh = FreshEnvironment(home / "venv", python)
        environment = clean_environment() | {
            "HOME": name,
            "XDG_CACHE_HOME": f"{name}/.cache",
            "PATH": f"{fresh.commands}{os.pathsep}{os.environ['PATH']}",
            "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        }
        (home / wheel.name).symlink_to(wheel.resolve())
        if "loss" not in sessions:
            fresh.install(wheel.resolve())
        if not {"loss", "images"} & set(sessions):
            fresh.install(f"{wheel.resolve()}[all]")
        write_files(home)
        for session in sessions:
            lines = [line.replace("WHEEL", wheel.name) for line in SESSIONS[session]]
            rows[session] = {
                "session": session,
                "steps": [type_line(line, home, environment) for line in lines],
            }
        measured = {"wheel_bytes": wheel.stat().st_size, "wheel": wheel.name} if kept is None else dict(kept.more)
        if "explorer" in sessions:
            measured |= measure(home, environment)
    measured_here = describe() if kept is None or "explorer" in sessions else kept.environment
    return StudyResults("transcripts", tuple(rows[name] for name in SESSIONS), measured_here, more=measured)


def shortened(lines: list[str]) -> list[str]:
    """Return the first and last lines of an output, wrapped at `WIDTH` columns, and of its progress the first line."""
    shown: list[str] = []
    for line in lines:
        if PROGRESS.match(line) and shown and PROGRESS.match(shown[-1] if shown[-1] != MORE else shown[-2]):
            shown += [] if shown[-1] == MORE else [MORE]
        else:
            shown.append(line)
    if len(shown) > HEAD + TAIL + 1:
        shown = [*shown[:HEAD], MORE, *shown[-TAIL:]]
    wrapped = (textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in shown)
    return [part for parts in wrapped for part in parts or [""]]


def transcript(results: StudyResults, session: str) -> str:
    """Return a session as a block in Markdown."""
    (row,) = (row for row in results.rows if row["session"] == session)
    lines: list[str] = []
    for step in row["steps"]:
        lines += [f"$ {step['command']}", *shortened(list(step["output"])), ""]
    seconds = ", ".join(f"{step['seconds']:.0f}" for step in row["steps"])
    times = f"Seconds of the {len(row['steps'])} commands: {seconds}."
    return "\n".join(["```console", *lines[:-1], "```", "", times, ""])


def numbers(results: StudyResults) -> str:
    """Return sizes and times in Markdown."""
    more = results.more
    rows = [
        (
            "wheel, with four trained models, and the networks for `restore` and for the FID of MNIST",
            f"{more['wheel_bytes'] / 1e6:.1f} MB",
        ),
        ("page of `explore` with two VAEs (MLP) and 24 test images", f"{more['page_bytes'] / 1e6:.1f} MB"),
        ("`--help`", f"{more['help_seconds']:.2f} s"),
        ("`sample`: 100 images of a model of the package", f"{more['sample_seconds']:.1f} s"),
    ]
    table = ["| | |", "|---|--:|", *(f"| {what} | {value} |" for what, value in rows)]
    note = f"Times are the shortest of {HELP_ROUNDS}. {provenance(results.environment, 'other programs running')}"
    return "\n".join([*table, "", note])


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.shorten(__doc__.splitlines()[0], WIDTH))
    parser.add_argument("wheel", type=Path)
    parser.add_argument("sessions", nargs="*", metavar="SESSION", help=f"{', '.join(SESSIONS)}; by default all")
    parser.add_argument("--python", default=sys.executable, help="interpreter; by default that which runs this")
    options = parser.parse_args()
    if unknown := set(options.sessions) - set(SESSIONS):
        parser.error(f"unknown session {min(unknown)}; known: {', '.join(SESSIONS)}")
    write_results(record(options.wheel, options.python, options.sessions or list(SESSIONS)), RESULTS)


if __name__ == "__main__":
    main()
