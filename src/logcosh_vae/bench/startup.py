"""How long a command takes to begin: whole processes."""

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
    """Each command in a process of its own."""

    def of(arguments: list[str]) -> Callable[[int], None]:
        def run(count: int) -> None:
            for _ in range(count):
                subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

        return run

    return [Contender(name, of(arguments)) for name, arguments in COMMANDS.items()]
