"""The command line: one module for each verb or group of verbs, which parses options, calls the library and prints.

`main` is the entry point. `entry.py` prepares the process, `command.py` runs a verb and prints its error, `options.py`
holds the application and the options that verbs share. `experiments.py` and `report.py` run experiments and write their
reports, `pictures.py` writes image grids, `streams.py` prints (through `safe_stream.py`), `terminal.py` shows progress
and `tables.py` results. `json_option.py` adds `--json` to verbs, and `completion.py` completes command lines in shells.
Functions import torch only when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import os

__all__ = ["main"]


def main() -> None:
    """Run the command line given in `sys.argv` and exit."""
    try:
        from .entry import enter

        enter()
    except KeyboardInterrupt:  # before or after the time in which `enter` handles it
        os.write(2, b"stopped\n")
        os._exit(130)
    except OSError as error:  # before `enter` can report it, as where the process may open no more files
        os.write(2, f"error: the command cannot start: {error.strerror}\n".encode())
        os._exit(1)
