"""What is installed: the dependencies of the core and of the extras, and the compiled kernel.

`make packaging` tries the same with a wheel in fresh environments.
"""

import importlib
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.minimal_install import OPTIONAL

from logcosh_vae.base.errors import MissingPackageError
from logcosh_vae.base.extras import require
from logcosh_vae.base.settings import override
from logcosh_vae.losses import cpu_kernel
from logcosh_vae.training.autoencoder import train
from logcosh_vae.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCKED = """
import runpy, sys
sys.modules.update(dict.fromkeys({optional!r}))
sys.argv = {arguments!r}
{run}
"""


@pytest.fixture
def dist_tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("make_dist")


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name."""
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def run_without_extras(run: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which the optional packages cannot be imported."""
    code = BLOCKED.format(optional=OPTIONAL, arguments=list(arguments), run=run)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOGCOSH_VAE_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_the_core_needs_four_packages() -> None:
    assert names(PROJECT["dependencies"]) == {"torch", "numpy", "safetensors", "filelock"}


def test_constraints_pin_every_dependency() -> None:
    extras = PROJECT["optional-dependencies"].values()
    wanted = names([requirement for group in (PROJECT["dependencies"], *extras) for requirement in group])
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert wanted - {"logcosh-vae"} <= names([line for line in lines if not line.startswith("#")])


def test_losses_models_and_load_work_without_extras(tmp_path: Path, data_root: Path) -> None:
    config = override(TrainConfig(epochs=1), ["data.limit=200", "model.hidden=[8]"])
    folder = train(config, tmp_path / "run", root=data_root).path
    script = str(ROOT / "tests" / "minimal_install.py")
    done = run_without_extras(f"runpy.run_path({script!r}, run_name='__main__')", script, str(folder))
    assert done.returncode == 0, done.stderr


def test_the_command_names_what_is_missing_in_one_line() -> None:
    done = run_without_extras("runpy.run_module('logcosh_vae', run_name='__main__')", "logcosh-vae", "--help")
    message = "error: the command logcosh-vae needs typer and rich: pip install 'logcosh-vae[all]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_require_names_the_purpose_and_the_missing_packages_only() -> None:
    require("counting", "math", "torch")
    with pytest.raises(MissingPackageError, match=r"^counting needs nonesuch: pip install 'logcosh-vae\[all\]'$"):
        require("counting", "math", "nonesuch")


def test_the_version_is_the_same_everywhere(dist_tool: Any) -> None:
    assert dist_tool.checked_version() == PROJECT["version"]


@pytest.mark.parametrize(
    ("citation", "changelog", "message"),
    [
        ("version: 1.1", "# Changelog\n\n## 1.2\n", "CITATION.cff does not have the version of pyproject.toml, 1.2"),
        ("version: 1.2", "# Changelog\n\n## 1.20\n", "CHANGELOG.md has no section '## 1.2'"),
    ],
)
def test_a_release_with_a_forgotten_version_is_refused(
    dist_tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, citation: str, changelog: str, message: str
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2"\n')
    (tmp_path / "CITATION.cff").write_text(f"title: x\n{citation}\n")
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    monkeypatch.setattr(dist_tool, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=re.escape(message)):
        dist_tool.checked_version()


def test_the_interpreters_to_check_with_are_found(dist_tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = "{}.{}".format(*sys.version_info)
    monkeypatch.setattr(dist_tool, "VERSIONS", (here, "2.99"))
    assert dist_tool.find_pythons() == {here: sys.executable}


@pytest.mark.skipif(cpu_kernel.library() is None, reason="no C compiler was there at the install")
def test_the_kernel_has_vector_code_for_each_processor_generation() -> None:
    library = cpu_kernel.library()
    assert library is not None
    content = Path(library._name).read_bytes()
    compiler = re.search(rb"GCC: \([^)]*\) (\d+)", content)
    if compiler is None or int(compiler[1]) < 12 or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        pytest.skip("only GCC 12 and later compile it several times, for x86-64 and glibc")
    for function in ("log_cosh_value", "log_cosh_sum", "log_cosh_grad"):
        for generation in ("arch_x86_64_v4", "arch_x86_64_v3", "default"):
            assert f"{function}.{generation}".encode() in content
