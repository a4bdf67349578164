"""Progress on a terminal and on a pipe: what is shown, how often, and what is left behind."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logcosh_vae.cli.terminal import PLAIN_SECONDS, ExperimentDisplay, FetchDisplay, ProgressLine, TrainingDisplay
from logcosh_vae.experiments.scheduler import Job, JobState
from logcosh_vae.training.loop import Position

COLUMNS = 60


class _Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("time.monotonic", clock)
    monkeypatch.setattr("rich.console.monotonic", clock)
    return clock


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], _Terminal]:
    """Make standard error a terminal of 60 columns; called in the test, since pytest captures it anew after setup."""

    def open_it() -> _Terminal:
        terminal = _Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(COLUMNS))
        return terminal

    return open_it


def test_a_line_longer_than_the_terminal_is_cut_but_keeps_its_numbers(
    open_terminal: Callable[[], _Terminal],
    clock: _Clock,
) -> None:
    terminal = open_terminal()
    line = ProgressLine()
    for step in range(1, 5):
        clock.seconds += 1
        line.update("a text [that] does not fit " * 10, step / 10)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "\n" not in shown
    rows = [row for row in shown.split("\r") if row]
    assert all(len(row) <= COLUMNS - len("^C") for row in rows)  # the terminal echoes it behind the line
    assert "40%" in rows[-1]
    assert "6 s left" in rows[-1]
    assert "[that]" in rows[-1]


def test_the_cursor_is_never_hidden_since_a_killed_process_could_not_restore_it(
    open_terminal: Callable[[], _Terminal],
) -> None:
    terminal = open_terminal()
    line = ProgressLine()
    line.update("working", 0.5)
    line.close()
    shown = terminal.getvalue()
    assert "working" in shown
    assert "\x1b[?25l" not in shown


def test_a_closed_line_leaves_nothing_and_opens_again(open_terminal: Callable[[], _Terminal], clock: _Clock) -> None:
    terminal = open_terminal()
    line = ProgressLine()
    for number in range(3):
        clock.seconds += 1
        line.update(f"part {number}")
        line.close()
        shown = terminal.getvalue()
        assert f"part {number}" in shown
        assert shown.endswith("\x1b[2K")


def test_a_pipe_gets_a_plain_line_every_15_seconds(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    display = TrainingDisplay()
    for step in range(1, 101):
        clock.seconds += 1
        display.step(Position(1, 1, step, 200))
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 100 // PLAIN_SECONDS
    assert lines[0] == "epoch 1/1, step 15/200, 8%, 3 min 06 s left"


def test_the_time_left_of_a_resumed_run_follows_from_what_was_done_since(
    capsys: pytest.CaptureFixture[str], clock: _Clock
) -> None:
    line = ProgressLine()
    line.update("resumed", 0.5)
    assert line.time_left() == ""
    clock.seconds += 10
    line.update("resumed", 0.625)
    assert line.time_left() == "30 s left"
    line.update("evaluating", 0.95, estimate=False)
    assert line.time_left() == ""
    line.restart()
    line.update("another", 0.1)
    assert line.time_left() == ""
    assert capsys.readouterr().err == ""


def test_runs_are_weighted_by_their_cost(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    class _Job(Job):
        label = "VAE MLP, L2"

        def cost(self) -> float:
            return 1.0

        def cached_result(self) -> None:
            return None

        def run(self) -> dict[str, object]:
            return {}

    states = [JobState(_Job(), 1.0, finished=True), JobState(_Job(), 9.0)]
    display = ExperimentDisplay()
    display(states)
    clock.seconds += PLAIN_SECONDS
    states[1].position = Position(2, 4, 1, 1)
    display(states)
    states[1].position = Position(4, 4, 1, 1)
    clock.seconds += PLAIN_SECONDS
    display(states)
    display.close()
    # of the work, 0.1 before the start, then half and all of the training of the job of cost 9
    assert capsys.readouterr().err.splitlines() == [
        "1/2 runs done, VAE MLP, L2: epoch 2/4, 53%, 17 s left",
        "1/2 runs done, VAE MLP, L2: evaluating, 95%",
    ]


def test_downloads_of_unknown_and_known_size_are_shown(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    with FetchDisplay() as display:
        for name, total in (("a.zip", None), ("b.zip", 2_000_000)):
            clock.seconds += PLAIN_SECONDS
            display(name, 1_000_000, total, "bytes")
    assert capsys.readouterr().err.splitlines() == ["fetching a.zip: 1.0 MB", "fetching b.zip: 1.0 of 2.0 MB, 50%"]


def test_ctrl_c_clears_the_line_and_says_how_to_continue(open_terminal: Callable[[], _Terminal]) -> None:
    terminal = open_terminal()

    def train() -> None:
        with TrainingDisplay(Path("runs/a")) as display:
            display.step(Position(1, 2, 1, 10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert terminal.getvalue().endswith("\x1b[2Kstopped; to continue, add --resume to the same command (run: runs/a)\n")


def test_force_color_does_not_make_a_pipe_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with FetchDisplay() as display:
        display("a.zip", 1, 2, "bytes")
    assert capsys.readouterr().err == ""
