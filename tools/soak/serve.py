"""The command that a worker process runs; see `worker.Worker`."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from pathlib import Path

from .worker import serve

if __name__ == "__main__":
    handle, name, seed, folder = sys.argv[1:]
    serve(Connection(int(handle)), name, int(seed), Path(folder))
