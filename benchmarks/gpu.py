"""Turn about ten minutes of a GPU into results: its tests, its speed, and the paper's rows that a CPU cannot train.

    python benchmarks/gpu.py --minutes 9 --out FOLDER       measure; the same command continues where it stopped
    python benchmarks/gpu.py --merge FOLDER                 put what was measured into results/ and docs/images/
    python benchmarks/gpu.py --device cpu --smoke --out FOLDER      try every stage on a CPU, in minutes

The stages run one after another, each until its deadline; a stage that ends early leaves its time to the next ones.
Whatever is finished is written at once to `results.json`, `pictures.zip` and `weights-*.safetensors` in FOLDER, so that
a run that is cut off is useful; rows that are there or in `results/` are not measured again. Runs that are not finished
are resumed from --runs, and figures are drawn from it: keep it, too, where a session is to be continued.

Exit code: 0 when everything asked for is done, 3 when the time ran out, 130 when interrupted, 1 when something failed
or was missing, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # also where the package is not installed


class Stage(NamedTuple):
    """A stage as the command line knows it.

    Attributes:
        seconds: its deadline, counted from its start; the whole run's comes first.
        jobs: runs that share the card: enough to keep it busy, and few, so that rows are finished one after another.
        title: for the help.
    """

    seconds: float
    jobs: int
    title: str


STAGES = {
    "tests": Stage(80, 1, "tests that need a GPU (needs the packages pytest and hypothesis)"),
    "speed": Stage(90, 1, "the card's ceilings; training steps and losses beside them"),
    "table3": Stage(420, 3, "MNIST at the paper's size: the rows of tables 1 and 3, and figures 2, 3, 7 and 9"),
    "table4": Stage(200, 3, "CelebA at the paper's size, for as many epochs as the time allows: tables 2 and 4"),
    "likelihood": Stage(400, 6, "the study of learned likelihoods on faces, profile laptop, with three seeds"),
    "figure6": Stage(180, 8, "the effect of curvature, at the paper's size"),
    "figure10": Stage(90, 3, "text removal with a network of the paper's size, for as many steps as the time allows"),
    "captions": Stage(500, 1, "a network that removes captions from photographs, for as many steps as the time allows"),
    "compiled": Stage(120, 1, "the loss beside torch.compile of its formula; last, because compiling takes a minute"),
}


def arguments() -> argparse.Namespace:
    stages = "\n".join(f"  {name:9} {each.seconds:3.0f} s  {each.title}" for name, each in STAGES.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"stages, with the seconds that each has at most:\n{stages}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="minutes until the run stops (default: 9)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for results, pictures and weights")
    parser.add_argument(
        "--merge",
        type=Path,
        metavar="FOLDER",
        help="put the results of an --out folder into results/ and docs/images/; for figure 10 this needs "
        "text-removal/train and text-removal/test in the data root, and measures the networks on a CPU",
    )
    parser.add_argument("--data-root", type=Path, metavar="FOLDER", help="image sets (default: $LOGCOSH_VAE_DATA)")
    parser.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "runs" / "gpu",
        metavar="FOLDER",
        help="run folders; without those of an earlier session its rows stay, but unfinished runs begin anew, and "
        "figures that need its runs are not drawn (default: runs/gpu in the repository)",
    )
    parser.add_argument(
        "--stages", default=",".join(STAGES), metavar="NAME,...", help="stages to run, in this order (default: all)"
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu with --smoke (default: cuda)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at once (default: 3; 8 in figure6; on a CPU at most its cores)"
    )
    parser.add_argument(
        "--commit",
        metavar="HASH",
        help="commit of the files, for the record, where they were copied without their git history",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="tiny networks, few steps, and no deadline but --minutes: a check"
    )
    return checked(parser)


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The parsed arguments, with whole paths and a list of stages; exits with code 2 where they cannot be used."""
    given = parser.parse_args()
    if (given.out is None) == (given.merge is None):
        parser.error("give either --out or --merge")
    if not 0 < given.minutes < 10_000:
        parser.error(f"--minutes must be positive; got {given.minutes:g}")
    if given.jobs is not None and given.jobs < 1:
        parser.error(f"--jobs must be at least 1; got {given.jobs}")
    given.stages = list(dict.fromkeys(name.strip() for name in given.stages.split(",") if name.strip()))
    if not given.stages:
        parser.error(f"--stages names no stage; known: {', '.join(STAGES)}")
    if unknown := [name for name in given.stages if name not in STAGES]:
        parser.error(f"unknown stage {unknown[0]!r}; known: {', '.join(STAGES)}")
    if given.out and re.fullmatch(r"cpu|cuda(:\d+)?", given.device) is None:
        parser.error(f"--device must be cuda, cuda:N or cpu; got {given.device!r}")
    if given.out and given.device == "cpu" and not given.smoke:
        parser.error("--device cpu gives no results of a GPU; add --smoke to try the script on a CPU")
    for name in ("out", "merge", "runs", "data_root"):
        if (path := getattr(given, name)) is not None:
            setattr(given, name, path.expanduser().resolve())
    if given.data_root and not given.data_root.is_dir():
        parser.error(f"--data-root {given.data_root} is not a folder")
    return given


def main() -> int:
    given = arguments()
    if given.commit:
        os.environ["LOGCOSH_VAE_COMMIT"] = given.commit
    if given.data_root:
        os.environ["LOGCOSH_VAE_DATA"] = str(given.data_root)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    try:
        from logcosh_vae.base.errors import UserError
        from logcosh_vae.base.files import one_line
    except KeyboardInterrupt:
        return interrupted()
    try:
        return run(given)
    except KeyboardInterrupt:
        return interrupted()
    except (OSError, ValueError, UserError) as error:
        print(f"gpu.py: {one_line(error, 400)}", file=sys.stderr)
        return 1


def interrupted() -> int:
    """Say that a signal ended the run; the exit code."""
    print("gpu.py: interrupted; what was finished is kept, and the same command continues", file=sys.stderr, flush=True)
    return 130


def run(given: argparse.Namespace) -> int:
    """Merge, or go through the stages; the exit code."""
    from gpu_session import Interrupts, Session, locked

    from logcosh_vae.base.devices import find_device, usable_cores

    interrupts = Interrupts()
    interrupts.install()
    if given.merge:
        from gpu_merge import merge

        return merge(given.merge, ROOT)
    find_device(given.device)
    if given.device == "cpu" and (given.jobs or max(each.jobs for each in STAGES.values())) > usable_cores():
        given.jobs = usable_cores()
    with locked(given.out):
        return measure(Session(given.out, given.runs, given.device, given.smoke, ROOT, interrupts), given)


def measure(session: Any, given: argparse.Namespace) -> int:
    """Check what the stages need, run them, and say what is done; the exit code."""
    from gpu_stages import STAGES as RUNS
    from gpu_stages import plan

    began = time.monotonic()
    missing = {name: problems for name in given.stages if (problems := RUNS[name].problems(session))}
    for name, problems in missing.items():
        for problem in problems:
            session.say(f"{name} is left out: {problem}")
    names = [name for name in given.stages if name not in missing]
    session.start_clock(given.minutes)
    session.say(
        f"{given.minutes:g} minutes from now; data and features were checked in {time.monotonic() - began:.0f} s"
    )
    for line in plan(session, names, {name: deadline(session, name) for name in names}):
        session.say(line)
    states = dict.fromkeys(missing, "left out, something is missing (see above)")
    try:
        for name in names:
            states[name] = run_stage(session, name, given.jobs or STAGES[name].jobs)
            session.interrupts.check()
    finally:
        session.stage = "summary"
        all_done = summary(session, given.stages, states)
    return 1 if session.failed or missing else 0 if all_done else 3


def deadline(session: Any, name: str) -> float:
    """The seconds of a stage; in a smoke run, whose machine may be slow, all that there are."""
    return float("inf") if session.smoke else STAGES[name].seconds


def run_stage(session: Any, name: str, jobs: int) -> str:
    """Run a stage until its deadline; how it ended."""
    from gpu_session import TimeUpError
    from gpu_stages import STAGES as RUNS

    session.begin(name, deadline(session, name), jobs)
    try:
        session.check_time()
        RUNS[name].run(session)
    except TimeUpError as error:
        session.say(f"the time is up{f': {error}' if str(error) else ''}")
        return "the time ran out"
    except Exception as error:  # the other stages must still have their turn
        session.fail(error)
        return "failed"
    return ""


def summary(session: Any, names: list[str], states: dict[str, str]) -> bool:
    """Say of each stage what is done and what is missing, and how to continue; whether all is done."""
    from gpu_stages import STAGES as RUNS

    all_done = True
    for name in names:
        had, wanted = RUNS[name].count(session)
        state = states.get(name, "not begun")
        # tests that failed have run: they are reported, and not a reason to continue
        done = name in states and not state and (had == wanted or name == "tests")
        all_done = all_done and done
        counted = f"{had} of {wanted} {'tests passed' if name == 'tests' else 'rows are known'}"
        counted = counted if wanted else "there is nothing to do on this device"
        session.say(f"{name}: {'done' if done else 'not done'}, {counted}{state and f'; {state}'}")
    for name, reason in session.not_drawn.items():
        session.say(f"{name} is not drawn: {reason}")
    if not all_done:
        session.say(f"to continue: {shlex.join(['python', *sys.argv])}")
    return all_done


if __name__ == "__main__":
    sys.exit(main())
