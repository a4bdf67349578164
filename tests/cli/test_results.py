"""What commands print with --json and --quiet: one document, errors, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image

from logcosh_vae.base.records import from_json, to_json
from logcosh_vae.cli import streams
from logcosh_vae.cli.command import app
from logcosh_vae.evaluation.records import RunEvaluation
from logcosh_vae.experiments.results import ExperimentResults

SMALL = ("--set", "data.limit=200", "--set", "model.hidden=[8]", "--epochs", "1")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logcosh_vae", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def document(*arguments: str | Path) -> Any:
    """The one document that a command prints with --json."""
    done = run(*arguments, "--json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "run"
    done = run("train", "--out", folder, *SMALL, "--data-root", data_root, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_the_verbs_with_json_are_known() -> None:
    def names(command: Any, path: str = "") -> list[str]:
        found = [path] if any("--json" in parameter.opts for parameter in command.params) else []
        for name, verb in getattr(command, "commands", {}).items():
            found += names(verb, f"{path} {name}".strip())
        return found

    wanted = {"evaluate", "compare", "reproduce", "restore", "models", "doctor", "data info"}
    assert set(names(typer.main.get_command(app))) == wanted


def test_an_evaluation_is_printed_as_its_file(trained: Path, data_root: Path) -> None:
    printed = document("evaluate", trained, "--data-root", data_root)
    stored = json.loads((trained / "evaluation.json").read_text(encoding="utf-8"))
    assert printed == {key: value for key, value in stored.items() if key != "digest"}
    assert to_json(from_json(RunEvaluation, printed)) == printed


def test_an_error_is_one_line_and_no_document(tmp_path: Path) -> None:
    done = run("evaluate", tmp_path / "nowhere", "--json", "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_other_output_goes_to_standard_error_with_json(tmp_path: Path, data_root: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = run("data", "info", "mnist", "--out", sheet, "--data-root", data_root, "--json")
    printed = json.loads(done.stdout)
    assert printed["images"]["train"]["count"] == 60_000
    assert printed["shape"] == {"channels": 1, "height": 28, "width": 28}
    assert (printed["suggested_loss"], printed["advised_by_paper"]) == ("auto", "l1")
    assert printed["contact_sheet"] == str(sheet)
    assert f"written: {sheet}" in done.stderr.splitlines()


def test_a_comparison_is_printed_with_its_results(tmp_path: Path, data_root: Path) -> None:
    options = ("--data-root", data_root, "--jobs", "1", "--loss", "l2", *SMALL)
    printed = document("compare", "--out", tmp_path / "out", *options)
    stored = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    (experiment,) = printed["experiments"]
    assert experiment == {key: value for key, value in stored.items() if key != "digest"}
    assert to_json(from_json(ExperimentResults, experiment)) == experiment
    assert Path(printed["report"]).is_file()
    done = run("compare", "--out", tmp_path / "out", "--resume", *options, "--quiet")
    assert done.stderr == ""
    assert f"report: {tmp_path / 'out' / 'report.html'}" in done.stdout.splitlines()


def test_restored_pictures_and_those_left_out_are_printed(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    done = run("restore", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out", "--json", "--quiet")
    printed = json.loads(done.stdout)
    assert done.returncode == 1
    (restored,) = printed["restored"]
    assert (restored["source"], restored["target"]) == (str(tmp_path / "a.png"), str(tmp_path / "out" / "a.png"))
    (left_out,) = printed["left_out"]
    assert left_out["source"] == str(tmp_path / "b.png")
    assert done.stderr.splitlines()[-1] == "error: 1 of 2 pictures could not be restored"


def test_models_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{", encoding="utf-8")
    monkeypatch.setenv("LOGCOSH_VAE_MODELS", str(tmp_path))
    mine = next(each for each in document("models")["models"] if each["name"] == "mine")
    assert mine["folder"] == str(tmp_path / "mine")
    assert mine["summary"].startswith("damaged")


@pytest.mark.parametrize("quiet", [False, True])
def test_each_function_prints_where_it_should(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    def print_all() -> None:
        streams.say("say")
        streams.inform("inform")
        streams.tell("tell")
        streams.complain("complain")
        print("library")
        streams.result({"a": 1.5}, "result")

    with streams.protect(quiet=quiet):
        print_all()
    shown = capfd.readouterr()
    assert shown.out.split() == ["say", *([] if quiet else ["inform"]), "library", "result"]
    assert shown.err.split() == [*([] if quiet else ["tell"]), "complain"]
    with streams.protect(quiet=quiet), streams.json_output():
        print_all()
    shown = capfd.readouterr()
    assert shown.out == '{"a": 1.5}\n'
    assert shown.err.split() == ["complain"] if quiet else ["say", "inform", "tell", "complain"]
    with streams.protect(quiet=quiet), streams.silenced():
        print_all()
    assert "library" not in capfd.readouterr().out


def test_arguments_after_two_dashes_are_no_options(tmp_path: Path) -> None:
    done = run("restore", "--", tmp_path / "--quiet")
    assert "--quiet does not exist" in done.stderr
