"""The structure of the package: imports go one way, and only the command line prints."""

import ast
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import logcosh_vae

PACKAGE = Path(logcosh_vae.__file__).parent
MATHEMATICS = ("losses", "models", "metrics")
LAYERS = (
    *MATHEMATICS,
    "base",
    "data",
    "training",
    "evaluation",
    "experiments",
    "restoration",
    "reporting",
    "explorer",
    "paper",
    "export",
    "bench",
    "cli",
)
"""The packages in import order: a module imports from its own package or from those before it."""
NO_FILES = sys.stdlib_module_names - {"io", "logging", "os", "pathlib", "shutil", "subprocess"}
SOURCES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def tree(source: Path) -> ast.Module:
    return ast.parse((PACKAGE / source).read_text(encoding="utf-8"))


def imported_packages(source: Path) -> set[str]:
    """The packages of ours from which a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            here = list(source.parent.parts)
            base = here[: len(here) - (node.level - 1)]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {[*base, *name.split(".")][0] for name in names}
    return found


def test_every_package_has_a_layer() -> None:
    assert {source.parts[0] for source in SOURCES} == set(LAYERS)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_imports_go_one_way(source: Path) -> None:
    own = LAYERS.index(source.parts[0])
    allowed = set(LAYERS[: own + 1])
    assert imported_packages(source) <= allowed, "a lower package must not import a higher one"


@pytest.mark.parametrize("source", [s for s in SOURCES if s.parts[0] in MATHEMATICS], ids=str)
def test_the_mathematics_imports_torch_alone(source: Path) -> None:
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
            roots = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert {root.partition(".")[0] for root in roots} <= NO_FILES | {"torch", "torchmetrics"}, roots


@pytest.mark.parametrize("source", [s for s in SOURCES if s.parts[0] != "cli"], ids=str)
def test_only_the_command_line_prints(source: Path) -> None:
    called = {n.func.id for n in ast.walk(tree(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert "print" not in called


def test_only_the_package_s_root_has_modules_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_layers_are_listed_once() -> None:
    assert all(first != second for first, second in pairwise(sorted(LAYERS)))
