"""README and docs say what the results say, and lead where they say they do."""

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
    for module, name in re.findall(r"`(losses|latent|models|networks|objectives|config|evaluation)\.(\w+)", text):
        if name != "py":
            assert re.search(rf"(def|class) {name}\b", (package / f"{module}.py").read_text(encoding="utf-8")), name
    for path in re.findall(r"`([a-z_/]+\.py)`", text):
        assert (package / path).is_file(), path
