"""Completion of command lines in bash, zsh and fish: installing it, and what a shell is offered.

A shell runs the command with `VARIABLE` set and reads the offers from standard output. Verbs and options are offered by
typer, values of options by `choices`, which takes them from the help text, and names of models by `options`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import typer

from ..base.errors import UsageError
from .streams import output

NAME = "logcosh-vae"
VARIABLE = "_LOGCOSH_VAE_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def choices(text: str) -> list[str]:
    """Return the values that a help text lists, such as `a`, `b1` and `b2` of `"One of: a (default) | b1 ... b2"`.

    Words with capital letters stand for something else, such as `PATH`.

    Example:
        >>> choices("Image set: mnist | celeba (faces) | PATH of a folder.")
        ['mnist', 'celeba']
    """
    text = re.sub(r"\s*\([^)]*\)", "", text)
    found = re.search(r"\S+(?: \.\.\. \S+)?(?: \| [\w.+:-]+(?: \.\.\. [\w.+:-]+)?)+", text)
    values: list[str] = []
    for each in found.group().rstrip(".").split(" | ") if found else []:
        if between := re.fullmatch(r"(\D+)(\d+) \.\.\. \1(\d+)", each):
            name, first, last = between.groups()
            values += [f"{name}{number}" for number in range(int(first), int(last) + 1)]
        else:
            values.append(each)
    return [value for value in values if value == value.lower()]


def complete(command: Any, instruction: str) -> int:
    """Print what a shell is offered; returns the exit code.

    Args:
        command: the command with all verbs.
        instruction: value of `VARIABLE`.
    """
    from typer import completion

    completion.completion_init()  # type: ignore[attr-defined]
    _offer_choices(command)
    with redirect_stdout(output()):
        return completion.shell_complete(command, {}, NAME, VARIABLE, instruction)


def _offer_choices(command: Any) -> None:
    """Let the parameters of a command and of its verbs offer the values that their help texts list."""

    def offering(values: list[str]) -> Callable[..., list[str]]:
        return lambda _context, _parameter, incomplete: [each for each in values if each.startswith(incomplete)]

    for parameter in command.params:
        values = choices(getattr(parameter, "help", None) or "")
        if values and parameter._custom_shell_complete is None:
            parameter._custom_shell_complete = offering(values)
    for verb in getattr(command, "commands", {}).values():
        _offer_choices(verb)


def _check_shell() -> None:
    import shellingham

    try:
        shell, _ = shellingham.detect_shell()
    except shellingham.ShellDetectionFailure:
        shell = "unknown"
    if shell not in SHELLS:
        raise UsageError(f"this shell ({shell}) has no completion; run the command in bash, zsh or fish")


def install(context: typer.Context, parameter: typer.CallbackParam, wanted: bool) -> None:
    """Install completion for the shell that runs this command, and exit; the callback of an option."""
    if wanted and not context.resilient_parsing:
        from typer import completion

        _check_shell()
        completion.install_callback(context, parameter, wanted)


def show(context: typer.Context, parameter: typer.CallbackParam, wanted: bool) -> None:
    """Print the script that `install` would install, and exit; the callback of an option."""
    if wanted and not context.resilient_parsing:
        from typer import completion

        _check_shell()
        with redirect_stdout(output()):
            completion.show_callback(context, parameter, wanted)
