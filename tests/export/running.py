"""Run the command in the process of a test."""

import os
import sys

import pytest

from logcosh_vae.cli import main


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process, because importing torch in a new one takes seconds; returns the exit code."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(sys, "argv", ["logcosh-vae", *arguments])
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left:
        main()
    assert isinstance(left.value.code, int)
    return left.value.code
