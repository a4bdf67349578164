"""Progress on a terminal and on a pipe: what is shown, how often, and what is left behind; tables."""

import errno
import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from logcosh_vae.cli.streams import protect
from logcosh_vae.cli.tables import print_table, results_table
from logcosh_vae.cli.terminal import (
    PLAIN_SECONDS,
    BenchmarkDisplay,
    ExperimentDisplay,
    FetchDisplay,
    PicturesDisplay,
    ProgressLine,
    TrainingDisplay,
)
from logcosh_vae.experiments.results import read_results
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


class _Broken(io.StringIO):
    def write(self, text: str) -> int:  # noqa: ARG002
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


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


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_is_respected(
    no_color: bool, open_terminal: Callable[[], _Terminal], monkeypatch: pytest.MonkeyPatch, clock: _Clock
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = open_terminal()
    line = ProgressLine()
    clock.seconds += 1
    line.update("working", 0.5)
    line.close()
    codes = [code for found in re.findall(r"\x1b\[([0-9;]*)m", terminal.getvalue()) for code in found.split(";")]
    colours = {code for code in codes if re.fullmatch("[34][0-8]|9[0-7]|10[0-7]", code)}
    assert "working" in terminal.getvalue()
    assert bool(colours) != no_color


def test_quiet_shows_no_progress(open_terminal: Callable[[], _Terminal], clock: _Clock) -> None:
    terminal = open_terminal()
    with protect(quiet=True), TrainingDisplay(Path("run")) as display:
        clock.seconds += PLAIN_SECONDS + 1
        display.step(Position(1, 2, 1, 2))
        display.note("a note")
        display.failure("a failure")
    assert terminal.getvalue() == "error: a failure\n"


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


def test_a_pipe_gets_a_plain_line_every_30_seconds(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    display = TrainingDisplay()
    for step in range(1, 101):
        clock.seconds += 1
        display.step(Position(1, 1, step, 200))
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 100 // PLAIN_SECONDS
    assert lines[0] == "epoch 1/1, step 30/200, 15%, 2 min 51 s left"


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
        "1/2 runs done, VAE MLP, L2: epoch 2/4, 53%, 34 s left",
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


def test_a_line_on_a_pipe_is_not_repeated(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    with ExperimentDisplay() as display:
        for fraction in (0.5, 0.5, 0.6):
            clock.seconds += PLAIN_SECONDS
            display.line.update("0/1 runs done", fraction)
    with FetchDisplay() as fetching:
        for _ in range(3):
            fetching("a.zip", 5, 5, "images")
    assert [line.split(",")[1] for line in capsys.readouterr().err.splitlines()] == [" 50%", " 60%", " 100%"]


def test_a_name_cannot_send_the_terminal_control_characters(
    open_terminal: Callable[[], _Terminal], capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b]0;title\x07\nb[red]\udcff.zip"
    terminal = open_terminal()
    with FetchDisplay() as display:
        display(name, 1, 2, "bytes")
    assert "]0;title" in terminal.getvalue()
    assert "\x1b]" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()
    results = read_results(Path(__file__).parents[2] / "results" / "table1-laptop.json")
    with protect():
        print_table(results_table(replace(results, title=name)))
    shown = capsys.readouterr().out
    assert r"a\x1b]0;title\x07\nb[red]\xff.zip" in shown
    assert "\x1b]" not in shown


@pytest.mark.parametrize("stream", [None, _Broken()])
def test_progress_without_standard_error_does_not_end_the_work(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, clock: _Clock
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with protect():
        training, fetching, pictures, benchmark = (
            TrainingDisplay(),
            FetchDisplay(),
            PicturesDisplay(2),
            BenchmarkDisplay(),
        )
        for done in (1, 2):
            clock.seconds += PLAIN_SECONDS
            training.step(Position(1, 1, done, 2))
            training.note("a note")
            fetching("set", done, 2, "images")
            pictures.of("a.png")(1, 2)
            benchmark("loss", done, 2)
        for display in (training, fetching, pictures, benchmark):
            display.close()
