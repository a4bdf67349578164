"""The command line: one module for each verb or group of verbs, which parses options, calls the library and prints.

`main.py` is the entry point, `options.py` holds the application and the options that verbs share, `experiments.py`
and `report.py` run experiments and write their reports, `pictures.py` writes image grids, `terminal.py` shows
progress and `tables.py` prints results. Functions import torch only when they run, so that `--help` answers at once.
"""

from .main import main

__all__ = ["main"]
