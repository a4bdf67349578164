"""Run every example as a user would; `make examples` does so in an environment that has their libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != Path(__file__).name)
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SECONDS = 900
"""More than any example takes on a busy machine."""

NOTEBOOK = """
import sys
import nbformat
from nbclient import NotebookClient
NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=900, kernel_name="python3").execute()
"""


def run(*command: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=FOLDER,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script: str) -> None:
    run(script)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook(notebook: str) -> None:
    run("-c", NOTEBOOK, notebook)
