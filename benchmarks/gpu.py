"""Ten minutes of a GPU: the CUDA tests, speed beside the card's ceilings, and the paper's rows that a CPU cannot train.

    python benchmarks/gpu.py --minutes 9 --out FOLDER       measure; the next time it goes on where it stopped
    python benchmarks/gpu.py --merge FOLDER                 put what was measured into results/ and docs/images/
    python benchmarks/gpu.py --device cpu --smoke --out FOLDER      every stage on a CPU in minutes: a check

The stages, in this order; each has a deadline, and leaves its unused time to those after it:

    tests      tests that need a GPU
    speed      ceilings of the card; training steps and losses beside them
    table3     MNIST at the paper's size: all twelve rows of Tables 1 and 3
    table4     faces at the paper's size, for as many steps as the time allows: an excerpt of Tables 2 and 4
    figure6    the effect of curvature, at the paper's size
    figure10   text removal with a network of the paper's size, for as many steps as the time allows: an excerpt
    compiled   the loss beside torch.compile of its formula, last because compiling takes more than a minute

Whatever is finished is written at once to `results.json`, `pictures.zip` and `weights-*.safetensors` in FOLDER, so that
a run that is cut off is useful. What is there or in `results/` already is not measured again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # also where the package is not installed

SECONDS = {"tests": 40, "speed": 90, "table3": 420, "table4": 200, "figure6": 90, "figure10": 90, "compiled": 120}
"""Each stage's deadline, counted from its start; the whole run's comes first."""

JOBS = {"table3": 3, "table4": 3, "figure6": 8, "figure10": 3}
"""Runs that share the card: enough to keep it busy, and few, so that rows are finished one after another."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after so many (default: 9)")
    parser.add_argument("--out", type=Path, help="where results, pictures and weights go")
    parser.add_argument("--merge", type=Path, metavar="FOLDER", help="put the results in FOLDER into results/")
    parser.add_argument("--data-root", type=Path, help="folder of image sets; else LOGCOSH_VAE_DATA")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "gpu", help="where runs are kept and found again")
    parser.add_argument("--stages", default=",".join(SECONDS), help="some of: %(default)s")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--jobs", type=int, help="runs that share the card (default: 3 of convolutions, 8 of the MLP)")
    parser.add_argument("--commit", help="that the files stand at, where their history is not at hand")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and few steps")
    parsed = parser.parse_args()
    if (parsed.out is None) == (parsed.merge is None):
        parser.error("give either --out or --merge")
    if not parsed.minutes > 0:
        parser.error(f"--minutes must be positive; got {parsed.minutes:g}")
    if parsed.jobs is not None and parsed.jobs < 1:
        parser.error(f"--jobs must be at least 1; got {parsed.jobs}")
    if unknown := set(parsed.stages.split(",")) - SECONDS.keys():
        parser.error(f"unknown stage {sorted(unknown)[0]!r}; known: {', '.join(SECONDS)}")
    return parsed


def main() -> int:
    given = arguments()
    if given.commit:
        os.environ["LOGCOSH_VAE_COMMIT"] = given.commit
    if given.data_root:
        os.environ["LOGCOSH_VAE_DATA"] = str(given.data_root.resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    try:
        return run(given)
    except (OSError, ValueError) as error:  # of these, damaged JSON and unusable devices are the latter
        print(f"gpu.py: {error}", file=sys.stderr)
        return 1


def run(given: argparse.Namespace) -> int:
    """Merge, or go through the stages; the exit code."""
    from gpu_session import Session, TimeUpError, merge
    from gpu_stages import STAGES, complete

    from logcosh_vae.base.devices import find_device

    if given.merge:
        return merge(given.merge, ROOT, complete)
    find_device(given.device)
    ends = time.monotonic() + 60 * given.minutes
    session = Session(given.out, given.runs, given.device, given.smoke, ends, ROOT)
    failed = False
    for name in given.stages.split(","):
        session.begin(name, SECONDS[name], given.jobs or JOBS.get(name, 1))
        try:
            session.check_time()
            STAGES[name](session)
        except TimeUpError:
            session.say("the time is up")
        except KeyboardInterrupt:
            session.say("stopped; the same command goes on with what is in --out and --runs")
            return 130
        except Exception as error:  # the other stages must still have their turn
            failed = True
            session.fail(error)
    session.say("done")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
