"""Start-up time of the package and of the command, each in a new process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from .timing import Contender

TORCH = "import torch"
COMMANDS = {
    TORCH: ["-c", "import torch"],
    "import logcosh_vae": ["-c", "import logcosh_vae"],
    "logcosh-vae --help": ["-m", "logcosh_vae", "--help"],
    "python, nothing else": ["-c", "pass"],
}


def contenders() -> list[Contender]:
    """Return the commands; a unit of work is one process from start to exit."""

    def repeated(arguments: list[str]) -> Callable[[int], None]:
        def run(count: int) -> None:
            for _ in range(count):
                subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

        return run

    return [Contender(name, repeated(arguments)) for name, arguments in COMMANDS.items()]
