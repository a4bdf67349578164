"""Completion in shells: what is offered, the scripts for shells, and that they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logcosh_vae.cli.completion import VARIABLE, choices
from logcosh_vae.data import DATASETS
from logcosh_vae.losses import LOSSES
from logcosh_vae.models.autoencoder import MODELS
from logcosh_vae.models.networks import NETWORKS
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.training.config import FIXED, LEARNED
from logcosh_vae.training.trackers import TRACKERS

COMMAND = [sys.executable, "-m", "logcosh_vae"]
NETWORK_NAMES = [f"{family}-{network}" for family in MODELS for network in NETWORKS]


def offers(words: str, **environment: str) -> list[str]:
    """What bash is offered for the last word, which is empty if the words end with a space."""
    environment |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), VARIABLE: "complete_bash"}
    done = subprocess.run(COMMAND, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("logcosh-vae eva", ["evaluate"]),
        ("logcosh-vae train --qu", []),
        ("logcosh-vae train --loss ", [*LOSSES, "auto"]),
        ("logcosh-vae compare --loss lo", ["log-cosh"]),
        ("logcosh-vae restore --loss ", list(LOSSES)),
        ("logcosh-vae train --model ", NETWORK_NAMES),
        ("logcosh-vae train --data ", list(DATASETS)),
        ("logcosh-vae data info m", ["mnist"]),
        ("logcosh-vae train --data=fa", ["fashion-mnist"]),
        ("logcosh-vae train --likelihood ", [FIXED, *LEARNED]),
        ("logcosh-vae train --track ", list(TRACKERS)),
        ("logcosh-vae restore --task ", list(CORRUPTIONS)),
        ("logcosh-vae evaluate --prior m", ["mixture"]),
        ("logcosh-vae reproduce table", [f"table{number}" for number in range(1, 5)]),
        ("logcosh-vae reproduce --profile s", ["smoke"]),
        ("logcosh-vae train --out ", []),  # the shell offers files
    ],
)
def test_values_of_options_are_offered(words: str, wanted: list[str]) -> None:
    assert sorted(offers(words)) == sorted(wanted)


def test_names_of_models_are_offered(tmp_path: Path) -> None:
    for name in ("digits", "faces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
    for verb in ("evaluate", "sample", "export", "explore", "explore faces"):
        assert offers(f"logcosh-vae {verb} dig", LOGCOSH_VAE_MODELS=str(tmp_path)) == ["digits"]


def test_choices_are_taken_from_help_texts() -> None:
    assert choices("a | b (with | in it, by default) | c-1 ... c-3. More.") == ["a", "b", "c-1", "c-2", "c-3"]
    assert choices("auto | cpu | cuda:N | PATH") == ["auto", "cpu"]
    assert choices("File to write, e.g. a.png.") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_shown_and_installed_for_the_shell_in_use(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    def in_shell(option: str) -> str:
        line = f"'{sys.executable}' -m logcosh_vae {option}; exit $?"
        done = subprocess.run(
            [shell, "-c", line], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True
        )
        return done.stdout

    script = in_shell("--show-completion").strip()
    assert VARIABLE in script
    assert "installed in" in in_shell("--install-completion")
    written = [path for path in tmp_path.rglob("*logcosh-vae*") if path.is_file()]
    assert [path.read_text(encoding="utf-8").strip() for path in written] == [script]


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "logcosh-vae"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m logcosh_vae "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    lines = f"""
        eval "$(logcosh-vae --show-completion)"
        COMP_WORDS=(logcosh-vae train --loss log) COMP_CWORD=3
        {VARIABLE.lower().removesuffix("_complete")}_completion logcosh-vae
        echo "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", lines], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "log-cosh\n"
