"""Training steps in a process of its own, by this package or, with `--plain`, by the plain PyTorch loop.

`peer` starts it and describes the protocol.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import torch

from ..base.memory import keep_freed_memory
from ..training.loop import use_threads
from .step import config_of, images, ours, plain


def main() -> None:
    """Read numbers of steps from standard input and answer each with a line when the steps are done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", required=True)
    parser.add_argument("--width", type=float)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--products", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    config = config_of(arguments.network, arguments.width, batch_size=arguments.batch_size)
    if arguments.plain:
        torch.set_num_threads(arguments.threads)
        contender = plain(config, images())
    else:
        keep_freed_memory()
        use_threads(arguments.threads)
        contender = ours(replace(config, bfloat16=arguments.products == "bfloat16"), images())
    sys.stdout.write(f"{contender.name}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        contender.run(int(line))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
