"""A store that is killed (SIGKILL) at any moment: what is started again ends with the bytes of an undisturbed run."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.updates.killed_sessions import Session, kill_at_every_event, kill_at_random_moments


def status_alone(function: Callable[..., None], *arguments: Any) -> int | None:
    """The exit status of a process of its own that makes the call: 1 where one of its assertions fails."""
    # It forks, which a process with the test runner's threads had better not, and which takes a large one long.
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def test_before_every_change(tmp_path: Path) -> None:
    session = Session(items=40, new=10, budget=20)
    session.prepare(tmp_path / "before")
    assert status_alone(kill_at_every_event, session, tmp_path / "before", tmp_path) == 0


def test_at_random_moments(tmp_path: Path) -> None:
    session = Session(items=400_000, new=40_000, budget=200_000)
    session.prepare(tmp_path / "before")
    assert status_alone(kill_at_random_moments, session, tmp_path / "before", tmp_path, 8) == 0
