"""This project's training steps as a program of its own, for runs beside each other; it is spoken to by `peer.py`."""

from __future__ import annotations

import argparse
import sys

from ..memory import keep_freed_memory
from ..training import use_threads
from .step import config_of, images, ours


def main() -> None:
    """Do steps for each number that is read."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", required=True)
    parser.add_argument("--width", type=float)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    keep_freed_memory()
    use_threads(arguments.threads)
    contender = ours(config_of(arguments.network, arguments.width, batch_size=arguments.batch_size), images())
    sys.stdout.write("logcosh-vae\n")
    sys.stdout.flush()
    for line in sys.stdin:
        contender.run(int(line))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
