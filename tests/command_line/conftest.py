"""A command within the test's own process."""

import sys
from collections.abc import Callable

import pytest

from pseudolidar.command_line import run_command

RunHere = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run a command by name and arguments: its exit status, what it printed, what it wrote to standard error."""

    def call(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py"])
        status = 0
        try:
            run_command(name, arguments)
        except SystemExit as end:
            status = int(str(end.code))
        said = capsys.readouterr()
        return status, said.out, said.err

    return call
