"""The command line: errors of one line, exit codes, help, and a run from training to pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer.main
from PIL import Image

from logcosh_vae.cli import main
from logcosh_vae.cli.command import app


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logcosh_vae", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def _leave(code: int) -> NoReturn:
    raise SystemExit(code)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "trian"),
        (["train"], 2, "--out"),
        (["train", "--out", "r", "--data", "mnsit"], 2, "did you mean 'mnist'"),
        (["train", "--out", "r", "--model", "vae-mpl"], 2, "did you mean 'vae-mlp'"),
        (["train", "--out", "r", "--loss", "logcosh"], 2, "did you mean 'log-cosh'"),
        (["train", "--out", "r", "--loss", "l2", "--a", "10"], 2, "--a belongs to log-cosh"),
        (["train", "--out", "r", "--a", "-1"], 2, "positive finite number"),
        (["train", "--out", "r", "--epochs", "0"], 2, "epochs must be at least 1"),
        (["train", "--out", "r", "--set", "optimizer.learning_rat=1"], 2, "did you mean 'learning_rate'"),
        (["train", "--out", "r", "--data-root", "file/empty"], 1, "file"),
        (["train", "--out", "file"], 1, "file is a file"),
        (["train", "--out", "full"], 1, "full is not empty"),
        (["evaluate", "nowhere"], 1, "nowhere is not a run folder"),
        (["sample", "broken"], 1, "broken/config.json is damaged"),
        (["train", "--out", "file/run"], 1, "file/run cannot be used: Not a directory"),
        (["train", "--out", "r", "--data", ""], 2, "a folder or zip file"),
        (["train", "--out", "r", "--data", "full"], 1, "full holds 0 image files"),
        (["train", "--out", "r", "--size", "3x"], 2, "height by width"),
        (["train", "--out", "r", "--set", "threads=100000"], 2, "threads must be from 1 to"),
        (["sample", "nowhere", "--count", "0"], 2, "--count"),
        (["sample", "nowhere", "--out", "file"], 2, "--overwrite"),
        (["sample", "nowhere", "--out", "new.gif"], 2, "end the name in .png"),
        (["data", "info", "full", "--out", "new.gif"], 2, "end the name in .png"),
        (["data", "fetch", "celeba"], 2, "its terms must be accepted first"),
        (["reproduce", "table9"], 2, "did you mean 'table"),
        (["reproduce", "table1", "--profile", "huge"], 2, "huge"),
        (["compare", "--out", "full"], 2, "add --resume"),
        (["train-features", "cifar"], 2, "unknown 'cifar'"),
        (["data", "fetch", "mnits"], 2, "did you mean 'mnist'"),
        (["compare", "--out", "r", "--loss", "l2", "--a", "3"], 2, "--a belongs to log-cosh"),
        (["restore"], 2, "name the pictures"),
        (["restore", ""], 2, "is empty"),
        (["restore", "file", "--loss", "l1"], 2, "belong to --train"),
        (["restore", "file", "-o", "a.png", "--box", "1,2,3"], 2, "LEFT,TOP,WIDTH,HEIGHT"),
        (["restore", "--train", "--data", "full", "--out", "r", "--overwrite"], 2, "--overwrite and --model"),
        (["restore", "--train", "--data", "", "--out", "r"], 2, "a folder or zip file"),
        (["restore", "nothing.jpg"], 1, "nothing.jpg does not exist"),
        (["restore", "full"], 1, "full holds no pictures"),
        (["restore", "file", "--task", "debulr"], 2, "did you mean 'deblur'"),
        (["restore", "file", "-o", "new"], 2, "a suffix such as .png"),
        (["restore", "file", "-o", "a.png", "--model", "nowhere"], 1, "nowhere is not a run folder"),
        (["restore", "file", "-o", "a.png", "--task", "demosaic"], 1, "no network for 'demosaic' comes"),
        (["restore", "--train", "--data", "full"], 2, "--out"),
        (["restore", "--train", "--data", "full", "--out", "r"], 1, "full holds 0 image files"),
        (["restore", "--train", "--data", "full", "--out", "r", "--set", "crop_size=4"], 2, "crop_size must be from 8"),
        (["restore", "file", "--model", "shipped"], 1, "the networks of the package are text, captions and lines"),
        (["restore", "file", "--box", "0,0,1," + "9" * 5_000], 2, "LEFT,TOP,WIDTH,HEIGHT"),
        (["restore", "file", "--box", "0,0,1,²"], 2, "LEFT,TOP,WIDTH,HEIGHT"),
        (["train", "--out", "r", "--size", "²"], 2, "height by width"),
        (["train", "--out", "r", "--size", "9" * 5_000], 2, "height by width"),
        (["train", "--out", "r", "--size", "Infinity"], 2, "height by width"),
        (["train", "--out", "r", "--set", "epochs=" + "9" * 5_000], 2, "5,000 characters"),
        (["train", "--out", "r", "--a", "Infinity"], 2, "positive finite number"),
        (["train", "--out", "r", "--seed", "9" * 5_000], 2, "--seed"),
        (["train", "--out", "r", "--device", "meta"], 2, "'meta' cannot be used"),
        (["train", "--out", "r", "--data", "x" * 100_000], 2, "--data"),
        (["train", "--out", "x" * 100_000], 2, "File name too long"),
        (["train", "--out", "r", "--data", "a\x1b[31m\nb"], 2, r"a\x1b[31m\nb"),
        (["compare", "--out", "r", "--seeds", "100000000"], 2, "--seeds"),
        (["sample", "nowhere", "--out", "full"], 2, "full is a folder"),
        (["train", "--out", ""], 2, "--out is empty"),
        (["train", "--out", "r", "--data-root="], 2, "--data-root is empty"),
        (["sample", "drawn"], 2, "add --overwrite"),
        (["reconstruct", "drawn"], 2, "add --overwrite"),
        (["interpolate", "drawn"], 2, "add --overwrite"),
    ],
)
def test_an_error_is_one_clear_line(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # in this process, because importing torch in a new one takes seconds
    monkeypatch.setattr(sys, "argv", ["logcosh-vae", *arguments])
    monkeypatch.setattr(os, "_exit", _leave)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (tmp_path / "drawn").mkdir()
    for name in ("sample-seed0-100", "reconstruct-seed0-40", "interpolate-seed0-8x12"):
        (tmp_path / "drawn" / f"{name}.png").write_text("mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    with pytest.raises(SystemExit) as left:
        main()
    output, errors = capfd.readouterr()
    assert (left.value.code, output) == (code, "")
    assert message in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert len(errors) < 4_000
    assert "\x1b" not in errors
    assert (tmp_path / "full" / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code"), [(["train", "--out", "r", "--data", "mnsit"], 2), (["evaluate", "r"], 1)]
)
def test_the_code_of_an_error_reaches_the_shell(arguments: list[str], code: int, tmp_path: Path) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (code, "", 1)


def test_debug_shows_where_it_failed(tmp_path: Path) -> None:
    result = run("evaluate", tmp_path, "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, logcosh_vae.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "reproduce" in run("--help").stdout


def test_every_option_and_verb_has_a_help_text() -> None:
    def check(command: Any) -> None:
        assert command.help, command.name
        for parameter in command.params:
            assert parameter.name == "help" or parameter.help, (command.name, parameter.name)
        for subcommand in getattr(command, "commands", {}).values():
            check(subcommand)

    check(typer.main.get_command(app))


def test_the_help_of_every_option_shows_its_default() -> None:
    def check(command: Any) -> int:
        context = command.make_context(command.name, [], resilient_parsing=True)
        shown = 0
        for parameter in command.get_params(context):
            default = parameter.get_default(context)
            if (
                default is None
                and parameter.param_type_name == "option"
                and not (parameter.required or parameter.is_eager)
            ):
                assert "default" in parameter.help or "required" in parameter.help, (command.name, parameter.name)
            elif default not in (None, False, (), []):
                _, text = parameter.get_help_record(context)
                assert f"[default: {getattr(default, 'value', default)}" in text, (command.name, parameter.name)
                shown += 1
        return shown + sum(map(check, getattr(command, "commands", {}).values()))

    assert check(typer.main.get_command(app)) > 20


def test_a_message_about_an_existing_result_names_the_option_only(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "clean.png")
    refused = run("restore", tmp_path / "a.png", "-o", tmp_path / "clean.png")
    assert refused.returncode == 2
    assert "clean.png already exists; pass --overwrite to replace it" in refused.stderr


def test_training_leaves_nothing_in_the_folder_for_temporary_files(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    settings = ["--set", "data.limit=200", "--set", "model.hidden=[8]", "--data-root", data_root]
    compared = run("compare", "--out", tmp_path / "compared", "--epochs", 1, *settings)
    assert compared.returncode == 0, compared.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_former_name_of_a_setting_works_and_is_noted_in_one_line(tmp_path: Path, data_root: Path) -> None:
    settings = ["--set", "optimizer.drops=[]", "--set", "data.limit=200", "--set", "model.hidden=[16]"]
    trained = run("train", "--out", tmp_path / "run", "--epochs", 1, "--data-root", data_root, *settings)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr.splitlines()[0] == "note: optimizer.drops is now called optimizer.lr_milestones"
    assert trained.stderr.count("note") == 1
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["train"]["optimizer"]["lr_milestones"] == []


def test_a_run_from_training_to_pictures(tmp_path: Path, data_root: Path) -> None:
    settings = ["--set", "data.limit=500", "--set", "model.hidden=[16]", "--set", "log_every=1"]
    folder = tmp_path / "run"
    trained = run("train", "--out", folder, "--epochs", 2, "--data-root", data_root, *settings)
    assert trained.returncode == 0, trained.stderr
    assert "epoch 2: validation loss" in trained.stdout
    again = run("train", "--out", folder, "--epochs", 2, "--data-root", data_root, *settings)
    assert (again.returncode, "add --resume" in again.stderr) == (1, True)
    for verb in ("sample", "reconstruct", "interpolate"):
        extra = [] if verb == "sample" else ["--data-root", data_root]
        result = run(verb, folder, "--out", tmp_path / f"{verb}.png", *extra)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / f"{verb}.png").read_bytes().startswith(b"\x89PNG")
    measured = run("evaluate", folder, "--data-root", data_root)
    assert measured.returncode == 0, measured.stderr
    metrics = json.loads((folder / "evaluation.json").read_text())["metrics"]
    assert set(metrics) == {"sharpness_reconstructed", "sharpness_generated", "fid"}
