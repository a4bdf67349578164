"""README and docs say what the results say, and lead where they say they do."""

import doctest
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from logcosh_vae import losses

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGE = ROOT / "src" / "logcosh_vae"
EXAMPLES = sorted(path for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))
TABLES = sorted((ROOT / "results").glob("table*.json"))


def test_tables_in_the_docs_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("update_docs")
    for name in tool.PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert tool.updated(text) == text, f"{name}: run tools/update_docs.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_results_say_where_they_come_from(path: Path) -> None:
    results = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == f"{results['experiment']}-{results['profile']}.json"
    assert {"machine", "cores", "accelerator", "versions", "commit"} <= set(results["environment"])
    assert {"name", "fingerprint"} <= set(results["features"])
    assert results["seconds"] > 0
    for row in results["rows"]:
        assert {"data", "model", "loss", "a", "weight", "seeds", "metrics", "reported"} <= set(row)
        for values in row["metrics"].values():
            assert len(values["values"]) == len(row["seeds"])


def test_every_code_path_in_the_paper_page_exists() -> None:
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "logcosh_vae"
    for name in re.findall(r"`logcosh_vae\.losses\.(\w+)`", text):
        assert name in losses.__all__
    for path in re.findall(r"`([a-z_/]+\.py)`", text):
        assert (package / path).is_file(), path


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstring_examples_hold(source: Path) -> None:
    name = ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts)
    importlib.import_module(name)
    result = doctest.testmod(sys.modules[name])  # an attribute of the same name may hide the module
    assert result.attempted > 0
    assert result.failed == 0
