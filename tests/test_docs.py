"""README and docs agree with the results; their links, file names and code examples are correct."""

import doctest
import importlib
import json
import operator
import re
import runpy
import sys
from pathlib import Path

import pytest

from logcosh_vae.base.environment import describe
from logcosh_vae.experiments.results import StudyResults, write_results

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PACKAGE = ROOT / "src" / "logcosh_vae"
EXAMPLES = sorted(path for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))
TABLES = sorted((ROOT / "results").glob("table*.json"))


def test_tables_in_the_docs_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("update_docs")
    for name in tool.PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert tool.updated(text) == text, f"{name}: run tools/update_docs.py"


def test_the_models_of_the_package_are_named_once_they_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("update_docs")
    monkeypatch.setattr(tool, "RESULTS", tmp_path)
    names = ("shipped-models", "shipped-models-sample")
    page = "".join(f"<!-- begin: {name} -->\nearlier\n<!-- end: {name} -->\n" for name in names)
    untrained = tool.updated(page)
    assert "None has been trained" in untrained
    assert "logcosh-vae sample" not in untrained
    metrics = {"sharpness_generated": 0.14, "fid": 33.7, "fid_mixture": 20.5}
    row = {"model": "digits", "bytes": 1_230_000, "float32": metrics, "int8": metrics, "config": {}}
    write_results(StudyResults("shipped-models", (row,), describe(), profile="paper"), tmp_path / "shipped-models.json")
    trained = tool.updated(untrained)
    assert "| `digits` | 1.23 MB | 0.140 | 33.7 | 20.5 | 33.7 and 20.5 |" in trained
    assert "logcosh-vae sample digits -o digits.png" in trained


def test_long_outputs_of_transcripts_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("transcripts")
    progress = [f"0/2 runs done, epoch {epoch}/40" for epoch in range(1, 30)]
    assert tool.shortened(["note", *progress, "", "  a table"]) == ["note", progress[0], "...", "", "  a table"]
    assert tool.shortened(progress[:1]) == progress[:1]
    shown = tool.shortened([str(number) for number in range(100)])
    assert shown == [*map(str, range(tool.HEAD)), "...", *map(str, range(100 - tool.TAIL, 100))]
    assert tool.shortened(["word " * 40]) == [" ".join(["word"] * 24), "  " + " ".join(["word"] * 16)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_every_page_has_its_place_in_the_navigation() -> None:
    navigation = runpy.run_path(str(DOCS / "conf.py"))["NAVIGATION"]
    listed = [DOCS / f"{name}.md" for names in navigation.values() for name in names]
    contents = (DOCS / "api" / "index.md").read_text(encoding="utf-8").split("{toctree}")[1]
    listed += [DOCS / "api" / f"{name}.md" for name in re.findall(r"^\w+$", contents, flags=re.M)]
    assert sorted([DOCS / "index.md", *listed]) == sorted(DOCS.rglob("*.md"))


def test_indented_paragraphs_of_docstrings_become_literal_blocks() -> None:
    as_rst = runpy.run_path(str(DOCS / "conf.py"))["as_rst"]
    layout, arguments = (
        ["Files:", "", "    config.json", "", "    state.pt"],
        ["Args:", "    a: one.", "", "    b: two."],
    )
    assert as_rst(layout) == ["Files:", "", "::", "", "    config.json", "", "    state.pt"]
    assert as_rst(arguments) == arguments


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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


@pytest.mark.parametrize("page", ["paper.md", "architecture.md"])
def test_files_and_names_of_the_code_exist(page: str) -> None:
    text = " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())
    for path in re.findall(r"`([a-z_/]+\.(?:py|c))`", text):
        assert (PACKAGE / path).is_file() or (ROOT / path).is_file(), path
    for path, names in re.findall(r"`([a-z_/]+)\.py`:((?: `[\w.]+`,?)+)", text):
        module = importlib.import_module(f"logcosh_vae.{path.removesuffix('/__init__').replace('/', '.')}")
        for name in re.findall(r"`([\w.]+)`", names):
            if name.endswith(".py"):
                continue  # the next file of a list
            assert operator.attrgetter(name)(module), f"{path}.py has no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_of_the_pages_hold(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_every_package_is_in_the_architecture_page() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", text, flags=re.M)
    assert set(named) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstring_examples_hold(source: Path) -> None:
    name = ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts)
    importlib.import_module(name)
    result = doctest.testmod(sys.modules[name])  # an attribute of the same name may hide the module
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_name_no_folder_of_the_machine_that_measured_them(path: Path) -> None:
    assert re.search(r'"/(?!/)[^"\s]+/', path.read_text(encoding="utf-8")) is None
