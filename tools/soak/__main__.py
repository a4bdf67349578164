"""The command: `python -m tools.soak --minutes 10`, or `--full --resume` until every target is reached."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from logcosh_vae.base.environment import describe
from logcosh_vae.base.records import read_record

from .record import SoakResults, started
from .registry import ATTACKS
from .session import Session

ROOT = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description="Random attacks on the program.")
    parser.add_argument("--minutes", type=float, help="time for all attacks together; 10 without --full")
    parser.add_argument("--full", action="store_true", help="run each attack until its target is reached")
    parser.add_argument("--resume", action="store_true", help="add to the figures in --out, with its seed")
    parser.add_argument(
        "--anew", action="store_true", help="with --resume: forget the former figures of the attacks in --only"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of trials at the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(ATTACKS), action="append", help="run this attack only; repeatable")
    parser.add_argument("--count", type=int, help="stop each attack after this number of trials")
    parser.add_argument("--index", type=int, action="append", help="with --only: repeat this trial alone; repeatable")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "soak.json")
    parser.add_argument(
        "--failures", type=Path, default=ROOT / "runs" / "soak-failures", help="keep files of failed trials here"
    )
    parser.add_argument("--work", type=Path, help="folder for inputs, which is kept; a temporary folder by default")
    given = parser.parse_args()
    if given.index and len(given.only or []) != 1:
        parser.error("--index needs --only ATTACK")
    if given.anew and not (given.resume and given.only):
        parser.error("--anew needs --resume and --only ATTACK")
    return given


def main() -> int:
    """Run the attacks, print a table and write the results. Returns 1 if a trial failed."""
    given = arguments()
    before = read_record(SoakResults, given.out) if given.resume and given.out.is_file() else None
    work = given.work or Path(tempfile.mkdtemp(prefix="soak-"))
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)  # some commands run as another user
    results = started(before, given.seed, describe(), anew=given.only if given.anew else ())
    session = Session(results, None if given.index else given.out, work, given.failures)
    failed_before = session.failed()
    try:
        _attack(given, session)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; continue with --resume", file=sys.stderr)
    finally:
        session.save()
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    print(f"\n{'attack':<15}{'target':>8}{'tried':>8}{'failed':>8}{'seconds':>9}")
    for name, counts in session.results.attacks.items():
        print(f"{name:<15}{counts.target:>8,}{counts.tried:>8,}{counts.failed:>8,}{counts.seconds:>9,.0f}")
    return int(session.failed() > failed_before)


def _attack(given: argparse.Namespace, session: Session) -> None:
    """Run the chosen attacks, each for its part of the time, or up to a number of trials."""
    names, start = given.only or list(ATTACKS), time.monotonic()
    counted = bool(given.full or given.count or given.index)
    minutes = given.minutes or (float("inf") if counted else 10.0)
    shares, part = sum(ATTACKS[name].share for name in names), 0.0
    for name in names:
        part += ATTACKS[name].share / shares
        end = start + 60 * minutes * (1.0 if counted else part)
        first = session.results.attacks[name].tried
        last = max(first, ATTACKS[name].target) if given.full else first + given.count if given.count else sys.maxsize
        indices = given.index or range(first, last)
        session.run(name, indices, end, given.jobs)


if __name__ == "__main__":
    sys.exit(main())
