"""Build the wheel, install it without and with its extra `all` into fresh environments, and use it there.

`make packaging` runs this. It needs a package index and, with the CPU build of torch, about 2 GB in the temporary
folder. Installing torch twice takes most of the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = 80


def run(*command: str | Path, **environment: str) -> str:
    """Run a command and return what it prints; stop with its error output where it fails."""
    print("+", *command, file=sys.stderr)
    done = subprocess.run(
        [str(part) for part in command],
        env=clean_environment() | environment,
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"error: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what would make Python find this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOGCOSH_VAE_"))}


def build(sources: Path, target: Path, **environment: str) -> Path:
    """Build a wheel from a fresh copy of the sources, so that nothing left over from an earlier build gets into it."""
    sources.mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "src", sources / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, sources, **environment)
    (wheel,) = target.glob("*.whl")
    return wheel


def check_contents(wheel: Path, tag: str, *, compiled: bool) -> None:
    """Check the wheel's tag, and that it has the library only where one was compiled."""
    names = zipfile.ZipFile(wheel).namelist()
    libraries = [name for name in names if name.endswith((".so", ".dylib", ".dll", ".pyd"))]
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    expected = [f"logcosh_vae/losses/_log_cosh{suffix}"] if compiled else []
    if f"-{tag}" not in wheel.name or libraries != expected or "logcosh_vae/py.typed" not in names:
        raise SystemExit(f"error: {wheel.name} should be tagged {tag} and hold {expected}; it holds {libraries}")


def install(environment: Path, requirement: str) -> Path:
    """Install into a fresh virtual environment; return the folder of its commands."""
    run("sh", ROOT / "tools" / "make-venv.sh", environment, PYTHON=sys.executable)
    folder = environment / ("Scripts" if sys.platform == "win32" else "bin")
    run(folder / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", requirement)
    return folder


def write_pictures(folder: Path) -> None:
    """Write pictures of noise to train on."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{index:03}.png")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="logcosh-vae-packaging-") as name:
        folder = Path(name)
        pure = build(folder / "without-compiler", folder / "pure", CC="false")
        check_contents(pure, "py3-none-any", compiled=False)
        wheel = build(folder / "sources", folder / "dist")
        check_contents(wheel, "py3-none-", compiled=True)

        commands = install(folder / "with-all", f"{wheel}[all]")
        write_pictures(folder / "pictures")
        settings = ["--size", "16", "--epochs", "1", "--set", "batch_size=8", "--set", "model.hidden=[8]"]
        cache = {"LOGCOSH_VAE_CACHE": str(folder / "cache")}
        data = ["--data", folder / "pictures", "--out", folder / "run"]
        run(commands / "logcosh-vae", "train", *data, *settings, **cache)
        run(commands / "logcosh-vae", "evaluate", folder / "run", **cache)
        run(commands / "logcosh-vae", "sample", folder / "run", "--out", folder / "samples.png", **cache)

        commands = install(folder / "minimal", str(wheel))
        print(run(commands / "python", "-W", "error", ROOT / "tests" / "minimal_install.py", folder / "run"), end="")
        done = subprocess.run(
            [commands / "logcosh-vae"], env=clean_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 1 or done.stderr.count("\n") != 1 or "needs typer and rich" not in done.stderr:
            raise SystemExit(f"error: the command without typer should say so in one line; it says:\n{done.stderr}")
        installed = run(commands / "python", "-m", "pip", "list", "--format", "freeze").split()
        print(f"{wheel.name} works with and without extras\nminimal installation: {', '.join(installed)}")


if __name__ == "__main__":
    main()
