"""The layers of the package: mathematics knows no files, devices or terminals; only the command line prints."""

import ast
import sys
from pathlib import Path

import pytest

import logcosh_vae

PACKAGE = Path(logcosh_vae.__file__).parent
MATHEMATICS = [
    "compiled",
    "cuda_kernels",
    "losses",
    "latent",
    "networks",
    "models",
    "objectives",
    "metrics/sharpness",
    "metrics/frechet",
]
MATHEMATICS += ["metrics/classifier"]
ALLOWED = {name.rpartition("/")[2] for name in MATHEMATICS}
STANDARD = sys.stdlib_module_names - {"io", "logging", "os", "pathlib", "shutil", "subprocess"}
SOURCES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MATHEMATICS)
def test_mathematics_imports_torch_and_itself(name: str) -> None:
    for node in ast.walk(tree(f"{name}.py")):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.module in ALLOWED, f"{name} imports {node.module}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            roots = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert {root.partition(".")[0] for root in roots} <= STANDARD | {"torch"}, f"{name}: {roots}"


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_command_line_prints(name: str) -> None:
    if name.startswith("cli/") or name == "terminal.py":
        return
    called = {n.func.id for n in ast.walk(tree(name)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert "print" not in called
