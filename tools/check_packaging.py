"""Build sdist and wheel, install them into a fresh environment, and use them there.

`make packaging` runs this with the Python of `.venv`; `tools/make_dist.py` checks what `make dist` has built with every
Python that it finds. It needs a package index and, with the CPU build of torch, about 1 GB in the temporary folder.
Installing torch takes most of the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
PICTURES = 80
SETTINGS = ["--size", "16", "--epochs", "1", "--set", "batch_size=8", "--set", "model.hidden=[8]"]
LOSS = """
import torch, logcosh_vae
from logcosh_vae.losses import cpu_kernel
loss = logcosh_vae.LogCoshLoss(a=10.0)(torch.full((4096,), 0.5), torch.zeros(4096))
expected = torch.tensor(5.0, dtype=torch.float64).cosh().log() / 10
assert abs(loss - expected) < 1e-6, (loss, expected)
print("compiled kernel" if cpu_kernel.library() else "torch")
"""


def run(*command: str | Path, **environment: str) -> str:
    """Run a command and return what it prints; stop with its error output where it fails."""
    print("+", *command, file=sys.stderr, flush=True)
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


def build_sdist(folder: Path) -> Path:
    """Build the sdist from a fresh copy of the sources, so that nothing left over from a build gets into it."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    for name in SOURCES:
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "src", sources / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder / "sdist", sources)
    (sdist,) = (folder / "sdist").glob("*.tar.gz")
    return sdist


def build_wheel(sdist: Path, target: Path, **environment: str) -> Path:
    """Build a wheel from the sdist."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, sdist, **environment)
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


class FreshEnvironment:
    """A new virtual environment, and the commands in it.

    Attributes:
        commands: the folder of its commands.
    """

    def __init__(self, folder: Path, python: Path | str = sys.executable) -> None:
        run("sh", ROOT / "tools" / "make-venv.sh", folder, PYTHON=str(python))
        self.commands = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.without_compiler = {"PATH": str(self.commands)}

    def run(self, command: str, *arguments: str | Path, **environment: str) -> str:
        """Run one of its commands without a compiler on PATH, and return what it prints."""
        return run(self.commands / command, *arguments, **(self.without_compiler | environment))

    def install(self, *requirements: str | Path, **environment: str) -> None:
        """Install with the pinned versions, by default without a compiler on PATH."""
        pinned = ["-c", ROOT / "constraints.txt"]
        self.run("python", "-m", "pip", "install", "--quiet", *pinned, *requirements, **environment)

    def packages(self) -> list[str]:
        """Return the installed distributions as `NAME==VERSION`."""
        return self.run("python", "-m", "pip", "list", "--format", "freeze").split()


def write_pictures(folder: Path) -> None:
    """Write pictures of noise to train on."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{index:03}.png")


def train_here(folder: Path) -> Path:
    """Train a small run with this checkout, for an installation that cannot train; return its folder."""
    write_pictures(folder / "pictures")
    data = ["--data", folder / "pictures", "--out", folder / "run"]
    cache = str(folder / "cache")
    run(
        *(sys.executable, "-m", "logcosh_vae", "train", *data, *SETTINGS),
        PYTHONPATH=str(ROOT / "src"),
        LOGCOSH_VAE_CACHE=cache,
    )
    return folder / "run"


def check_minimal(environment: FreshEnvironment, trained: Path) -> None:
    """Check an installation without extras: what works there, and that the command says what it needs."""
    environment.run("python", "-W", "error", ROOT / "tests" / "minimal_install.py", trained)
    done = subprocess.run(
        [environment.commands / "logcosh-vae"], env=clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 1 or done.stderr.count("\n") != 1 or "needs typer and rich" not in done.stderr:
        raise SystemExit(f"error: the command without typer should say so in one line; it says:\n{done.stderr}")


def use(environment: FreshEnvironment, folder: Path, *, computed_by: str, trains: bool = False) -> None:
    """Compute the loss, sample from a run and restore a picture; with `trains`, train and evaluate first."""
    by = environment.run("python", "-W", "error", "-c", LOSS).strip()
    if by != computed_by:
        raise SystemExit(f"error: the loss should be computed by {computed_by}; it is computed by {by}")
    results = Path(tempfile.mkdtemp(dir=folder))
    cache = {"LOGCOSH_VAE_CACHE": str(folder / "cache")}

    def command(*arguments: str | Path) -> None:
        environment.run("logcosh-vae", *arguments, **cache)

    if trains:
        command("train", "--data", folder / "pictures", "--out", results / "run", *SETTINGS)
        command("evaluate", results / "run")
    command("sample", results / "run" if trains else folder / "run", "--out", results / "samples.png")
    command("restore", folder / "pictures" / "000.png", "--out", results / "clean.png")
    for name in ("samples.png", "clean.png"):
        Image.open(results / name).verify()


def check(sdist: Path, wheel: Path, folder: Path, python: Path | str = sys.executable) -> Sequence[str]:
    """Use the wheel, then the sdist with and without a compiler, in one fresh environment of a Python.

    Args:
        folder: where the environment is created; holds the run and the pictures of `train_here`.

    Returns:
        The distributions that an installation without extras brings.
    """
    environment = FreshEnvironment(folder / "environment", python)
    environment.install(wheel)
    check_minimal(environment, folder / "run")
    minimal = environment.packages()
    environment.install(f"{wheel}[all]")
    use(environment, folder, computed_by="compiled kernel", trains=True)
    again = ["--force-reinstall", "--no-deps", "--no-cache-dir", sdist]
    environment.install(*again, PATH=os.environ["PATH"])
    use(environment, folder, computed_by="compiled kernel")
    environment.install(*again)
    use(environment, folder, computed_by="torch")
    shutil.rmtree(folder / "environment")
    return minimal


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="logcosh-vae-packaging-") as name:
        folder = Path(name)
        sdist = build_sdist(folder)
        check_contents(build_wheel(sdist, folder / "pure", CC="false"), "py3-none-any", compiled=False)
        wheel = build_wheel(sdist, folder / "dist")
        check_contents(wheel, "py3-none-", compiled=True)
        train_here(folder)
        minimal = check(sdist, wheel, folder)
        print(f"{wheel.name} and {sdist.name} work\nminimal installation: {', '.join(minimal)}")


if __name__ == "__main__":
    main()
