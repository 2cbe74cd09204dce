"""Progress where nobody looks: lines of plain text, now and then, and one when it is done."""

import io
import sys

import pytest

import pseudolidar.files.progress as progress
from pseudolidar.files import progress_bar, track


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines_of(clock: Clock, items: int, seconds: float, capsys: pytest.CaptureFixture[str]) -> list[str]:
    for _ in track(range(items), "frames"):
        clock.now += seconds
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.isascii() and printed.err.replace("\n", "").isprintable()
    return printed.err.splitlines()


def test_a_quick_job_says_that_it_is_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(clock, 400, 0.01, capsys) == ["frames: 400/400, 0:00:04"]


def test_a_line_every_tenth(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(clock, 100, 1.0, capsys)
    assert len(lines) == 10
    assert lines[0] == "frames: 10/100, 0:00:10, 0:01:30 left" and lines[-1] == "frames: 100/100, 0:01:40"


def test_never_silent_for_much_more_than_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(clock, 1000, 7.0, capsys)
    assert lines[0] == "frames: 9/1000, 0:01:03, 1:55:37 left"
    assert len(lines) > 7000 / 67


def test_items_that_take_minutes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(lines_of(clock, 5, 300.0, capsys)) == 5


def test_a_run_that_goes_on(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        task = bar.add_task("u", total=1000, completed=500, note="")
        for _ in range(100):
            clock.now += 1
            bar.update(task, advance=1, note="loss 0.5")
    said = capsys.readouterr().err.splitlines()
    # The minute after the last line comes first; the speed is that of this run alone.
    assert said == ["u: 560/1000, 0:01:00, 0:07:20 left  loss 0.5", "u: 600/1000, 0:01:40, 0:06:40 left  loss 0.5"]


def test_no_count_where_none_is_known(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in track(iter(range(100)), "frames"):
        clock.now += 1
    assert capsys.readouterr().err.splitlines() == ["frames: 60, 0:01:00"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as bar:
        bar.advance(bar.add_task("frames", total=1, note=""))
    assert "━" in screen.getvalue()


def test_one_process_alone_speaks(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("RANK", "1")
    with progress_bar() as bar:
        bar.advance(bar.add_task("frames", total=1, note=""))
    assert capsys.readouterr() == ("", "")
