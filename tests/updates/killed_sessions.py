"""A session with a store that is killed and started again, and again, until it is through."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pseudolidar.updates import ConfusionMatrix, MaxBelief, PredictionStore

# Before these, and before a file is opened to be written, the session is killed: names of Python's audit events.
_EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "mmap.__new__")
_CONFUSION = ConfusionMatrix(np.full((3, 3), 0.1) + 0.7 * np.eye(3))


@dataclass(frozen=True)
class Session:
    """New items, a request and a step, of which a store that was left half-way says what remains to be done."""

    items: int
    new: int
    budget: int

    def prepare(self, folder: Path) -> None:
        """The store before the session: one step is done, another request stands open."""
        with PredictionStore.create(folder, self.items, 3, keep_votes=True, keep_last=True) as store:
            self._step(store)

    def go_on(self, folder: Path) -> None:
        """Do what isn't done yet."""
        with PredictionStore(folder) as store:
            if store.items == self.items:
                store.add(self.new)
            if len(store.steps) == 1:
                self._step(store)

    def _step(self, store: PredictionStore) -> None:
        items = store.requested
        if items is None:
            items = store.request_informative(self.budget, 3, _CONFUSION)
        store.update(items, items % 7 % 3, _CONFUSION, MaxBelief())


def kill_at_every_event(session: Session, before: Path, scratch: Path) -> None:
    """Kill the session before its first change of a file or folder, then before the second ... until it ends.

    Each time it's started again, and must end as if nothing had been.
    """
    undisturbed = _undisturbed(session, before, scratch)
    event, status = 0, -signal.SIGKILL
    while status:
        event += 1
        folder = Path(shutil.copytree(before, scratch / str(event)))
        process = _forked(_go_on_until, event, session, folder)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert status in (0, -signal.SIGKILL), f"event {event}: exit status {status}"
        session.go_on(folder)
        assert _contents(folder) == undisturbed, f"event {event}"
    assert event > 50, f"{event} events are fewer than the session's files"


def kill_at_random_moments(session: Session, before: Path, scratch: Path, kills: int) -> None:
    """Kill the session after random times, and start it again."""
    undisturbed = _undisturbed(session, before, scratch)  # from then on the kernels are loaded
    folder = Path(shutil.copytree(before, scratch / "timed"))
    start = time.monotonic()
    session.go_on(folder)
    usual_s = time.monotonic() - start
    random = np.random.default_rng(0)
    statuses = set()
    for kill in range(kills):
        folder = Path(shutil.copytree(before, scratch / str(kill)))
        process = _forked(session.go_on, folder)
        time.sleep(random.uniform(0, usual_s))
        os.kill(process, signal.SIGKILL)
        statuses.add(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        session.go_on(folder)
        assert _contents(folder) == undisturbed, f"kill {kill}"
        shutil.rmtree(folder)
    assert -signal.SIGKILL in statuses and statuses <= {0, -signal.SIGKILL}, statuses


def _undisturbed(session: Session, before: Path, scratch: Path) -> dict[str, bytes]:
    shutil.copytree(before, scratch / "undisturbed")
    session.go_on(scratch / "undisturbed")
    return _contents(scratch / "undisturbed")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _go_on_until(last: int, session: Session, folder: Path) -> None:
    events = 0

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal events
        if name in _EVENTS or (name == "open" and int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR)):
            events += 1
            if events == last:
                signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(hook)
    session.go_on(folder)


def _forked(call: Callable[..., None], *arguments: Any) -> int:
    """The process that makes the call, and ends with status 0 if it returns."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        call(*arguments)
        status = 0
    finally:
        os._exit(status)
